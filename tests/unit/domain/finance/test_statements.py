from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from worker.domain.finance.report import OwnOrder, Period, StatementRow, UnreadableRow
from worker.domain.finance.statements import Comparison, DifferenceKind, read_row, state_words
from worker.domain.records.orders import OrderState
from worker.domain.records.sentences import Sentence

PERIOD = Period(first=date(2016, 1, 31), last=date(2016, 1, 31), zone=UTC)
NOON = datetime(2016, 1, 31, 12, tzinfo=UTC)
WORDS = state_words({})


def order(
    number: int,
    state: OrderState = OrderState.SUCCEEDED,
    charged: str | None = "2.94",
    *,
    at: datetime | None = NOON,
    request_id: str | None = "",
    price: str | None = None,
) -> OwnOrder:
    return OwnOrder(
        id=number,
        account="default",
        request_id=f"r{number}" if request_id == "" else request_id,
        custom_parm=f"c{number}",
        state=state,
        charged_amount=None if charged is None else Decimal(charged),
        echoed_price=None if price is None else Decimal(price),
        at=at,
    )


def unreadable(number: int, line: int = 1) -> UnreadableRow:
    return UnreadableRow(line=line, request_id=f"r{number}", why=Sentence("amount"))


def row(
    number: int, state: OrderState = OrderState.SUCCEEDED, amount: str | None = "2.94", line: int = 1
) -> StatementRow:
    return StatementRow(
        line=line, request_id=f"r{number}", state=state, amount=None if amount is None else Decimal(amount)
    )


def compared(rows: Iterable[StatementRow | UnreadableRow], orders: Iterable[OwnOrder]) -> Comparison:
    comparison, every = Comparison(period=PERIOD), list(orders)
    comparison.compare_rows(list(rows), every)
    comparison.compare_orders(one for one in every if one.at is not None and PERIOD.holds(one.at))
    return comparison


def kinds(comparison: Comparison) -> list[str]:
    return [difference.kind.value for difference in comparison.differences]


@pytest.mark.parametrize(
    ("rows", "orders", "expected", "excess"),
    [
        ([row(1)], [order(1)], [], "0"),
        ([row(1, amount="2.9400")], [order(1)], [], "0"),
        ([row(1, amount="3")], [order(1)], ["amount"], "0.06"),
        ([row(1, amount=None)], [order(1)], ["amount"], "-2.94"),
        ([row(1, OrderState.FAILED)], [order(1)], ["state"], "0"),
        ([row(1, OrderState.FAILED, "0")], [order(1)], ["state"], "-2.94"),
        ([row(1, OrderState.PENDING)], [order(1)], ["state"], "-2.94"),
        ([row(1)], [order(1, OrderState.UNRESOLVED, None)], ["state"], "2.94"),
        ([row(1, OrderState.FAILED)], [order(1, OrderState.FAILED)], [], "0"),
        ([row(1, OrderState.FAILED, "2")], [order(1, OrderState.FAILED)], ["amount"], "-0.94"),
        ([row(1, OrderState.FAILED, None)], [order(1, OrderState.FAILED)], ["amount"], "-2.94"),
        ([row(1, OrderState.FAILED)], [order(1, OrderState.FAILED, None)], ["amount"], "2.94"),
        ([row(1, OrderState.FAILED, None)], [order(1, OrderState.FAILED, "0")], [], "0"),
        ([], [order(1, OrderState.FAILED)], ["missing"], "-2.94"),
        ([row(1, OrderState.FAILED)], [order(1, OrderState.FAILED, None, price="2.94")], [], "0"),
        ([row(1, OrderState.FAILED, None)], [order(1, OrderState.FAILED, None, price="2.94")], [], "0"),
        ([row(1, OrderState.FAILED, "2")], [order(1, OrderState.FAILED, None, price="2.94")], ["amount"], "2"),
        ([row(1)], [order(1, OrderState.FAILED, None, price="2.94")], ["state"], "2.94"),
        ([row(1, OrderState.FAILED)] * 2, [order(1, OrderState.FAILED, None, price="2.94")], ["duplicate"], "0"),
        ([], [order(1, OrderState.FAILED, None, price="2.94")], ["missing"], "0"),
        ([row(1, OrderState.PENDING, None)], [order(1, OrderState.PENDING, None)], [], "0"),
        ([row(1)], [], ["unknown"], "2.94"),
        ([], [order(1)], ["missing"], "-2.94"),
        ([], [order(1, request_id=None)], ["missing"], "-2.94"),
        ([row(1), row(1)], [order(1)], ["duplicate"], "2.94"),
        ([row(1), row(1)], [], ["unknown", "duplicate"], "5.88"),
    ],
)
def test_what_differs_is_told_with_the_money(
    rows: list[StatementRow], orders: list[OwnOrder], expected: list[str], excess: str
) -> None:
    comparison = compared(rows, orders)
    assert kinds(comparison) == expected
    assert comparison.amount_difference == Decimal(excess)
    assert sum((one.excess for one in comparison.differences), Decimal(0)) == Decimal(excess)
    assert comparison.agreeing == len(rows) - sum(kind != "missing" for kind in expected)
    assert sum(map(comparison.excess_of, DifferenceKind), Decimal(0)) == Decimal(excess)
    assert [comparison.count_of(kind) for kind in DifferenceKind] == [expected.count(kind) for kind in DifferenceKind]


def test_a_difference_names_both_sides() -> None:
    (found,) = compared([row(1, amount="3", line=7)], [order(1)]).differences
    assert (found.line, found.request_id) == (7, "r1")
    assert (found.statement_state, found.statement_amount) == (OrderState.SUCCEEDED, Decimal(3))
    assert (found.order_id, found.account, found.custom_parm) == (1, "default", "c1")
    assert (found.state, found.charged_amount) == (OrderState.SUCCEEDED, Decimal("2.94"))


