"""Match the items of an answer to orders, and decide which items contradict each other and which are believed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from worker.domain.orders.verdicts import Effect, Verdict, judge, settles_nothing
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Answer, Report
from worker.domain.records.orders import Attention, IdKind, Order, OrderKey
from worker.domain.records.queries import Asked, Query
from worker.domain.scheduling.poll_schedule import PollSchedule
from worker.domain.wire.fields import shows_mobile

_MOST_NAMED = 10
_ANOTHER_ROW = CodedText(TextCode.TWO_ORDERS)
_SAME_REQUEST_ID = CodedText(TextCode.SAME_REQUEST_ID)
_NO_PROOF = CodedText(TextCode.NO_PROOF)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """The reason why an item settles nothing: it concerns two orders."""

    reason: CodedText
    report: Report

    def beside(self, reports: Sequence[Report]) -> CodedText:
        """The reason for an order that has the items `reports`. It quotes the contradicting item, unless that is one of
        `reports`."""
        return self.reason if self.report in reports else self.reason.having(item=self.report.words)

    @property
    def verdict(self) -> Verdict:
        """The verdict for an order that has no item of its own."""
        return settles_nothing(self.report, Attention.CONFLICTING_ANSWER, self.reason)


@dataclass(frozen=True, kw_only=True)
class AnswerContext:
    """An answer, its account and orders, and what the answer says about each order."""

    query: Query
    answer: Answer
    orders: Sequence[Order]
    """The current rows of all polled orders, and of all other orders that an item names."""
    state: AccountState
    """The account's state before the answer."""
    schedule: PollSchedule
    """The schedule that says when an order is due again if it is still open."""
    now: datetime
    rules: Rules

    @cached_property
    def items(self) -> Mapping[int, tuple[Report, ...]]:
        """The items (one or more) about a polled order, by order id."""
        return items_by_order(self.query, self.answer)

    @cached_property
    def contradictions(self) -> Mapping[int, Contradiction]:
        """The contradiction of each order that shares an item with another order, by order id."""
        return find_contradictions(self.items, self.orders)

    @cached_property
    def verdicts(self) -> Mapping[int, Verdict]:
        """The verdict on each order's items, by order id, whether or not the query still holds the order."""
        return verdicts_on(self.query, self.answer, self.orders, self.rules)

    @cached_property
    def believed(self) -> list[Order]:
        """The orders that the query still holds and about which an item is believed."""
        said = {order_id for order_id, verdict in self.verdicts.items() if verdict.is_believed}
        return [order for order in self.orders if order.id in said and self.query.holds(order)]

    @cached_property
    def shows_knowledge(self) -> bool:
        """Whether the answer holds a believed item. If so, denials in the same answer count."""
        return any(verdict.is_believed for verdict in self.verdicts.values())

    @property
    def answers_with_belief(self) -> int:
        """The account's count of answers with a believed item, including this answer."""
        return self.state.answered_with_belief + self.shows_knowledge

    @property
    def has_believed_echo(self) -> bool:
        """Whether a believed item carries the customParm of its order."""
        return any(
            self.verdicts[order.id].report.custom_parm == order.custom_parm is not None for order in self.believed
        )

    def lacks_proof(self, order: Order) -> bool:
        """Whether an item about the order is not believed only because nothing but its position in the answer ties it
        to the order."""
        return self.verdicts[order.id].reason == _NO_PROOF


def names_besides(query: Query, answer: Answer) -> list[OrderKey]:
    """One key for each id that an answer's items name, except the ids of the polled orders."""
    # If several items have one id, they settle nothing. So only a few of them are looked up, as a hostile answer may
    # hold thousands.
    spoken_of = [report for reports in answer.said.values() for report in reports[:_MOST_NAMED]]
    if query.is_alone:
        spoken_of.extend(answer.added[:_MOST_NAMED])
    named = {(IdKind.REQUEST_ID, report.request_id) for report in spoken_of}
    named |= {(IdKind.CUSTOM_PARM, report.custom_parm) for report in spoken_of}
    named -= {(kind, order.key.id_of(kind)) for order in query.orders for kind in IdKind}
    return [OrderKey(account=query.account).with_id(kind, name) for kind, name in named if name is not None]


def find_contradictions(said: Mapping[int, tuple[Report, ...]], orders: Iterable[Order]) -> dict[int, Contradiction]:
    """Find the contradictions between orders; the keys are order ids.

    There is one if an item about one order has an id of another order, or if items about two orders name the same
    requestId. `said` holds the items about each order, by order id; `orders` are all rows that the items name.
    """
    rows = list(orders)
    by_name = {(kind, name): order.id for order in rows for kind in IdKind if (name := order.key.id_of(kind))}
    found: dict[int, Contradiction] = {}
    claimed: dict[str, int] = {}
    for order_id, reports in said.items():
        for report in reports:
            names = ((IdKind.REQUEST_ID, report.request_id), (IdKind.CUSTOM_PARM, report.custom_parm))
            holders = {by_name[kind, name] for kind, name in names if name and (kind, name) in by_name}
            for holder in holders - {order_id}:
                found[order_id] = found[holder] = Contradiction(reason=_ANOTHER_ROW, report=report)
            if report.request_id and (other := claimed.setdefault(report.request_id, order_id)) != order_id:
                found[order_id] = found[other] = Contradiction(reason=_SAME_REQUEST_ID, report=report)
    return found


def items_by_order(query: Asked, answer: Answer) -> Mapping[int, tuple[Report, ...]]:
    """The items (one or more) about a polled order, by order id."""
    items = {order.id: answer.said[order.polled_id] for order in query.orders if order.polled_id in answer.said}
    if query.id_kind is IdKind.CUSTOM_PARM and query.is_alone and not items:
        # The platform's page does not promise that an item repeats the customParm. An item without one counts for the
        # only polled order, if the order's mobile shows that the item is about this order (`_is_tied_to`).
        nameless = tuple(report for report in answer.added if report.custom_parm is None)
        if nameless:
            items[query.orders[0].id] = nameless
    return items


def verdicts_on(query: Asked, answer: Answer, orders: Sequence[Order], rules: Rules) -> dict[int, Verdict]:
    """The verdict on each order's items, by order id, whether or not a query still holds the order."""
    items = items_by_order(query, answer)
    found = find_contradictions(items, orders)
    return {
        order.id: _judge(order, items[order.id], query, found.get(order.id), rules)
        for order in orders
        if order.id in items
    }


def _judge(
    order: Order, reports: tuple[Report, ...], query: Asked, contradiction: Contradiction | None, rules: Rules
) -> Verdict:
    verdict = judge(
        order,
        reports,
        app_id=query.app_id,
        polled_by=query.id_kind,
        contradiction=contradiction.beside(reports) if contradiction else None,
        echoes_price=order.account in rules.echoing_accounts,
    )
    if verdict.effect is Effect.NONE or _is_tied_to(order, reports[0], query):
        return verdict
    return settles_nothing(reports[0], Attention.CONFLICTING_ANSWER, _NO_PROOF)


def _is_tied_to(order: Order, report: Report, query: Asked) -> bool:
    """Whether the queried id or the order's mobile ties an item to the order, and not only the item's position."""
    if query.id_kind is IdKind.REQUEST_ID or report.custom_parm is not None:
        return True
    return order.mobile is not None and shows_mobile(report.mobile, order.mobile)
