"""The checker of notifications on evidence made by hand: each invariant, kept and broken."""

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checker.notifications import WAITS_SECONDS, NotificationEvidence, check_notifications
from tests.faults.notification_recorder import CLOSE, HANG, WHOLE
from tests.unit.faults.rows import change, order


def body(name: str, state: str = "succeeded", **fields: Any) -> str:
    data = {**order(name, state, ori_amount="2.94"), **fields}
    del data["id"], data["expected_amount"]
    event_type = "order.reopened" if state == "pending" else f"order.{state}"
    return json.dumps({"type": event_type, "timestamp": "2026-01-31T10:05:00Z", "data": data})


def notification(event_id: str, text: str, state: str = "delivered", tries: int = 0) -> dict[str, Any]:
    read = json.loads(text)
    return {
        "event_id": event_id,
        "order_id": int(read["data"]["request_id"]),
        "type": read["type"],
        "version": read["data"]["version"],
        "body": text,
        "state": state,
        "tries": tries,
        "outcome": "accepted" if state == "delivered" else "http_error",
    }


def delivery(event_id: str, text: str, at: float = 0.0, **fields: Any) -> dict[str, Any]:
    status = fields.get("status", 200)
    return {
        "at": at,
        "method": "POST",
        "path": "/notifications",
        "id": event_id,
        "age": 0.4,
        "is_valid": True,
        "body": text,
        "how": WHOLE,
        "status": status,
        "accepts": 200 <= status < 300,
        **fields,
    }


ONE, TWO = body("1"), body("2", "failed", version=50)
AGAIN, LAST = body("2", "pending", version=60), body("2", version=70)
GOOD = NotificationEvidence(
    orders=[order("1"), order("2", version=75), order("3", "pending")],
    changes=[
        *(change(name, None, "pending") for name in "123"),
        change("1", "pending", "succeeded"),
        change("2", "pending", "failed"),
        change("2", "failed", "pending"),
        change("2", "pending", "succeeded"),
        # What the platform said last has changed.
        change("3", "pending", "pending"),
    ],
    notifications=[
        notification("a", ONE),
        notification("b", TWO),
        notification("c", AGAIN),
        notification("d", LAST),
    ],
    # Doubled, and out of order.
    deliveries=[
        delivery("a", ONE, status=503),
        delivery("a", ONE, 5.0),
        delivery("a", ONE, 5.1),
        delivery("d", LAST, 6.0),
        delivery("c", AGAIN, 6.1),
        delivery("b", TWO, 6.2),
    ],
)


def with_first(row: dict[str, Any], *deliveries: dict[str, Any]) -> dict[str, Any]:
    """Another notification instead of the first one, and these deliveries instead of its own."""
    return {
        "notifications": [row, *GOOD.notifications[1:]],
        "deliveries": [*deliveries, *GOOD.deliveries[3:]],
    }


def also(text: str = ONE, event_id: str = "a", **fields: Any) -> dict[str, Any]:
    """One delivery more."""
    return {"deliveries": [*GOOD.deliveries, delivery(event_id, text, **fields)]}


def order_is(**fields: Any) -> dict[str, Any]:
    """The first order otherwise than its receiver was told."""
    return {"orders": [order("1", **fields), *GOOD.orders[1:]]}


def failing(*, status: int = 500, hurry: float = 1.0, drop: int = 0, **fields: Any) -> dict[str, Any]:
    """The evidence of one event that was given up: its tries by the schedule, or in a hurry, or some too few."""
    times = list(itertools.accumulate([wait * hurry for wait in WAITS_SECONDS], initial=10.0))[drop:]
    tries = [delivery("a", ONE, at, status=status, **fields) for at in times]
    return {"refused": frozenset({"1"}), **with_first(notification("a", ONE, "gave_up", 10), *tries)}


def test_what_was_told_as_it_should_be_is_found_so() -> None:
    assert check_notifications(GOOD) == ()


