"""The checker: it compares the database, by plain SQL, with the platform's own truth and record. It shares no decision
with the product.

It checks of every run:

- no wrong final state: `succeeded` and `failed` are the platform's own result, with the amount that it charged; a price
  that it repeats beside a failure is no charge;
- no order set aside (`unresolved`) that the platform knew and would have answered. It would have answered if it knew
  the order when the query was sent that set it aside, if it does not refuse this id for good, even alone, and if its
  item for the order, polled alone, has to be believed. No outage and no denial of everything excuses it. Where the
  order was past its age limit, it would have answered if it was well at that moment, and had the result;
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
from tests.platforms.platform import QueryRecord
from tests.platforms.truth import TrueOrder

Row = dict[str, Any]
_STATES = {"1": "succeeded", "-1": "failed"}
DENIED_WINDOWS = 120.0
DENIED_TIMES = 3
HELD_AN_ITEM = ("item", "bare", "doubtful", "denied")
"""What an answer may say of an order of which it holds an item, to be believed or not."""
FAILED_TIMES = 3
ABSENT_TIMES = 3
"""In company, and again alone."""


@dataclass(frozen=True)
class Violation:
    """One broken promise."""

    kind: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}"


class Checker:
    """Checks one deployment at one platform."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.platform = deployment.platform
        self.violations: list[Violation] = []
        self.settled = self.set_aside = self.excused = 0
        self._unmarked: set[int] = set()
        self._indexes = {
            (order.account, order.request_id): index for index, order in enumerate(self.platform.orders)
        } | {(order.account, order.custom_parm): index for index, order in enumerate(self.platform.orders)}

    @property
    def orders(self) -> list[TrueOrder]:
        """All orders."""
        return self.platform.orders

    def crashed(self, why: str) -> None:
        """A pass ended by an error of its own."""
        if not any(violation.why == why for violation in self.violations):
            self.violations.append(Violation("a pass failed", why))

    def check_marked(self, placed_before: float) -> None:
        """No order that was placed before then is pending without an attention."""
        before = self._deployment.time_at(placed_before).strftime("%Y-%m-%d %H:%M:%S.%f")
        rows = self._deployment.rows(
            "SELECT id, account, request_id, custom_parm, query_count FROM recharge_orders"
            " WHERE state = 'pending' AND attention IS NULL AND submitted_at < ?",
            before,
        )
        for row in rows:
            if row["id"] not in self._unmarked:
                self._unmarked.add(row["id"])
                index = self._index_of(row)
                why = f"{self._named(index)} is pending long past its age limit, after {row['query_count']} polls"
                self.violations.append(Violation("pending without attention", why))

    def check_end(self) -> None:
        """Check all that must hold at the end of a run."""
        rows = self._deployment.rows("SELECT * FROM recharge_orders")
        for row in rows:
            index = self._index_of(row)
            if row["state"] in ("succeeded", "failed"):
                self.settled += 1
                self._check_final(index, row)
        self._check_set_aside({row["id"]: row for row in rows})

    def _check_final(self, index: int, row: Row) -> None:
        order = self.orders[index]
        settled_at = self._deployment.windows_of(row["settled_at"])
        truth = _STATES[order.result] if order.is_final(settled_at) else "not final"
        if row["state"] != truth:
            why = f"{self._named(index)} is {truth} at the platform, and {row['state']} here"
            self.violations.append(Violation("wrong final", why))
        elif order.result == "1" and Decimal(str(row["ori_amount"])) != Decimal(str(order.amount)):
            why = f"{self._named(index)}: {order.amount!r} was charged, {row['ori_amount']} is stored here"
            self.violations.append(Violation("wrong amount", why))
        elif why := self._wrong_price(order, row):
            self.violations.append(Violation("wrong price", f"{self._named(index)}: {why}"))

    def _wrong_price(self, order: TrueOrder, row: Row) -> str:
        """Why a price that the platform repeats beside a failure was taken for a charge, or the other way round."""
        named = Decimal(str(row["ori_amount"] or 0)) != 0
        if row["amount_is_price"] != (order.is_amount_price and named):
            return f"{row['ori_amount']} beside a failure is a {'charge' if order.is_amount_price else 'price'} here"
        if order.is_amount_price and row["attention"] == "amount_mismatch":
            return "its price needs a person"
        if order.result == "-1" and named and not order.is_amount_price and row["attention"] is None:
            return "no person is shown that a failure was charged"
        return ""

    def _check_set_aside(self, rows: dict[int, Row]) -> None:
        by_query = {seen.query_id: seen for seen in self.platform.record}
        events = self._deployment.rows(
            "SELECT order_id, query_id, detail FROM order_events WHERE to_state = 'unresolved'"
            " AND from_state = 'pending' ORDER BY id"
        )
        for event in events:
            self.set_aside += 1
            index = self._index_of(rows[event["order_id"]])
            seen = by_query[event["query_id"]]
            is_old = seen.at - self.orders[index].placed_at >= self.platform.traits.limit
            violation = self._past_limit(index, seen) if is_old else self._before_limit(index, seen, event["detail"])
            if violation:
                why = f"{self._named(index)} was set aside at {seen.at:.1f} ({event['detail'][:60]}): {violation}"
                self.violations.append(Violation(self._kind(violation, event["detail"]), why))

    def _kind(self, violation: str, detail: str) -> str:
        return f"set aside, {detail.split(':')[0]}, {violation.split(':')[0]}"

    def _past_limit(self, index: int, seen: QueryRecord) -> str:
        order, at = self.orders[index], seen.at
        if not (self.platform.is_well(at) or seen.is_flap) or order.is_denied_singly(at):
            return ""
        if not self._is_answerable(order, at, seen.kind):
            return ""
        if self.platform.traits.leaves_out and seen.said.get(index) == "left out" and len(seen.orders) > 2:
            # Past the age limit one answered query is enough, and this platform leaves known orders out of answers.
            self.excused += 1
            return ""
        return f"past the limit: the platform had its result, and answered '{seen.said.get(index, seen.outcome)}'"

    def _is_answerable(self, order: TrueOrder, at: float, kind: str) -> bool:
        """Whether the platform, well and queried for this order alone, gives its result."""
        refuses = self.platform.refuses_for_good(order, kind)
        return order.is_final(at) and not refuses and self.platform.speaks_plainly(order, kind, at)

    def _before_limit(self, index: int, seen: QueryRecord, detail: str) -> str:
        order, at, kind = self.orders[index], seen.at, seen.kind
        if self.platform.refuses_kind(kind) and "rejected" in detail:
            return "the kind is refused altogether: that is no order's fault"
        if not order.is_known(at) or self.platform.refuses_for_good(order, kind):
            return ""
        if not self.platform.speaks_plainly(order, kind, at):
            return ""
        run = self._unanswered_up_to(index, seen)
        if "rejected" in detail and self._failed_alone_by_chance(index, seen):
            self.excused += 1
            return ""
        if self._is_denied_alone(index, run) or self._is_left_out_alone(index, run):
            self.excused += 1
            return ""
        during = "while everything was denied" if seen.is_denying else "by a flap" if seen.is_flap else "when well"
        return f"known {during}: it was '{seen.said.get(index, seen.outcome)}' then, no item in {len(run)} answers"

    def _unanswered_up_to(self, index: int, last: QueryRecord) -> list[QueryRecord]:
        """The answers in a row, up to this one, to polls of an order that held no item of it to be believed."""
        run: list[QueryRecord] = []
        for seen in reversed(self.platform.record[: self.platform.record.index(last) + 1]):
            if seen.said.get(index) == "item":
                break
            if index in seen.said:
                run.append(seen)
        return run[::-1]

    def _is_denied_alone(self, index: int, run: Sequence[QueryRecord]) -> bool:
        """Denied by items, among believed answers; a failure that shows no evidence is read as a denial, too."""
        denied = [seen for seen in run if seen.said[index] in ("denied", "bare")]
        alone = [seen for seen in denied if not seen.is_denying]
        if len(denied) < DENIED_TIMES or len(alone) < DENIED_TIMES - 1:
            return False
        return denied[-1].at - denied[0].at >= DENIED_WINDOWS and self._answers_between(denied) >= DENIED_TIMES - 1

    def _failed_alone_by_chance(self, index: int, last: QueryRecord) -> bool:
        """A platform that fails queries at random did so each time that it was polled this order alone."""
        before = self.platform.record[: self.platform.record.index(last) + 1]
        about = [seen for seen in before if index in seen.orders and len(seen.orders) == 1]
        failed = about[-FAILED_TIMES:]
        return len(failed) == FAILED_TIMES and last.is_flap and all(seen.outcome != "answered" for seen in failed)

    def _is_left_out_alone(self, index: int, run: Sequence[QueryRecord]) -> bool:
        """Left out of answers that held others, and then answered with nothing when polled alone."""
        absent = [seen for seen in run if seen.said[index] in ("absent", "left out") and not seen.is_denying]
        lone = [seen for seen in absent if len(seen.orders) == 1]
        if len(lone) < ABSENT_TIMES or len(absent) - len(lone) < ABSENT_TIMES:
            return False
        return self._answers_between(lone, *HELD_AN_ITEM) >= ABSENT_TIMES - 1

    def _answers_between(self, run: Sequence[QueryRecord], *kinds: str) -> int:
        between = [seen for seen in self.platform.record if run[0].at <= seen.at <= run[-1].at]
        return sum(not set(kinds or ("item",)).isdisjoint(seen.said.values()) for seen in between)

    def _index_of(self, row: Row) -> int:
        for column in ("request_id", "custom_parm"):
            if row[column] is not None:
                return self._indexes[row["account"], row[column]]
        raise AssertionError("a row without a name")

    def _named(self, index: int) -> str:
        order = self.orders[index]
        return f"{order.account}:{order.name(order.polled_by)}"
