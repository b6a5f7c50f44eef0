"""Pages that act, opened before what they show has changed: they do nothing, and are shown once more."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.console import said_after, send
from tests.support.notifying import put_endpoint, put_notifications
from tests.support.reconciling import Workbench
from tests.support.settled_orders import callback
from worker.database.tables import ACTS, REJECTED, UNMATCHED
from worker.domain.records.accounts import AccountState
from worker.operations.act_by_hand import Operator, cancel_planned_pauses, pause_accounts
from worker.operations.act_on_rejected_and_unmatched import dismiss_kept_callback, dismiss_rejected

pytestmark = pytest.mark.quick_on("sqlite")

BOB = Operator(name="bob", reason="moved")
ADDRESSED = "account=default"


def keep_callback(bench: Workbench) -> None:
    bench.intake.record_callbacks([callback("unknown")])


def refuse(bench: Workbench) -> None:
    kept = {"source": "reconciler enqueue", "payload": '{"request_id": "1"}', "errors": "once"}
    bench.run(REJECTED.insert(), {**kept, "received_at": bench.now()})


def back_off(bench: Workbench) -> None:
    until = bench.now() + timedelta(hours=1)
    bench.put_state(AccountState(account="default", backoff_level=1, backoff_until=until, backoff_seconds=3600.0))


def pause(bench: Workbench, hours: int = 1) -> None:
    pause_accounts(bench.database, BOB, ["default"], lasts=timedelta(hours=hours))


def pause_for_days(bench: Workbench) -> None:
    pause(bench, 48)


def pause_by_a_plan(bench: Workbench) -> None:
    """A shorter pause, which is on beside another one."""
    begins = bench.now() - timedelta(seconds=1)
    pause_accounts(bench.database, BOB, ["default"], begins=begins, ends=begins + timedelta(hours=1))


def plan(bench: Workbench, hours: int = 1) -> None:
    begins = bench.now() + timedelta(hours=hours)
    pause_accounts(bench.database, BOB, ["default"], begins=begins, ends=begins + timedelta(hours=1))


def plan_otherwise(bench: Workbench) -> None:
    cancel_planned_pauses(bench.database, BOB, ["default"])
    plan(bench, 2)


def change_faults(bench: Workbench) -> None:
    bench.run("UPDATE rejected_orders SET errors = 'another fault'")


def change_callback(bench: Workbench) -> None:
    bench.run("UPDATE unmatched_callbacks SET trust = 'check'")


def send_elsewhere(bench: Workbench) -> None:
    bench.run("UPDATE notify_endpoints SET shown = 'https://other.example'")


def put_one(bench: Workbench) -> None:
    put_notifications(bench, 1)


def plan_form(bench: Workbench) -> dict[str, Any]:
    now = bench.now()
    times = {name: f"{now + timedelta(hours=h):%Y-%m-%dT%H:%M}" for name, h in (("from", 24), ("until", 30))}
    return {"account": "default", **times}


def change_nothing(_: Workbench) -> None:
    """The page shows the state of a new database."""


Change = Callable[[Workbench], object]


@pytest.mark.parametrize(
    ("before", "path", "change"),
    [
        (keep_callback, "/unmatched/1/dismiss", change_callback),
        (refuse, "/rejected/1/retry", change_faults),
        (refuse, "/rejected/1/dismiss", change_faults),
        (back_off, f"/accounts/resume?{ADDRESSED}", pause),
        (pause, f"/accounts/resume?{ADDRESSED}", lambda bench: pause(bench, 2)),
        (pause_for_days, f"/accounts/resume?{ADDRESSED}", pause_by_a_plan),
        (change_nothing, f"/accounts/pause?{ADDRESSED}", pause),
        (pause_for_days, f"/accounts/pause?{ADDRESSED}", pause_by_a_plan),
        (put_endpoint, f"/notifications/endpoints/forget?{ADDRESSED}", lambda bench: put_notifications(bench, 40)),
        (put_one, f"/notifications/endpoints/forget?{ADDRESSED}", put_one),
        (put_endpoint, f"/notifications/endpoints/forget?{ADDRESSED}", send_elsewhere),
        (put_endpoint, f"/notifications/endpoints/pause?{ADDRESSED}", send_elsewhere),
        (change_nothing, "/maintenance/plan", plan),
        (plan, f"/maintenance/cancel?{ADDRESSED}", plan_otherwise),
    ],
)
def test_an_act_on_what_has_changed_since_its_page_was_shown_does_nothing(
    bench: Workbench, client: FlaskClient, before: Change, path: str, change: Change
) -> None:
    before(bench)
    typed = {"reason": "x", **plan_form(bench)}
    page = client.get(path).text
    change(bench)
    acts = bench.rows(ACTS)
    answer = send(client, path, page, **typed)
    assert answer.status_code == 409
    assert "This has changed meanwhile" in answer.text
    assert bench.rows(ACTS) == acts
    # Once it was looked at again, it can be done.
    said_after(send(client, path, answer.text, **typed))
    assert len(bench.rows(ACTS)) > len(acts)


def test_new_notifications_do_not_stand_in_the_way_of_a_pause(bench: Workbench, client: FlaskClient) -> None:
    put_endpoint(bench)
    path = f"/notifications/endpoints/pause?{ADDRESSED}"
    page = client.get(path).text
    put_notifications(bench, 40)
    assert not said_after(send(client, path, page))["refused"]


def test_a_stale_page_never_acts_on_the_row_that_came_after_its_own(bench: Workbench, client: FlaskClient) -> None:
    keep_callback(bench)
    refuse(bench)
    paths = ("/unmatched/1/dismiss", "/rejected/1/dismiss", "/rejected/1/retry")
    pages = {path: client.get(path).text for path in paths}
    # Colleagues deal with both rows, and others come in.
    dismiss_kept_callback(bench.database, BOB, 1)
    bench.add("1")
    bench.intake.retry_rejected(1, actor="bob")
    bench.intake.record_callbacks([callback("unknown")])
    bench.intake.cancel_orders([{"request_id": "2"}])
    acts = bench.rows(ACTS)
    for path, page in pages.items():
        assert send(client, path, page, reason="x").status_code == 404, path
    assert [row["id"] for table in (UNMATCHED, REJECTED) for row in bench.rows(table)] == [2, 2]
    assert bench.rows(ACTS) == acts


def test_what_is_dismissed_twice_is_recorded_once(bench: Workbench) -> None:
    refuse(bench)
    assert [dismiss_rejected(bench.database, BOB, [1], "1") for _ in range(2)] == [1, 0]
    assert len(bench.rows(ACTS)) == 1
