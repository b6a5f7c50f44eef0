"""What a billing system must have been told, one function for each invariant: N1 to N5, in words like the promise's.

It decides from the database's tables and from what the receiver kept (`tests.faults.notification_recorder`).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.faults.checker.evidence import FINAL, Row, same_amount
from tests.faults.notification_recorder import DRIP_HEADERS, HANG, read_deliveries

_TOLERANCE_SECONDS = 300.0
"""A receiver refuses what was signed longer ago, or is signed for a time so far ahead."""
_MOST_OF_A_REMARK = 1_000

_Key = tuple[str, str]
"""Account and name of an order."""


@dataclass(frozen=True, kw_only=True)
class NotificationEvidence:
    """Everything that is checked."""

    orders: Sequence[Row]
    changes: Sequence[Row]
    """What the database's own history says of the orders (`tests.faults.checker.history`)."""
    notifications: Sequence[Row]
    deliveries: Sequence[Row]
    """What the receiver kept, in the order of arrival."""
    accounts: frozenset[str] = frozenset({"default"})
    """Those that had an endpoint for all types before their first order came."""
    refused: frozenset[str] = frozenset()
    """Request ids of the orders that the receiver refuses until the end: it may never know them."""
    lost_events: frozenset[str] = frozenset()
    """Ids of events whose rows a restore may have taken."""
    hidden_tries: int = 0
    """How many tries of one event may have failed without the receiver's knowledge: one each time it was killed."""
    endpoint: tuple[str, str] = ("POST", "/notifications")
    """Method and path of every delivery; `task` and the task's name where they are messages."""
    clock_was_stepped: bool = False
    """Whether the clock that signs was wrong for a while."""


@dataclass(frozen=True, kw_only=True)
class _Told:
    event_id: str
    type: str
    key: _Key
    data: Row


