"""The checker: it judges by the platform's own truth and record, from plain SQL. It shares no decision with
the product.

What is demanded of every run:

- no wrong final state: `succeeded` and `failed` are the platform's own result, with the amount that it charged;
- no order set aside (`unresolved`) that the platform knew and would have answered. It would have answered if it knew
  the order when the query was sent that set it aside, if it does not refuse this id for good, even alone, and if its
  item for the order, asked alone, has to be believed. No outage and no denial of everything excuses it. Where the order
  was past its age limit, it would have answered if it was well at that moment, and had the result;
- the one exception: the platform denied this order alone, while it answered others. By items: three times or more, the
  last 120 windows or more after the first. By leaving it out: three times and more in company, then three times alone.
  These are counted;
- nothing pending 60 windows past its age limit without an attention;
- no pass that ends by an error of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.platforms.deployment import Deployment
from tests.platforms.platform import Heard
from tests.platforms.story import tell
from tests.platforms.truth import TrueOrder

Row = dict[str, Any]
_STATES = {"1": "succeeded", "-1": "failed"}
DENIED_WINDOWS = 120.0
DENIED_TIMES = 3
HELD_AN_ITEM = ("item", "bare", "doubtful", "denied")
"""What an answer made of an order of which it held an item, to be believed or not."""
FAILED_TIMES = 3
ABSENT_TIMES = 3
"""In company, and again alone."""


@dataclass(frozen=True)
class Violation:
    """One thing that must not be."""

    kind: str
    order: int | None
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}"


class Checker:
    """Judges one deployment at one platform."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.platform = deployment.platform
        self.violations: list[Violation] = []
        self.settled = self.set_aside = self.excused = self.left_pending = 0
        self.waits: list[float] = []
        self._unmarked: set[int] = set()
        self._places = {
            (order.account, order.request_id): place for place, order in enumerate(self.platform.orders)
        } | {(order.account, order.custom_parm): place for place, order in enumerate(self.platform.orders)}

    @property
    def orders(self) -> list[TrueOrder]:
        """All orders."""
        return self.platform.orders

    def crashed(self, why: str) -> None:
        """A pass ended by an error of its own."""
        if not any(violation.why == why for violation in self.violations):
            self.violations.append(Violation("a pass failed", None, why))

    def check_marked(self, placed_before: float) -> None:
        """Nothing that was placed so early is pending without an attention."""
        before = self._deployment.time_at(placed_before).strftime("%Y-%m-%d %H:%M:%S.%f")
        rows = self._deployment.rows(
            "SELECT id, account, request_id, custom_parm, query_count FROM recharge_orders"
            " WHERE state = 'pending' AND attention IS NULL AND submitted_at < ?",
            before,
        )
        for row in rows:
            if row["id"] not in self._unmarked:
                self._unmarked.add(row["id"])
                place = self._place(row)
                why = f"{self._named(place)} is pending long past its age limit, after {row['query_count']} polls"
                self.violations.append(Violation("pending without attention", place, why))

    def check_end(self) -> None:
        """Everything that holds of a whole run."""
        rows = self._deployment.rows("SELECT * FROM recharge_orders")
        for row in rows:
            place = self._place(row)
            if row["state"] in ("succeeded", "failed"):
                self.settled += 1
                self._check_final(place, row)
            elif self._is_answerable(self.orders[place], self._deployment.now) and row["state"] == "pending":
                self.left_pending += 1
        self._check_set_aside({row["id"]: row for row in rows})

    def story(self, place: int) -> str:
        """What happened to an order, compactly."""
        names = self.orders[place]
        (row,) = self._deployment.rows(
            "SELECT * FROM recharge_orders WHERE account = ? AND (request_id = ? OR custom_parm = ?)",
            *(names.account, names.request_id, names.custom_parm),
        )
        events = self._deployment.rows("SELECT * FROM order_events WHERE order_id = ? ORDER BY id", row["id"])
        told = [(self._deployment.windows_of(event["at"]), event) for event in events]
        return tell(names, place, self.platform.record, row, told)

    def _check_final(self, place: int, row: Row) -> None:
        order = self.orders[place]
        settled_at = self._deployment.windows_of(row["settled_at"])
        truth = _STATES[order.result] if order.is_final(settled_at) else "not final"
        if row["state"] != truth:
            why = f"{self._named(place)} is {truth} at the platform, and {row['state']} here"
            self.violations.append(Violation("wrong final", place, why))
        elif order.result == "1" and Decimal(str(row["ori_amount"])) != Decimal(str(order.amount)):
            why = f"{self._named(place)}: {order.amount!r} was charged, {row['ori_amount']} stands here"
            self.violations.append(Violation("wrong amount", place, why))
        elif row["settled_by"] == "query" and order.settles_at is not None:
            self.waits.append(settled_at - max(order.settles_at, order.enqueued_at, order.placed_at))

    def _check_set_aside(self, rows: dict[int, Row]) -> None:
        by_query = {heard.query_id: heard for heard in self.platform.record}
        events = self._deployment.rows(
            "SELECT order_id, query_id, detail FROM order_events WHERE to_state = 'unresolved'"
            " AND from_state = 'pending' ORDER BY id"
        )
        for event in events:
            self.set_aside += 1
            place = self._place(rows[event["order_id"]])
            heard = by_query[event["query_id"]]
            is_old = heard.at - self.orders[place].placed_at >= self.platform.traits.limit
            violation = self._past_limit(place, heard) if is_old else self._before_limit(place, heard, event["detail"])
            if violation:
                why = f"{self._named(place)} was set aside at {heard.at:.1f} ({event['detail'][:60]}): {violation}"
                self.violations.append(Violation(self._kind(violation, event["detail"]), place, why))

    def _kind(self, violation: str, detail: str) -> str:
        return f"set aside, {detail.split(':')[0]}, {violation.split(':')[0]}"

    def _past_limit(self, place: int, heard: Heard) -> str:
        order, at = self.orders[place], heard.at
        if not (self.platform.is_well(at) or heard.is_flap) or order.is_denied_singly(at):
            return ""
        if not self._is_answerable(order, at, heard.kind):
            return ""
        if self.platform.traits.leaves_out and heard.said.get(place) == "left out" and len(heard.orders) > 2:
            # Past the age limit one answered query is enough, and this platform leaves known orders out of answers.
            self.excused += 1
            return ""
        return f"past the limit: the platform had its result, and made of it '{heard.said.get(place, heard.end)}'"

    def _is_answerable(self, order: TrueOrder, at: float, kind: str | None = None) -> bool:
        """Whether the platform, well and asked for this order alone, gives its result."""
        kind = kind or order.polled_by
        refuses = self.platform.refuses_for_good(order, kind)
        return order.is_final(at) and not refuses and self.platform.speaks_plainly(order, kind, at)

    def _before_limit(self, place: int, heard: Heard, detail: str) -> str:
        order, at, kind = self.orders[place], heard.at, heard.kind
        if self.platform.refuses_kind(kind) and "rejected" in detail:
            return "the kind is refused altogether: that is no order's fault"
        if not order.is_known(at) or self.platform.refuses_for_good(order, kind):
            return ""
        if not self.platform.speaks_plainly(order, kind, at):
            return ""
        run = self._unanswered_up_to(place, heard)
        if "rejected" in detail and self._failed_alone_by_chance(place, heard):
            self.excused += 1
            return ""
        if self._is_denied_alone(place, run) or self._is_left_out_alone(place, run):
            self.excused += 1
            return ""
        during = "while everything was denied" if heard.is_denying else "by a flap" if heard.is_flap else "when well"
        return f"known {during}: it was '{heard.said.get(place, heard.end)}' then, no item in {len(run)} answers"

    def _unanswered_up_to(self, place: int, last: Heard) -> list[Heard]:
        """The answers in a row, up to this one, that held no item of an order which they were to speak of."""
        run: list[Heard] = []
        for heard in reversed(self.platform.record[: self.platform.record.index(last) + 1]):
            if heard.said.get(place) == "item":
                break
            if place in heard.said:
                run.append(heard)
        return run[::-1]

    def _is_denied_alone(self, place: int, run: Sequence[Heard]) -> bool:
        """Denied by items, among believed answers; a failure that shows no evidence is read as a denial, too."""
        denied = [heard for heard in run if heard.said[place] in ("denied", "bare")]
        alone = [heard for heard in denied if not heard.is_denying]
        if len(denied) < DENIED_TIMES or len(alone) < DENIED_TIMES - 1:
            return False
        return denied[-1].at - denied[0].at >= DENIED_WINDOWS and self._answers_between(denied) >= DENIED_TIMES - 1

    def _failed_alone_by_chance(self, place: int, last: Heard) -> bool:
        """A platform that fails queries at random did so each time that it was polled this order alone."""
        before = self.platform.record[: self.platform.record.index(last) + 1]
        about = [heard for heard in before if place in heard.orders and len(heard.orders) == 1]
        failed = about[-FAILED_TIMES:]
        return len(failed) == FAILED_TIMES and last.is_flap and all(heard.end != "answered" for heard in failed)

    def _is_left_out_alone(self, place: int, run: Sequence[Heard]) -> bool:
        """Left out of answers that held others, and then answered with nothing when asked alone."""
        absent = [heard for heard in run if heard.said[place] in ("absent", "left out") and not heard.is_denying]
        lone = [heard for heard in absent if len(heard.orders) == 1]
        if len(lone) < ABSENT_TIMES or len(absent) - len(lone) < ABSENT_TIMES:
            return False
        return self._answers_between(lone, *HELD_AN_ITEM) >= ABSENT_TIMES - 1

    def _answers_between(self, run: Sequence[Heard], *kinds: str) -> int:
        between = [heard for heard in self.platform.record if run[0].at <= heard.at <= run[-1].at]
        return sum(not set(kinds or ("item",)).isdisjoint(heard.said.values()) for heard in between)

    def _place(self, row: Row) -> int:
        for column in ("request_id", "custom_parm"):
            if row[column] is not None:
                return self._places[row["account"], row[column]]
        raise AssertionError("a row without a name")

    def _named(self, place: int) -> str:
        order = self.orders[place]
        return f"{order.account}:{order.name(order.polled_by)}"
