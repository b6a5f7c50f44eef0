"""Compare a statement of the platform with our own orders: the differences on either side, and the sums.

A statement gives the request id, the state and the amount of each order. Each row, and each of our orders of the
period, is counted once. Only the amounts of final rows and orders count. The amount of a failed order is a charge, too,
unless it is the price that the platform echoed for that order.
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
    """Both succeeded or both failed, with different amounts."""
    UNKNOWN = "unknown"
    """No order of ours has this request id, on any day."""
    MISSING = "missing"
    """The statement does not have this order of the period."""
    DUPLICATE = "duplicate"
    """The statement has the request id a second time."""
    UNREADABLE = "unreadable"
    """A row of the statement cannot be compared. If no other row names its order of the period, the difference includes
    that order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One difference. The fields of a side are None if that side has no row or order."""

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
        """The amount that this difference adds to the statement's excess over our orders."""
        # The order of a duplicate was already compared with an earlier row.
        state = None if self.kind is DifferenceKind.DUPLICATE else self.state
        return _charge(self.statement_state, self.statement_amount) - _charge(state, self.charged_amount)


DIFFERENCE_COLUMNS = tuple(field.name for field in fields(Difference))


@dataclass(kw_only=True, slots=True)
class Sum:
    """The number of some rows or orders, how many of them succeeded, and the amount charged for them."""

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
"""The words for states that no option has to explain."""

StateWords = Mapping[str, OrderState]
"""Maps words, as `state_words` normalises them, to states."""


def state_words(given: Mapping[OrderState, Iterable[str]]) -> StateWords:
    """Return the usual words and the given ones, which win. Raise ValueError if a word was given for two states."""
    words: dict[str, OrderState] = {}
    for state, texts in given.items():
        for text in texts:
            if words.setdefault(_plain(text), state) is not state:
                raise Fault("the word %(word)r stands for two states", text)
    usual = {_plain(text): state for state, texts in USUAL_WORDS.items() for text in texts}
    return {**usual, **words}


def plain_id(cell: str) -> str:
    """Return a cell's id, without the apostrophe that makes a spreadsheet treat digits as text."""
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
        # 2,94 may be 2.94 or 294.
        fault = _("has a comma that separates no thousands") if "," in written else _("is no amount")
        why = _("amount: %(value)r %(fault)s; accepted: %(rule)s", amount.strip(), fault, AMOUNT_RULE)
        return UnreadableRow(line=line, request_id=named, why=why)
    return StatementRow(line=line, request_id=named, state=read_state, amount=read)


@dataclass(kw_only=True, slots=True)
class Comparison:
    """A statement compared with the orders of a period: all rows of the statement first, then all orders."""

    period: Period
    differences: list[Difference] = field(default_factory=list)
    statement: Sum = field(default_factory=Sum)
    """The readable rows of the statement."""
    orders: Sum = field(default_factory=Sum)
    """Our orders of the period."""
    other_days: Sum = field(default_factory=Sum)
    """Our orders of other days that the statement has."""
    agreeing: int = 0
    _request_ids: set[str] = field(default_factory=set)
    _matched: set[int] = field(default_factory=set)
    _unreadable: dict[str, int] = field(default_factory=dict)
    """For the request id of an unreadable row, the index of its difference."""

    @property
    def amount_difference(self) -> Decimal:
        """The amount by which the statement exceeds our orders, including those of other days."""
        return self.statement.amount - self.orders.amount - self.other_days.amount

    def count_of(self, kind: DifferenceKind) -> int:
        """How many differences of a kind there are."""
        return sum(difference.kind is kind for difference in self.differences)

    def excess_of(self, kind: DifferenceKind) -> Decimal:
        """Return the amount that the differences of a kind add to the statement's excess over our orders."""
        return sum((one.excess for one in self.differences if one.kind is kind), Decimal(0))

    def compare_rows(self, rows: Sequence[StatementRow | UnreadableRow], found: Iterable[OwnOrder]) -> None:
        """Compare some rows of the statement. `found` are the orders, of any day, that have their request ids."""
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
        """Count all orders of the period. An order that no row named is missing from the statement.

        An order that only an unreadable row named is not missing: its charge counts in the difference of that row.
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
    """Return the amount charged: the amount of a final row or order, else 0. Any other amount is only a price."""
    return amount if state is not None and state.is_final and amount is not None else Decimal(0)


def _amounts_differ(row: StatementRow, order: OwnOrder) -> bool:
    if row.state is OrderState.FAILED:
        return (row.amount or 0) != (order.charged_amount or 0)
    return row.amount != order.charged_amount


def _plain(word: str) -> str:
    return word.strip().removeprefix("'").casefold()