def collect_notifications(
    *,
    database_url: str,
    deliveries: Path,
    refused: frozenset[str] = frozenset(),
    lost_events: frozenset[str] = frozenset(),
    hidden_tries: int = 0,
    endpoint: tuple[str, str] = ("POST", "/notifications"),
    clock_was_stepped: bool = False,
) -> NotificationEvidence:
    """Read the database and the receiver's file, once nothing is under way any more."""
    engine = sqlalchemy.create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:
        orders, changes, notifications = (
            [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY id").mappings()]
            for table in ("recharge_orders", "order_history", "notifications")
        )
    return NotificationEvidence(
        orders=orders,
        changes=changes,
        notifications=notifications,
        deliveries=read_deliveries(deliveries),
        refused=refused,
        lost_events=lost_events,
        hidden_tries=hidden_tries,
        endpoint=endpoint,
        clock_was_stepped=clock_was_stepped,
    )


def check_notifications(evidence: NotificationEvidence) -> tuple[str, ...]:
    """Check N1 to N5; what was broken, each with the name of its invariant first."""
    return tuple(f"{name}: {what}" for name, check in _INVARIANTS.items() for what in check(evidence))


def _n1(evidence: NotificationEvidence) -> Iterator[str]:
    """Every visible change was delivered to a receiver that accepted it, at least once."""
    changed: dict[int, Counter[str]] = defaultdict(Counter)
    for change in evidence.changes:
        if event_type := _type_of(change):
            changed[change["order_id"]][event_type] += 1
    told: dict[_Key, Counter[str]] = defaultdict(Counter)
    for key, event_type in {one.event_id: (one.key, one.type) for one in _accepted(evidence)}.values():
        told[key][event_type] += 1
    for order in _of_interest(evidence):
        for event_type, count in (changed[order["id"]] - told[_key(order)]).items():
            yield f"order {_name(order)}: {count} times {event_type}, without a notification"


def _type_of(change: Row) -> str | None:
    """The type of the notification about a change; None where none is due."""
    if None in (change["old_state"], change["new_state"]):
        # Taken in.
        return None
    if change["old_state"] != change["new_state"]:
        return "order.reopened" if change["new_state"] == "pending" else f"order.{change['new_state']}"
    return "order.attention" if change["old_attention"] != change["new_attention"] else None


def _n2(evidence: NotificationEvidence) -> Iterator[str]:
    """A receiver that follows the version rule knows the last version of every order, as it stands in the table."""
    last: dict[int, int] = defaultdict(int)
    for row in evidence.notifications:
        last[row["order_id"]] = max(last[row["order_id"]], row["version"])
    known = _known_to_a_receiver(evidence)
    for order in _of_interest(evidence):
        data = known.get(_key(order))
        if data is None:
            if order["state"] != "pending" or order["attention"] is not None:
                yield f"order {_name(order)} is {order['state']}, and the receiver knows nothing of it"
        elif not last[order["id"]] == data["version"] <= order["version"]:
            yield (
                f"order {_name(order)}: the receiver knows version {data['version']}, the last one that was written is"
                f" {last[order['id']]}, the order's {order['version']}"
            )
        else:
            yield from _told_wrongly(order, data)


def _known_to_a_receiver(evidence: NotificationEvidence) -> dict[_Key, Row]:
    """What a receiver holds at the end: of each order the data of the greatest version, whatever came when."""
    known: dict[_Key, Row] = {}
    for one in _accepted(evidence):
        if one.key not in known or one.data["version"] > known[one.key]["version"]:
            known[one.key] = one.data
    return known


def _accepted(evidence: NotificationEvidence) -> Iterator[_Told]:
    """What the receiver accepted about orders, in the order of arrival."""
    by_parm = {(order["account"], order["custom_parm"]): _key(order) for order in evidence.orders}
    for delivery in evidence.deliveries:
        if not delivery["accepts"] or not _is_about_an_order(delivery):
            continue
        body = json.loads(delivery["body"])
        data = body["data"]
        # An order may have learned its request id since.
        parm = data["custom_parm"]
        known = by_parm.get((data["account"], parm)) if parm else None
        yield _Told(
            event_id=delivery["id"],
            type=body["type"],
            key=known or (data["account"], str(data["request_id"] or parm)),
            data=data,
        )


def _is_about_an_order(delivery: Row) -> bool:
    """Whether it is no test event, and readable."""
    try:
        return str(json.loads(delivery["body"])["type"]).startswith("order.")
    except (ValueError, KeyError, TypeError):
        return False


def _told_wrongly(order: Row, data: Row) -> Iterator[str]:
    """What the receiver knows, and the table says otherwise. Of a pending order it may not know each report."""
    fields = ["state", "attention"]
    if order["state"] in FINAL:
        fields += ["traffic_sts", "remark", "ori_amount", "settled_by"]
    for field in fields:
        told, there = data[field], order[field]
        if field == "remark" and there is not None:
            there = there[:_MOST_OF_A_REMARK]
        if str(told) != str(there) and not (field == "ori_amount" and same_amount(told, there)):
            yield f"order {_name(order)}: the receiver knows {field} {told!r}, the table has {there!r}"


def _n3(evidence: NotificationEvidence) -> Iterator[str]:
    """No notification is lost: what counts as delivered was accepted, and nothing waits at the end."""
    accepted = {one["id"] for one in evidence.deliveries if one["accepts"]}
    refused = {order["id"] for order in evidence.orders if _name(order) in evidence.refused}
    for row in evidence.notifications:
        if row["state"] == "delivered" and row["event_id"] not in accepted:
            yield f"event {row['event_id']} counts as delivered, and no receiver accepted it"
        elif row["state"] == "pending" and row["order_id"] not in refused:
            yield f"event {row['event_id']} still waits after {row['tries']} tries; its last one was {row['outcome']}"


def _n4(evidence: NotificationEvidence) -> Iterator[str]:
    """No event is given up before its whole schedule of tries has failed, all by its own fault."""
    return check_tries(evidence.notifications, evidence.deliveries, hidden=evidence.hidden_tries)


def _n5(evidence: NotificationEvidence) -> Iterator[str]:
    """Each delivery is signed, fresh, at the endpoint itself, and one of ours: an id has one body, that of its row."""
    bodies = {row["event_id"]: row["body"] for row in evidence.notifications}
    written = evidence.lost_events | frozenset(bodies)
    for one in evidence.deliveries:
        event_id, expected = one["id"], bodies.setdefault(one["id"], one["body"])
        if not one["is_valid"]:
            yield f"event {event_id} came with a signature that is not valid"
        elif not _is_fresh(one) and not evidence.clock_was_stepped:
            yield f"event {event_id} was signed for a time {one['age']} s ago"
        if (one["method"], one["path"]) != evidence.endpoint:
            yield f"event {event_id} came by {one['method']} to {one['path']}: a redirect was followed"
        if one["body"] != expected:
            yield f"event {event_id} came with another body than before, or than was written"
        if one["is_valid"] and event_id not in written and _is_about_an_order(one):
            yield f"event {event_id} was not written by a worker"


def _is_fresh(delivery: Row) -> bool:
    return delivery["age"] is not None and abs(delivery["age"]) <= _TOLERANCE_SECONDS


def _name(order: Row) -> str:
    return str(order["request_id"] or order["custom_parm"])


def _key(order: Row) -> _Key:
    return order["account"], _name(order)


def _of_interest(evidence: NotificationEvidence) -> Iterator[Row]:
    """The orders of which the receiver must have heard."""
    for order in evidence.orders:
        if order["account"] in evidence.accounts and _name(order) not in evidence.refused:
            yield order


_INVARIANTS: Mapping[str, Callable[[NotificationEvidence], Iterator[str]]] = {
    "N1": _n1,
    "N2": _n2,
    "N3": _n3,
    "N4": _n4,
    "N5": _n5,
}


WAITS_SECONDS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""How long an event waits after each failure of its own. It may be given up at the next one."""
_LEAST = 0.9
"""Jitter takes up to a tenth of a wait."""
_EXCHANGE_SECONDS = 12.0
"""The longest time between the arrival of a delivery and the note of its end."""
_REST = {429, 502, 503, 504}
"""Answers that speak of the endpoint and not of the event."""
_GONE = 410


def check_tries(notifications: Sequence[Row], deliveries: Sequence[Row], *, hidden: int) -> Iterator[str]:
    """The events that were given up too early. `hidden`: so many of an event's tries the receiver may not have seen."""
    needed = len(WAITS_SECONDS) + 1 - hidden
    least = _LEAST * sum(WAITS_SECONDS)
    for row in notifications:
        if row["state"] != "gave_up":
            continue
        failures = _own_failures(row["event_id"], deliveries)
        span = failures[-1] - failures[0] if failures else 0.0
        if len(failures) < needed:
            yield f"event {row['event_id']} was given up after {len(failures)} failures of its own, not {needed}"
        elif span < least and not hidden:
            yield f"event {row['event_id']} was given up {span:.0f} s after its first failure, not {least:.0f} s"


def _own_failures(event_id: str, deliveries: Sequence[Row]) -> list[float]:
    """When the tries of an event failed, as far as that may be its own fault, in seconds.

    A failure of the endpoint becomes the event's own where another event is accepted before this one is tried again.
    """
    tries = [one for one in deliveries if one["id"] == event_id]
    accepted = [one["at"] for one in deliveries if one["accepts"] and one["id"] != event_id]
    found = []
    for one, following in zip(tries, [*tries, None][1:], strict=True):
        if one["accepts"] or one["status"] == _GONE:
            continue
        until = following["at"] if following else inf
        is_its_own = one["how"] not in (HANG, DRIP_HEADERS) and one["status"] not in _REST
        if is_its_own or any(one["at"] - _EXCHANGE_SECONDS < at < until for at in accepted):
            found.append(one["at"])
    return found
