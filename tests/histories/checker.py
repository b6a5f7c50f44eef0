"""The checker: S1 to S5, and notifications, from plain SQL and the platform's record of arrivals.

It shares no code with the product.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from tests.histories.platform import Arrival, Platform, PlatformOrder
from tests.platforms.writing import Item

Row = Mapping[str, Any]

_STATES = {"1": "succeeded", "-1": "failed"}
_KEPT = ("state", "traffic_sts", "remark", "ori_amount", "settled_by", "settled_at")
"""What never changes of an order that is final or cancelled, unless an operator reopens it."""
_NAMES = ("request_id", "custom_parm")
_MOST_IDS = 100
NOTIFIED = ("a", "b")
"""The accounts that have an endpoint; a third one has none."""
_DEADLINE_MS = 30_000


def _continues(event: Row, later: Row | None) -> bool:
    """Whether a later reading of an event is the same event, said as often or more often."""
    if later is None or {**later, "repeats": None} != {**event, "repeats": None}:
        return False
    return (later["repeats"] or 0) >= (event["repeats"] or 0)


def _plain(row: Row) -> Row:
    """A row whose times and amounts are text, the same for each database."""
    return {
        name: format(value, "f")
        if isinstance(value, Decimal)
        else _time_text(value)
        if name.endswith("at") and value is not None
        else value
        for name, value in row.items()
    }


def _time_text(value: Any) -> str:
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def rows_of(engine: Engine, statement: str) -> list[Row]:
    """The rows that a plain statement reads."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.exec_driver_sql(statement).mappings()]


