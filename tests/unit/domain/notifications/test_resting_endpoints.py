"""What becomes of an endpoint at a worker's start, and when an operator acts on it.

What the ends of deliveries mean for their endpoint and for their events.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import NOW, TOKEN, make_claim, make_endpoint, make_notification
from worker.domain.notifications.endpoint_watch import is_failing_for_long
from worker.domain.notifications.resting_endpoints import (
    DeliveryEffects,
    after_deliveries,
    begin_probe,
    enter,
    is_another_target,
    is_in_doubt,
    is_sound,
    pause_endpoint,
    permission,
    resume_endpoint,
    rows_needed,
)
from worker.domain.records.notifications import (
    CeleryTask,
    DeliveryOutcome,
    DeliveryResult,
    EndedTry,
    Endpoint,
    EndpointSettings,
    EventType,
    NotificationState,
    Permission,
    Rank,
    Webhook,
)
from worker.domain.records.operators import Act

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
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
OK = DeliveryResult(outcome=DeliveryOutcome.ACCEPTED, http_status=200)
TIMEOUT = DeliveryResult(outcome=DeliveryOutcome.TIMEOUT)


def test_a_new_endpoint_starts_fresh() -> None:
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
    task = CeleryTask(task="t", queue="q")
    others = [replace(task, task="t2"), replace(task, queue="q2"), replace(task, broker_url="redis://h")]
    assert len({one.digest for one in (task, *others)}) == 4


def test_a_pause_names_who_and_a_resumption_ends_all_that_kept_events_back() -> None:
    paused = pause_endpoint(ROUGH, Act(actor="ann", reason=None, now=NOW))
    assert paused == replace(ROUGH, paused_at=NOW, paused_by="ann")
    assert resume_endpoint(paused) == FRESH


def test_what_people_see_of_an_endpoint_holds_no_secret() -> None:
    assert FRESH.shown == "https://one.example"
    assert Endpoint(**{name: getattr(FRESH, name) for name in Endpoint.__dataclass_fields__}) == FRESH
    assert "/hook" not in repr(GIVEN)
    assert "whsec" not in repr(GIVEN)


def answered(status: int, retry_after: float | None = None) -> DeliveryResult:
    return DeliveryResult(outcome=DeliveryOutcome.HTTP_ERROR, http_status=status, retry_after=retry_after)


class World:
    """An endpoint and its events, whose deliveries the test ends."""

    def __init__(self, *tries: int) -> None:
        """Events 1, 2, ... with so many tries each."""
        self.now = NOW
        self.endpoint = make_endpoint("a")
        self.rows = {
            number: make_notification(number, tries=count, due_at=NOW, lease_token=TOKEN)
            for number, count in enumerate(tries, 1)
        }

    def end(self, event: int, result: DeliveryResult, *, jitter: float = 0.0, **claimed: Any) -> EndedTry:
        claim = make_claim(event, **{"claimed_at": self.now, "rest_from": self.endpoint.rest_from, **claimed})
        return EndedTry(claim=claim, result=result, jitter=jitter)

    def note(self, *ended: EndedTry) -> DeliveryEffects:
        needed = rows_needed(self.endpoint, ended)
        rows = {event: self.rows[event] for event in needed if event in self.rows}
        effects = after_deliveries(self.endpoint, rows, ended, self.now)
        self.endpoint = effects.endpoint
        # The next claim leases it again.
        self.rows |= {row.id: replace(row, lease_token=TOKEN) for row in effects.rows}
        return effects

    def probe(self, event: int, result: DeliveryResult) -> DeliveryEffects:
        """Wait for the end of the rest, and send one event."""
        assert self.endpoint.rest_until is not None
        self.now = max(self.now, self.endpoint.rest_until)
        assert permission(self.endpoint, self.now) is Permission.PROBE
        self.endpoint = begin_probe(self.endpoint, self.now)
        assert permission(self.endpoint, self.now) is Permission.NOTHING
        self.now += SECOND
        return self.note(self.end(event, result))

    @property
    def rest(self) -> timedelta:
        assert self.endpoint.rest_from is not None
        assert self.endpoint.rest_until is not None
        return self.endpoint.rest_until - self.endpoint.rest_from


def test_an_endpoint_rests_for_5_seconds_and_longer_each_time_up_to_15_minutes() -> None:
    world = World(0, 0)
    world.note(world.end(1, TIMEOUT))
    rests = [world.rest]
    for number in range(9):
        world.probe(2 - number % 2, answered(503))
        rests.append(world.rest)
    assert rests == [timedelta(seconds=seconds) for seconds in (5, 10, 20, 40, 80, 160, 320, 640, 900, 900)]
    assert [row.tries for row in world.rows.values()] == [0, 0]


@given(jitter=st.floats(0, 1))
def test_jitter_shortens_a_rest_by_a_tenth_at_most(jitter: float) -> None:
    world = World(0)
    world.note(world.end(1, TIMEOUT, jitter=jitter))
    assert 4.5 * SECOND <= world.rest <= 5 * SECOND


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, 5), (0.0, 5), (3.0, 5), (120.0, 120), (3600.0, 3600), (31_536_000.0, 3600)]
)
def test_retry_after_lengthens_a_rest_up_to_an_hour(asked: float | None, seconds: float) -> None:
    world = World(0)
    world.note(world.end(1, answered(429, retry_after=asked)))
    assert world.rest == timedelta(seconds=seconds)


def test_failures_of_deliveries_that_began_before_the_rest_do_not_lengthen_it() -> None:
    world = World(0, 0, 0)
    together = [world.end(event, TIMEOUT) for event in (1, 2, 3)]
    effects = world.note(*together)
    assert world.rest == 5 * SECOND
    assert world.endpoint.rest_level == 1
    assert world.endpoint.last_failed_id == 1
    assert len(effects.failed) == 3


def test_an_event_that_failed_goes_behind_the_others_that_are_due() -> None:
    world = World(0, 0)
    world.now += SECOND
    world.note(world.end(1, TIMEOUT))
    assert world.rows[1].due_at == world.now > world.rows[2].due_at


def test_a_failure_that_began_before_a_rest_that_has_ended_begins_another_one() -> None:
    world = World(0, 0, 0)
    late = world.end(2, TIMEOUT)
    world.note(world.end(1, TIMEOUT))
    world.probe(3, OK)
    assert permission(world.endpoint, world.now) is Permission.ANY
    world.note(late)
    assert world.rest == 5 * SECOND


def test_one_success_ends_the_rest_and_resets_it() -> None:
    world = World(0, 0)
    world.note(world.end(1, TIMEOUT))
    world.probe(1, TIMEOUT)
    world.probe(1, OK)
    assert is_sound(world.endpoint)
    assert world.endpoint.rest_level == 0
    assert world.rows[1].tries == 0


def test_the_event_that_failed_last_is_to_blame_once_another_succeeds() -> None:
    world = World(0, 0)
    world.note(world.end(1, TIMEOUT))
    effects = world.probe(2, OK)
    assert [row.id for row in effects.rows] == [1]
    assert world.rows[1].tries == 1
    assert world.rows[1].due_at == world.now + 5 * SECOND
    assert world.rows[1].rank is Rank.RETRY
    assert world.rows[1].refused_since == world.now


@pytest.mark.parametrize("state", [NotificationState.DELIVERED, NotificationState.GAVE_UP, None])
def test_an_event_that_is_no_longer_pending_or_gone_is_not_blamed(state: NotificationState | None) -> None:
    world = World(0, 0)
    world.note(world.end(1, TIMEOUT))
    blamed = world.rows.pop(1)
    if state is not None:
        world.rows[1] = replace(blamed, state=state)
    assert world.probe(2, OK).rows == ()
    assert is_sound(world.endpoint)


def test_a_failure_of_its_own_delays_an_event_and_not_its_endpoint() -> None:
    world = World(0, 2)
    world.note(world.end(1, answered(500)), world.end(2, answered(422)))
    assert permission(world.endpoint, NOW) is Permission.ANY
    assert [row.tries for row in world.rows.values()] == [1, 3]
    assert [row.due_at - NOW for row in world.rows.values()] == [5 * SECOND, timedelta(minutes=30)]


def in_doubt(*tries: int) -> World:
    """A world whose first five events have just failed by their own fault."""
    world = World(*tries)
    for event in (1, 2, 3, 4, 5):
        assert not is_in_doubt(world.endpoint)
        world.note(world.end(event, answered(404), rest_from=None))
    assert is_in_doubt(world.endpoint)
    return world


def test_five_different_events_that_fail_in_a_row_put_the_endpoint_in_doubt_and_are_delayed_as_ever() -> None:
    world = in_doubt(0, 3, 0, 1, 0, 0)
    assert permission(world.endpoint, NOW) is Permission.NOTHING
    assert permission(world.endpoint, NOW + SECOND / 20) is Permission.PROBE
    assert [row.tries for row in world.rows.values()] == [1, 4, 1, 2, 1, 0]
    assert world.rows[1].due_at == NOW + 5 * SECOND
    assert [row.rank for row in world.rows.values()] == [Rank.RETRY] * 5 + [Rank.RESULT]
    assert world.endpoint.failing_since == NOW
    assert world.endpoint.rest_level == 0


def test_the_same_events_that_fail_again_and_again_do_not_put_it_in_doubt() -> None:
    world = World(0, 0, 0, 0, 0)
    for _ in range(3):
        world.note(*(world.end(event, answered(404)) for event in (1, 2, 3, 4)))
    assert permission(world.endpoint, NOW) is Permission.ANY
    world.note(world.end(5, answered(404)))
    assert is_in_doubt(world.endpoint)


@pytest.mark.parametrize(("took", "wait"), [(SECOND / 100, SECOND / 25), (SECOND, timedelta(0))])
def test_in_doubt_one_delivery_goes_at_a_time_and_twenty_a_second(took: timedelta, wait: timedelta) -> None:
    world = in_doubt(*[0] * 9)
    for event in (6, 7, 8):
        assert world.endpoint.rest_until is not None
        world.now = world.endpoint.rest_until
        world.endpoint = begin_probe(world.endpoint, world.now)
        assert permission(world.endpoint, world.now + 19 * SECOND) is Permission.NOTHING
        world.now += took
        assert world.note(world.end(event, answered(500))).wait == wait


def test_what_began_before_the_doubt_neither_prolongs_nor_shortens_the_pause_of_the_next() -> None:
    world = World(*[0] * 8)
    together = [world.end(event, answered(404)) for event in range(1, 8)]
    world.note(*together)
    until = NOW + SECOND / 20
    assert world.endpoint.rest_until == until
    world.now = until
    world.endpoint = begin_probe(world.endpoint, world.now)
    world.note(world.end(8, answered(404), rest_from=None))
    assert permission(world.endpoint, world.now) is Permission.NOTHING


def test_one_success_ends_the_doubt() -> None:
    world = in_doubt(*[0] * 6)
    effects = world.probe(6, OK)
    assert is_sound(world.endpoint)
    assert (effects.rows, effects.wait) == ((), timedelta(0))
    assert [row.tries for row in world.rows.values()] == [1, 1, 1, 1, 1, 0]


def test_no_event_is_given_up_while_its_endpoint_is_in_doubt() -> None:
    world = in_doubt(0, 0, 0, 0, 9, 9, 8)
    assert (world.rows[5].state, world.rows[5].due_at) == (NotificationState.PENDING, NOW + 24 * HOUR)
    for event in (6, 7, 6, 7):
        world.probe(event, answered(404))
        assert world.rows[event].state is NotificationState.PENDING
        assert world.rows[event].tries == 9
    world.probe(1, OK)
    world.note(world.end(6, answered(404)))
    assert world.rows[6].state is NotificationState.GAVE_UP


def test_an_endpoint_in_doubt_that_takes_nothing_rests_and_its_answer_ends_the_rest_but_not_the_doubt() -> None:
    world = in_doubt(*[0] * 8)
    world.probe(6, answered(503))
    assert world.rest == 5 * SECOND
    world.probe(7, TIMEOUT)
    assert (world.rest, world.endpoint.rest_level) == (10 * SECOND, 2)
    world.probe(8, answered(500))
    assert permission(world.endpoint, world.now) is Permission.PROBE
    assert (world.endpoint.rest_level, world.endpoint.failing_since) == (0, NOW)
    world.probe(7, TIMEOUT)
    assert world.rest == 5 * SECOND


def test_events_that_fail_by_themselves_as_probes_of_a_rest_put_the_endpoint_in_doubt() -> None:
    world = World(*[0] * 6)
    world.note(world.end(6, TIMEOUT))
    for event in (1, 2, 3, 4):
        world.probe(event, answered(500))
    assert world.endpoint.rest_level == 1
    world.probe(5, answered(500))
    assert (is_in_doubt(world.endpoint), world.endpoint.rest_level) == (True, 0)


def test_a_late_failure_after_a_success_puts_an_endpoint_in_doubt_that_counts_four() -> None:
    world = World(*[0] * 5)
    for event in (1, 2, 3, 4):
        world.note(world.end(event, answered(404)))
    world.note(world.end(5, answered(404), rest_from=NOW - HOUR))
    assert permission(world.endpoint, NOW) is Permission.NOTHING
    assert permission(world.endpoint, NOW + SECOND / 20) is Permission.PROBE


def test_a_success_between_failures_begins_the_count_of_different_events_again() -> None:
    world = World(0, 0, 0, 0, 0, 0)
    for event in (1, 2, 3, 4):
        world.note(world.end(event, answered(404)))
    world.note(world.end(6, OK))
    world.note(world.end(5, answered(404)))
    assert permission(world.endpoint, NOW) is Permission.ANY
    assert [row.tries for row in world.rows.values()] == [1, 1, 1, 1, 1, 0]


def test_one_event_that_fails_for_ever_never_rests_its_endpoint_and_is_refused_since_its_first_failure() -> None:
    world = World(0)
    for _ in range(10):
        world.note(world.end(1, answered(500)))
        assert permission(world.endpoint, world.now) is Permission.ANY
        world.now += HOUR
    assert (world.rows[1].state, world.rows[1].refused_since) == (NotificationState.GAVE_UP, NOW)


def test_an_event_of_a_resting_endpoint_is_never_given_up() -> None:
    world = World(9, 0)
    world.note(world.end(2, TIMEOUT))
    world.probe(1, answered(500))
    assert world.rows[1].state is NotificationState.PENDING
    assert world.rows[1].due_at == world.now + 24 * HOUR
    # The next probe does not have to wait.
    assert permission(world.endpoint, world.now) is Permission.PROBE


def test_an_events_own_failure_that_began_before_the_rest_does_not_end_it() -> None:
    world = World(0, 0)
    world.note(world.end(2, TIMEOUT))
    world.note(world.end(1, answered(422), rest_from=None))
    assert world.rest == 5 * SECOND
    assert world.rows[1].tries == 1


def test_410_stops_the_endpoint_and_blames_no_event() -> None:
    world = World(0, 0)
    world.note(world.end(1, answered(410)))
    assert permission(world.endpoint, NOW + 1000 * HOUR) is Permission.NOTHING
    assert world.endpoint.stopped_at == NOW
    assert world.rows[1].tries == 0
    world.now += HOUR
    world.note(world.end(2, answered(410)))
    assert world.endpoint.stopped_at == NOW


def test_a_failure_is_noted_only_by_the_holder_of_the_lease() -> None:
    world = World(0)
    effects = world.note(world.end(1, TIMEOUT, token="an old lease"), world.end(2, TIMEOUT))
    assert effects.failed == ()
    assert effects.rows == ()
    assert is_sound(world.endpoint)


def test_any_success_is_noted() -> None:
    world = World(0)
    ended = world.end(1, OK, token="an old lease")
    assert world.note(ended).delivered == (ended,)


def test_a_rest_that_lies_further_ahead_than_its_own_length_has_run_out() -> None:
    world = World(0)
    world.note(world.end(1, TIMEOUT))
    assert permission(world.endpoint, NOW) is Permission.NOTHING
    assert permission(world.endpoint, NOW - HOUR) is Permission.PROBE
    assert permission(world.endpoint, NOW + 5 * SECOND) is Permission.PROBE


def test_after_75_hours_an_endpoint_needs_a_person_and_is_probed_hourly() -> None:
    world = World(0)
    world.note(world.end(1, TIMEOUT))
    while world.now < NOW + 75 * HOUR:
        assert not is_failing_for_long(world.endpoint, world.now)
        world.probe(1, TIMEOUT)
    assert is_failing_for_long(world.endpoint, world.now)
    assert world.rest == HOUR
    assert world.rows[1].state is NotificationState.PENDING
    assert world.rows[1].tries == 0


RESULTS = st.sampled_from([OK, TIMEOUT, answered(503), answered(404), answered(500)])


@given(st.lists(st.tuples(st.integers(1, 7), RESULTS), max_size=60))
def test_a_rest_that_is_over_lets_a_probe_through_and_tries_stay_within_bounds(
    ends: list[tuple[int, DeliveryResult]],
) -> None:
    world = World(*[0] * 7)
    for event, result in ends:
        if world.rows[event].state is not NotificationState.PENDING:
            continue
        if world.endpoint.rest_from is None:
            world.note(world.end(event, result))
        else:
            world.probe(event, result)
        assert world.endpoint.rest_from is None or world.rest <= timedelta(minutes=15)
        assert all(0 <= row.tries <= 10 for row in world.rows.values())
        assert result is not OK or is_sound(world.endpoint)