CUT, BLIND = body("1", remark="é" * 1_000), body("1", request_id=None, custom_parm="p")
KEPT: dict[str, dict[str, Any]] = {
    "an event of its own fault that was given up after the whole schedule": failing(hurry=0.95),
    "connections that broke each time": failing(how=CLOSE, accepts=False),
    "a try that failed while the receiver was killed": failing(drop=1) | {"hidden_tries": 1},
    "an event that waits where the receiver refuses its order": failing()
    | {"notifications": [notification("a", ONE, "pending"), *GOOD.notifications[1:]]},
    "an account that has no endpoint": {"orders": [*GOOD.orders, order("4", account="quiet")]},
    "an order that was archived and restored": {
        "changes": [*GOOD.changes, change("1", "succeeded", None), change("1", None, "succeeded")]
    },
    "a test event, which has no row": also('{"type": "test"}', "test"),
    "a remark that was cut": order_is(remark="é" * 1_500) | with_first(notification("a", CUT), delivery("a", CUT)),
    "an order that has learned its request id since": order_is(custom_parm="p")
    | with_first(notification("a", body("1", custom_parm="p")) | {"body": BLIND}, delivery("a", BLIND)),
}


@pytest.mark.parametrize("what", KEPT)
def test_the_checker_lets_pass(what: str) -> None:
    assert check_notifications(replace(GOOD, **KEPT[what])) == ()


BROKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "a change without a notification": (
        "N1",
        {"notifications": GOOD.notifications[1:], "deliveries": GOOD.deliveries[3:]},
    ),
    "one of two changes of a kind that was not told": (
        "N1",
        {"changes": [*GOOD.changes, change("1", "succeeded", "pending"), change("1", "pending", "succeeded")]},
    ),
    "an attention that came and went without a word": (
        "N1",
        {
            "changes": [
                *GOOD.changes,
                change("1", "succeeded", "succeeded", None, "late_conflict"),
                change("1", "succeeded", "succeeded", "late_conflict", None),
            ]
        },
    ),
    "a settled order of which the receiver knows nothing": ("N2", {"deliveries": GOOD.deliveries[3:]}),
    "an order that needs attention, unknown to the receiver": (
        "N2",
        {"orders": [*GOOD.orders[:2], order("3", "pending", attention="unknown_status")]},
    ),
    "a last version that never arrived": ("N2", {"deliveries": [*GOOD.deliveries[:3], *GOOD.deliveries[4:]]}),
    "a version that is newer than the order": ("N2", order_is(version=99)),
    "another amount than the table's": ("N2", order_is(ori_amount="2.95")),
    "another attention than the table's": ("N2", order_is(attention="late_conflict")),
    "an event that counts as delivered and was refused": (
        "N3",
        with_first(notification("a", ONE), delivery("a", ONE, status=500)),
    ),
    "an event that counts as delivered and was never answered": (
        "N3",
        with_first(notification("a", ONE), delivery("a", ONE, how=HANG, accepts=False)),
    ),
    "an event that was never sent": (
        "N3",
        {"notifications": [notification("a", ONE, "pending"), *GOOD.notifications[1:]]},
    ),
    "an event given up after too few tries": ("N4", failing(drop=1)),
    "an event given up too soon": ("N4", failing(hurry=0.85)),
    "an event given up while its endpoint rested": ("N4", failing(status=503)),
    "an event given up because the receiver hung": ("N4", failing(how=HANG, accepts=False)),
    "an event given up because the receiver was gone": ("N4", failing(status=410)),
    "an event given up, and never tried": ("N4", with_first(notification("a", ONE, "gave_up"))),
    "an event given up after it was accepted": (
        "N4",
        {"notifications": [notification("a", ONE, "gave_up"), *GOOD.notifications[1:]]},
    ),
    "a forged event": ("N5", also(is_valid=False, status=401)),
    "an event that no worker wrote": ("N5", also(event_id="e")),
    "a second body under the same id": ("N5", also(body("1", mobile="18812340804"))),
    "an event signed an hour ago": ("N5", also(age=3600.0)),
    "an event without a time": ("N5", also(age=None)),
    "a redirect that was followed": ("N5", also(path="/elsewhere")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_checker_finds(what: str) -> None:
    invariant, fields = BROKEN[what]
    assert invariant in {one.partition(":")[0] for one in check_notifications(replace(GOOD, **fields))}


def test_a_failure_of_the_endpoint_is_the_events_own_once_another_is_accepted() -> None:
    fields = failing(status=503)
    others = [delivery("d", LAST, one["at"] + 1.0) for one in fields["deliveries"] if one["id"] == "a"]
    assert check_notifications(replace(GOOD, **fields | {"deliveries": [*fields["deliveries"], *others]})) == ()