@dataclass
class Checker:
    """The model of one history: what was accepted, refused and answered, and which rows were seen final."""

    engine: Engine
    platform: Platform
    window_seconds: float
    queries_per_window: int
    longer_window: tuple[int, float] | None = None
    """The time in the world's ms from which a longer window holds, and its length in seconds."""
    callbacks: list[Item] = field(default_factory=list)
    """The bodies that were handed in."""
    refused: list[object] = field(default_factory=list)
    """What the worker answered to have refused."""
    kept: dict[int, Row] = field(default_factory=dict)
    """Orders as they were when they were first seen final or cancelled."""
    orders: list[Row] = field(default_factory=list)
    """The rows as last read."""
    events: dict[int, Row] = field(default_factory=dict)
    """Every event that was ever seen, by its id."""
    _rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    _arrivals_seen: int = 0

    def check(self) -> None:
        """All that must hold after every step."""
        orders = rows_of(self.engine, "SELECT * FROM recharge_orders")
        self.orders = sorted(map(_plain, orders), key=lambda row: row["id"])
        self._rows = {(row["account"], column, row[column]): row for row in self.orders for column in _NAMES}
        for arrival in self.platform.arrivals[self._arrivals_seen :]:
            self._check_query(arrival)
        self._arrivals_seen = len(self.platform.arrivals)
        self._check_spacing()
        self._check_nothing_lost()
        self._check_final()
        self._check_events()
        self._check_told()

    def of(self, order: PlatformOrder) -> list[Row]:
        """The rows that hold a name of this order: one, or two where billing has sent its names apart."""
        names = ("request_id", order.request_id), ("custom_parm", order.custom_parm)
        found = {row["id"]: row for column, name in names if (row := self._rows.get((order.account, column, name)))}
        return list(found.values())

    def _check_spacing(self) -> None:
        by_sid: dict[str, list[int]] = {}
        for arrival in self.platform.arrivals:
            by_sid.setdefault(arrival.sid, []).append(arrival.ms)
        for sid, times in by_sid.items():
            for earlier, later in zip(times, times[self.queries_per_window :], strict=False):
                apart = (later - earlier) / 1000
                assert apart >= self._window_between(earlier, later), (
                    f"S1: {self.queries_per_window + 1} queries of {sid} arrived within {apart} s"
                )

    def _window_between(self, earlier: int, later: int) -> float:
        """The window that must lie between two arrivals. A query granted before it grew may arrive after that:
        at most one in each slot, and within its deadline."""
        if self.longer_window is None:
            return self.window_seconds
        since, longer = self.longer_window
        is_granted_since = self.queries_per_window == 1 and later > since + _DEADLINE_MS
        return longer if earlier >= since or is_granted_since else self.window_seconds

    def _check_query(self, arrival: Arrival) -> None:
        assert 1 <= len(arrival.ids) <= _MOST_IDS, f"S4: a query holds {len(arrival.ids)} ids"
        assert len(set(arrival.ids)) == len(arrival.ids), f"S4: a query holds an id twice: {arrival.ids}"
        column = {"requestId": "request_id", "customParm": "custom_parm"}[arrival.kind.value]
        held = {row[column] for row in self.orders if row["account"] == arrival.account}
        assert held.issuperset(arrival.ids), f"S4: not all of {arrival.ids} are {column}s of {arrival.account}"

    def _check_nothing_lost(self) -> None:
        accounted = 0
        for order in self.platform.orders:
            if not order.given:
                continue
            rows = self.of(order)
            accounted += len(rows)
            for column in order.given - {"mobile"}:
                name = getattr(order, column)
                held = [row[column] for row in rows].count(name)
                assert held == 1, f"S3: {order.account}:{name} was accepted, and is in {held} rows"
        assert accounted == len(self.orders), f"S3: {len(self.orders) - accounted} rows are of no accepted order"
        if self.refused:
            payloads = {row["payload"] for row in rows_of(self.engine, "SELECT payload FROM rejected_orders")}
            recorded = [json.loads(payload) for payload in payloads]
            lost = [item for item in self.refused if item not in recorded]
            assert not lost, f"S3: refused without a record: {lost}"

    def _check_events(self) -> None:
        """Each event is there once, unchanged but for the count of its repeats, and no id is ever used again."""
        events = list(map(_plain, rows_of(self.engine, "SELECT * FROM order_events")))
        now = {event["id"]: event for event in events}
        assert len(now) == len(events), "S5: two events have one id"
        lost = {number: event for number, event in self.events.items() if not _continues(event, now.get(number))}
        assert not lost, f"S5: events were lost or changed: {lost}"
        self.events = now

    def _check_told(self) -> None:
        """Of each order: a notification for each state or attention that it came to, the last one as it stands."""
        told: dict[int, list[Row]] = {}
        for row in rows_of(self.engine, "SELECT order_id, type, version, body FROM notifications ORDER BY id"):
            told.setdefault(row["order_id"], []).append(row)
        for order in self.orders:
            seen, version = ("pending", None), 0
            for row in told.pop(order["id"], ()):
                data = json.loads(row["body"])["data"]
                then = data["state"], data["attention"]
                kind = "attention" if then[0] == seen[0] else then[0].replace("pending", "reopened")
                assert then != seen, f"told twice: {row}"
                assert row["type"] == f"order.{kind}", f"a notification of a wrong change: {row} after {seen}"
                assert data["version"] == row["version"] > version, f"told under an old version: {row} after {version}"
                seen, version = then, row["version"]
            stands = (order["state"], order["attention"]) if order["account"] in NOTIFIED else ("pending", None)
            assert (seen, version <= order["version"]) == (stands, True), f"not notified of how it stands: {order}"
        assert not told, f"notifications of orders that are not there: {told}"

    def _check_final(self) -> None:
        news = []
        self._forget_decided_by_hand()
        for row in self.orders:
            if row["id"] in self.kept:
                before = self.kept[row["id"]]
                changed = {name: (before[name], row[name]) for name in _KEPT if before[name] != row[name]}
                assert not changed, f"S2: order {row['id']} was {before['state']}, and changed: {changed}"
            elif row["state"] in ("succeeded", "failed", "cancelled"):
                self.kept[row["id"]] = row
                news.append(row)
        settled = [row for row in news if row["state"] != "cancelled"]
        for row in settled:
            self._check_truth(row)
        if settled:
            self._check_evidence(settled)

    def _forget_decided_by_hand(self) -> None:
        """Forget what was kept of orders that an operator has reopened since, or resolved after a cancellation: the
        history must name who did it."""
        for row in self.orders:
            before = self.kept.get(row["id"])
            if before is None:
                continue
            is_reopened = row["reopened_at"] != before["reopened_at"]
            is_resolved = before["state"] == "cancelled" and row["settled_by"] == "operator"
            if is_reopened or is_resolved:
                at = row["reopened_at"] if is_reopened else row["settled_at"]
                of_order = rows_of(self.engine, f"SELECT * FROM order_events WHERE order_id = {row['id']}")
                by = [event["actor"] for event in map(_plain, of_order) if event["at"] == at]
                assert "ann" in by, f"S2: order {row['id']} was {before['state']}, and no operator decided otherwise"
                del self.kept[row["id"]]

    def _check_truth(self, row: Row) -> None:
        order = next(order for order in self.platform.orders if row in self.of(order))
        # Of a failed order nothing is charged, whether the platform says so or leaves the amount out.
        truth = (_STATES.get(order.traffic_sts), float(order.amount or 0))
        said = (row["state"], float(row["ori_amount"] or 0))
        assert said == truth, f"S2: {order.account}:{order.request_id} is {truth} at the platform, and {said} here"
        differs = row["expected_amount"] is not None and float(row["expected_amount"]) != float(row["ori_amount"] or 0)
        is_seen = row["state"] != "succeeded" or row["attention"] is not None or row["settled_by"] == "operator"
        assert not differs or is_seen, "an amount differs unseen"

    def _check_evidence(self, settled: Sequence[Row]) -> None:
        ids = ",".join(str(row["id"]) for row in settled)
        events = rows_of(
            self.engine,
            "SELECT e.order_id, e.kind, e.source, e.actor, e.detail, q.outcome, q.polled_ids FROM order_events e"
            " LEFT JOIN platform_queries q ON q.id = e.query_id"
            f" WHERE e.kind IN ('settled', 'reopened') AND e.order_id IN ({ids}) ORDER BY e.id",
        )
        for row in settled:
            own: list[Row] = []
            for event in events:
                if event["order_id"] == row["id"]:
                    # What was said before an operator reopened it is no evidence of what it is now.
                    own = [] if event["kind"] == "reopened" else [*own, event]
            assert [event["source"] for event in own] == [row["settled_by"]], f"S5: {row['id']} was settled by {own}"
            event = own[0]
            if row["settled_by"] == "operator":
                assert event["actor"] == "ann", f"S5: {row['id']} was settled without evidence"
                continue
            words = json.loads(event["detail"][event["detail"].index("{") :])
            if row["settled_by"] == "callback":
                assert words in self.callbacks, f"S5: no callback said {words}"
                continue
            assert event["outcome"] == "answered", f"S5: {row['id']} was settled by a query that was {event['outcome']}"
            polled = tuple(event["polled_ids"].split(","))
            assert {row["request_id"], row["custom_parm"]} & set(polled), f"S5: {row['id']} was not polled"
            said = [item for arrival in self.platform.arrivals if arrival.ids == polled for item in arrival.said]
            assert words in said, f"S5: no answer to {polled} said {words}"
