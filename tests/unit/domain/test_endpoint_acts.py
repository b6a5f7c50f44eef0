"""What becomes of an endpoint at a worker's start, and when an operator acts on it."""

from dataclasses import replace
from datetime import timedelta

from tests.unit.domain.builders import NOW
from worker.domain.endpoint_acts import enter, is_another_target, pause_endpoint, resume_endpoint
from worker.domain.records.acts import Act
from worker.domain.records.notifications import CeleryTask, Endpoint, EndpointSettings, EventType, Webhook

GIVEN = EndpointSettings(account="default", target=Webhook(url="https://one.example/hook", secrets=("whsec_x",)))
FRESH = GIVEN.as_endpoint()
ROUGH = replace(
    FRESH,
    rest_level=4,
    rest_from=NOW,
    rest_until=NOW + timedelta(minutes=1),
    failing_since=NOW,
    failed_in_row="{}",
    last_failed_id=7,
    stopped_at=NOW,
)


def test_an_endpoint_that_nobody_knew_starts_fresh() -> None:
    assert enter(None, GIVEN) == FRESH
    assert not is_another_target(None, GIVEN)


def test_the_same_target_stays_as_it_is_but_for_what_it_wants() -> None:
    assert enter(ROUGH, GIVEN) == ROUGH
    assert not is_another_target(ROUGH, GIVEN)
    wants = replace(GIVEN, events=(EventType.FAILED, EventType.SUCCEEDED))
    assert enter(ROUGH, wants) == replace(ROUGH, events="order.failed,order.succeeded")
    another_secret = replace(GIVEN, target=Webhook(url="https://one.example/hook", secrets=("whsec_y",)))
    assert enter(ROUGH, another_secret) == ROUGH


def test_another_target_starts_fresh_and_stays_paused() -> None:
    paused = replace(ROUGH, paused_at=NOW, paused_by="ann")
    for target in (Webhook(url="https://one.example/other", secrets=()), CeleryTask(task="t", queue="q")):
        given = replace(GIVEN, target=target)
        assert is_another_target(paused, given)
        assert enter(paused, given) == replace(given.as_endpoint(), paused_at=NOW, paused_by="ann")


def test_tasks_differ_by_name_queue_and_broker() -> None:
    tasks = [
        CeleryTask(task="t", queue="q"),
        CeleryTask(task="t2", queue="q"),
        CeleryTask(task="t", queue="q2"),
        CeleryTask(task="t", queue="q", broker_url="redis://h"),
    ]
    assert len({task.digest for task in tasks}) == len(tasks)


def test_a_pause_names_who_and_a_resumption_ends_all_that_kept_events_back() -> None:
    paused = pause_endpoint(ROUGH, Act(actor="ann", reason=None, now=NOW))
    assert paused == replace(ROUGH, paused_at=NOW, paused_by="ann")
    assert resume_endpoint(paused) == FRESH


def test_what_people_see_of_an_endpoint_holds_no_secret() -> None:
    assert FRESH.shown == "https://one.example"
    assert Endpoint(**{name: getattr(FRESH, name) for name in Endpoint.__dataclass_fields__}) == FRESH
    assert "/hook" not in repr(GIVEN)
    assert "whsec" not in repr(GIVEN)
