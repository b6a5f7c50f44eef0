"""Compare a statement of the platform with our own orders. The result is a list of differences, and the sums of both
sides.

A statement gives the request id, the state and the amount of each order. Each row of the statement is counted once, and
so is each of our orders of the period. Amounts count only for final rows and orders. The amount of a failed order is a
charge, too, unless the platform only echoed the order's price.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import StrEnum

from worker.domain.finance.report import OwnOrder, Period, StatementRow, UnreadableRow
from worker.domain.records.orders import OrderState
from worker.domain.records.sentences import Fault, Sentence, _
from worker.domain.wire.fields import AMOUNT_RULE, order_id_fault, read_written_amount


class PeriodBy(StrEnum):
    """The time of an order that decides whether it belongs to the period."""

    SUBMITTED = "submitted"
    SETTLED = "settled"


class DifferenceKind(StrEnum):
    """How a statement and our orders differ."""

    STATE = "state"
    """The statement and the order have different states."""
    AMOUNT = "amount"
    """The statement and the order have the same final state, but different amounts."""
    UNKNOWN = "unknown"
    """No order of ours has this request id, on any day."""
    MISSING = "missing"
    """The statement does not have this order of the period."""
    DUPLICATE = "duplicate"
    """An earlier row of the statement has the same request id."""
    UNREADABLE = "unreadable"
    """A row of the statement cannot be compared. If the row names an order of the period, and no other row does, the
    difference includes this order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One difference. If the statement has no row, the statement's fields are None; if we have no order, the order's
    fields are None."""

    kind: DifferenceKind
    request_id: str | None
    line: int | None = None
    """The line number in the statement."""
    statement_state: OrderState | None = None
    statement_amount: Decimal | None = None
    order_id: int | None = None
    account: str | None = None
    custom_parm: str | None = None
    state: OrderState | None = None
    charged_amount: Decimal | None = None
    why: Sentence | None = None
    """Why the row cannot be read; None if it can."""

    @property
    def excess(self) -> Decimal:
        """The amount that the statement states here, minus the amount charged for our order. It is part of the amount
        by which the statement exceeds our orders."""
        # A duplicate's order does not count here, because it was already compared with an earlier row.
        state = None if self.kind is DifferenceKind.DUPLICATE else self.state
        return _charge(self.statement_state, self.statement_amount) - _charge(state, self.charged_amount)


DIFFERENCE_COLUMNS = tuple(field.name for field in fields(Difference))


@dataclass(kw_only=True, slots=True)
class Sum:
    """The number of some rows of a statement or of some orders, how many of these succeeded, and the amount charged for
    them."""

    count: int = 0
    succeeded: int = 0
    amount: Decimal = Decimal(0)

    def add(self, state: OrderState, amount: Decimal | None) -> None:
        """Count one row or order."""
        self.count += 1
        self.succeeded += state is OrderState.SUCCEEDED
        self.amount += _charge(state, amount)


USUAL_WORDS: Mapping[OrderState, Sequence[str]] = {
    OrderState.SUCCEEDED: ("succeeded", "success", "1", "成功", "充值成功"),
    OrderState.FAILED: ("failed", "failure", "-1", "失败", "充值失败"),
    OrderState.PENDING: ("pending", "0", "充值中", "处理中"),
}
"""The words for states that are always understood, without an option that explains them."""

StateWords = Mapping[str, OrderState]
"""Maps words for states, in lower case and trimmed (see `state_words`), to the states."""


def state_words(given: Mapping[OrderState, Iterable[str]]) -> StateWords:
    """Return the usual words and the given words. If a word is in both, the given state applies. Raise ValueError if a
    word was given for two states."""
    words: dict[str, OrderState] = {}
    for state, texts in given.items():
        for text in texts:
            if words.setdefault(_plain(text), state) is not state:
                raise Fault("the word %(word)r stands for two states", text)
    usual = {_plain(text): state for state, texts in USUAL_WORDS.items() for text in texts}
    return {**usual, **words}


def plain_id(cell: str) -> str:
    """Return the id in a cell, without the apostrophe in front of it. Spreadsheets use this apostrophe to treat digits
    as text."""
    return cell.strip().removeprefix("'").strip()


def read_row(line: int, request_id: str, state: str, amount: str, words: StateWords) -> StatementRow | UnreadableRow:
    """Read the three cells of a row. Spreadsheets and banks decorate numbers: `'2016...`, `￥1,234.50`, `2.94元`."""
    named = plain_id(request_id)
    if id_fault := order_id_fault(named):
        return UnreadableRow(line=line, request_id=named, why=_("request id: %(why)s", id_fault))
    read_state = words.get(_plain(state))
    if read_state is None:
        why = _("state: %(value)r is no word that an option explains", state.strip())
        return UnreadableRow(line=line, request_id=named, why=why)
    written = plain_id(amount)
    read = read_written_amount(written)
    if read is None and written:
        # A comma that does not separate thousands is refused, because 2,94 may mean 2.94 or 294.
        fault = _("has a comma that separates no thousands") if "," in written else _("is no amount")
        why = _("amount: %(value)r %(fault)s; accepted: %(rule)s", amount.strip(), fault, AMOUNT_RULE)
        return UnreadableRow(line=line, request_id=named, why=why)
    return StatementRow(line=line, request_id=named, state=read_state, amount=read)


@dataclass(kw_only=True, slots=True)
class Comparison:
    """The comparison of a statement with the orders of a period. Give it all rows of the statement first, and then all
    orders."""

    period: Period
    differences: list[Difference] = field(default_factory=list)
    statement: Sum = field(default_factory=Sum)
    """The sum of the readable rows of the statement."""
    orders: Sum = field(default_factory=Sum)
    """The sum of our orders of the period."""
    other_days: Sum = field(default_factory=Sum)
    """The sum of our orders that the statement has, but that are not of the period."""
    agreeing: int = 0
    _request_ids: set[str] = field(default_factory=set)
    _matched: set[int] = field(default_factory=set)
    _unreadable: dict[str, int] = field(default_factory=dict)
    """Maps the request id of each unreadable row to the index of that row's entry in `differences`."""

    @property
    def amount_difference(self) -> Decimal:
        """The amount by which the statement exceeds our orders: those of the period, and those of other days that it
        has."""
        return self.statement.amount - self.orders.amount - self.other_days.amount

    def count_of(self, kind: DifferenceKind) -> int:
        """How many differences of a kind there are."""
        return sum(difference.kind is kind for difference in self.differences)

    def excess_of(self, kind: DifferenceKind) -> Decimal:
        """Return how much the differences of this kind add to the amount by which the statement exceeds our orders."""
        return sum((one.excess for one in self.differences if one.kind is kind), Decimal(0))

    def compare_rows(self, rows: Sequence[StatementRow | UnreadableRow], found: Iterable[OwnOrder]) -> None:
        """Compare some rows of the statement. `found` are our orders, of any day, that have the request ids of these
        rows."""
        by_request_id: dict[str, OwnOrder] = {}
        for order in found:
            if order.request_id is not None:
                by_request_id.setdefault(order.request_id, order)
        for row in rows:
            if isinstance(row, UnreadableRow):
                self._unreadable.setdefault(row.request_id, len(self.differences))
                self.differences.append(
                    Difference(kind=DifferenceKind.UNREADABLE, request_id=row.request_id, line=row.line, why=row.why)
                )
            else:
                self._compare(row, by_request_id.get(row.request_id))

    def compare_orders(self, orders: Iterable[OwnOrder]) -> None:
        """Count all orders of the period. An order that no row of the statement names is missing from the statement.

        If only an unreadable row names an order, the order is not missing. Its charge then counts in the difference of
        that row.
        """
        for order in orders:
            self.orders.add(order.state, order.charged_amount)
            if order.id in self._matched:
                continue
            place = self._unreadable.pop(order.request_id, None) if order.request_id else None
            if place is None:
                self._differ(DifferenceKind.MISSING, None, order)
            else:
                self.differences[place] = _with_order(self.differences[place], order)

    def _compare(self, row: StatementRow, order: OwnOrder | None) -> None:
        if order is not None and row.state is order.state is OrderState.FAILED and row.amount == order.echoed_price:
            row = replace(row, amount=None)
        self.statement.add(row.state, row.amount)
        if row.request_id in self._request_ids:
            self._differ(DifferenceKind.DUPLICATE, row, order)
            return
        self._request_ids.add(row.request_id)
        if order is None:
            self._differ(DifferenceKind.UNKNOWN, row, None)
            return
        self._matched.add(order.id)
        if order.at is None or not self.period.holds(order.at):
            self.other_days.add(order.state, order.charged_amount)
        if row.state is not order.state:
            self._differ(DifferenceKind.STATE, row, order)
        elif row.state.is_final and _amounts_differ(row, order):
            self._differ(DifferenceKind.AMOUNT, row, order)
        else:
            self.agreeing += 1

    def _differ(self, kind: DifferenceKind, row: StatementRow | None, order: OwnOrder | None) -> None:
        difference = Difference(kind=kind, request_id=None)
        if order is not None:
            difference = _with_order(difference, order)
        if row is not None:
            difference = replace(
                difference,
                request_id=row.request_id,
                line=row.line,
                statement_state=row.state,
                statement_amount=row.amount,
            )
        self.differences.append(difference)


def _with_order(difference: Difference, order: OwnOrder) -> Difference:
    return replace(
        difference,
        request_id=order.request_id,
        order_id=order.id,
        account=order.account,
        custom_parm=order.custom_parm,
        state=order.state,
        charged_amount=order.charged_amount,
    )


def _charge(state: OrderState | None, amount: Decimal | None) -> Decimal:
    """Return the amount charged. This is the amount of a row or order that is final, and 0 for others, whose amount is
    only a price."""
    return amount if state is not None and state.is_final and amount is not None else Decimal(0)


def _amounts_differ(row: StatementRow, order: OwnOrder) -> bool:
    if row.state is OrderState.FAILED:
        return (row.amount or 0) != (order.charged_amount or 0)
    return row.amount != order.charged_amount


def _plain(word: str) -> str:
    return word.strip().removeprefix("'").casefold()