@pytest.mark.parametrize("at", [NOON - timedelta(days=1), NOON + timedelta(days=1), None])
def test_an_order_of_another_day_is_matched_and_summed_apart(at: datetime | None) -> None:
    comparison = compared([row(1)], [order(1, at=at)])
    assert not comparison.differences
    assert (comparison.orders.count, comparison.other_days.count) == (0, 1)
    assert comparison.other_days.amount == Decimal("2.94")
    assert comparison.amount_difference == 0


def test_an_unreadable_row_is_told_and_counts_nowhere() -> None:
    comparison = compared([UnreadableRow(line=3, request_id="合计", why=Sentence("state"))], [])
    (found,) = comparison.differences
    assert (found.kind, found.line, found.request_id, found.why) == (DifferenceKind.UNREADABLE, 3, "合计", "state")
    assert (comparison.statement.count, found.excess) == (0, Decimal(0))


def test_the_order_of_an_unreadable_row_is_not_missing_and_its_money_counts_there() -> None:
    comparison = compared([unreadable(1, line=3), unreadable(1, line=4)], [order(1), order(2, request_id=None)])
    first, second, missing = comparison.differences
    assert kinds(comparison) == ["unreadable", "unreadable", "missing"]
    assert (first.line, first.order_id, first.custom_parm, first.why) == (3, 1, "c1", "amount")
    assert (first.excess, second.excess, missing.order_id) == (Decimal("-2.94"), Decimal(0), 2)
    assert comparison.amount_difference == Decimal("-5.88")


@pytest.mark.parametrize("rows", [[unreadable(1), row(1)], [row(1), unreadable(1)]])
def test_an_order_that_a_readable_row_names_too_counts_with_that_one(rows: list[StatementRow | UnreadableRow]) -> None:
    comparison = compared(rows, [order(1)])
    (found,) = comparison.differences
    assert (found.kind, found.order_id, found.excess) == (DifferenceKind.UNREADABLE, None, Decimal(0))
    assert (comparison.agreeing, comparison.amount_difference) == (1, Decimal(0))


STATES = some.sampled_from([OrderState.SUCCEEDED, OrderState.FAILED, OrderState.PENDING])
AMOUNTS = some.none() | some.decimals(min_value=0, max_value=999, places=4).map(str)
ROWS = some.lists(some.builds(row, some.integers(1, 5), STATES, AMOUNTS) | some.builds(unreadable, some.integers(1, 5)))
ORDERS = some.lists(
    some.builds(
        order,
        some.integers(1, 6),
        some.sampled_from(OrderState),
        AMOUNTS,
        at=some.sampled_from([NOON, NOON + timedelta(days=1)]),
        price=AMOUNTS,
    ),
    unique_by=lambda one: one.id,
)


@given(ROWS, ORDERS)
def test_differences_add_up_to_the_difference_of_the_sums(
    rows: list[StatementRow | UnreadableRow], orders: list[OwnOrder]
) -> None:
    comparison = compared(rows, orders)
    assert sum((one.excess for one in comparison.differences), Decimal(0)) == comparison.amount_difference


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("r1", "成功", "2.94"), row(1)),
        ((" 'r1\t", " Success ", "￥ 1,234.5元"), row(1, amount="1234.5")),
        (("r1", "1", "12,345,678"), row(1, amount="12345678")),
        (("r1", "充值失败", ""), row(1, OrderState.FAILED, None)),
        (("r1", "0", "¥0.00"), row(1, OrderState.PENDING, "0")),
        (("r1", "-1", "2.94"), row(1, OrderState.FAILED)),
    ],
)
def test_a_row_is_read_as_spreadsheets_write_it(cells: tuple[str, str, str], expected: StatementRow) -> None:
    assert read_row(1, *cells, WORDS) == expected


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (("", "成功", "1"), "request id: is empty"),
        (("2.01601E+15", "成功", "1"), "request id: 2.01601E+15 is a number that a spreadsheet has rewritten"),
        (("r1", "退款", "1"), "state: '退款' is no word that an option explains"),
        (("r1", "成功", "-1"), "amount: '-1' is no amount; accepted: a decimal of zero or more"),
        (("r1", "成功", "about 3"), "amount: 'about 3' is no amount"),
        (("r1", "成功", "2,94"), "amount: '2,94' has a comma that separates no thousands; accepted: a decimal"),
        (("r1", "成功", "1.234,50"), "amount: '1.234,50' has a comma that separates no thousands"),
        (("r1", "成功", "1234,567.00"), "amount: '1234,567.00' has a comma that separates no thousands"),
        (("r1", "成功", "1,23.45"), "amount: '1,23.45' has a comma that separates no thousands"),
    ],
)
def test_a_row_that_cannot_be_compared_says_why(cells: tuple[str, str, str], why: str) -> None:
    read = read_row(9, *cells, WORDS)
    assert isinstance(read, UnreadableRow)
    assert read.line == 9
    assert read.why.startswith(why)


def test_given_words_win_over_the_usual_ones() -> None:
    words = state_words({OrderState.FAILED: ["0", "已退款"]})
    for text, state in (("0", OrderState.FAILED), ("已退款", OrderState.FAILED), ("成功", OrderState.SUCCEEDED)):
        assert read_row(1, "r1", text, "", words) == row(1, state, None)


def test_a_word_for_two_states_is_refused() -> None:
    with pytest.raises(ValueError, match="the word 'ok' stands for two states"):
        state_words({OrderState.SUCCEEDED: ["OK"], OrderState.FAILED: ["ok"]})
