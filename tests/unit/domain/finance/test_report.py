"""The figures of a period, and what orders should cost and did cost."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from worker.domain.finance.report import (
    AMOUNTS,
    COUNTS,
    Amounts,
    Delays,
    Figures,
    Grouping,
    Period,
    Report,
    SettledOrder,
    Sums,
    amounts_of,
)
from worker.domain.records.orders import OrderState, Source

EXPECTED, NAMED = Decimal("98.00"), Decimal("98.5001")


def known(state: OrderState, *, is_price: bool = False) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    found = amounts_of(state, EXPECTED, NAMED, is_price=is_price)
    return found.due, found.charged, found.difference


def test_a_succeeded_order_is_due_as_expected() -> None:
    assert known(OrderState.SUCCEEDED) == (EXPECTED, NAMED, Decimal("0.5001"))


def test_nothing_is_due_for_a_failed_order() -> None:
    assert known(OrderState.FAILED) == (Decimal(0), NAMED, NAMED)


def test_an_echoed_price_is_no_charge() -> None:
    assert known(OrderState.FAILED, is_price=True) == (Decimal(0), None, None)


@pytest.mark.parametrize("state", [state for state in OrderState if not state.is_final])
def test_an_amount_beside_an_order_that_is_not_final_is_no_charge(state: OrderState) -> None:
    assert known(state) == (EXPECTED, None, None)


def test_without_an_expected_amount_no_difference_is_known() -> None:
    found = amounts_of(OrderState.SUCCEEDED, None, NAMED, is_price=False)
    assert (found.due, found.charged, found.difference) == (None, NAMED, None)


def test_sums_are_exact_and_take_what_is_known() -> None:
    sums = Sums()
    for _ in range(9):
        sums.add(Amounts(Decimal("0.1"), Decimal("0.1001")))
    sums.add(Amounts(Decimal("0.1"), None))
    sums.add(Amounts(None, Decimal("2")))
    assert sums == Sums(count=11, due=Decimal("1.0"), charged=Decimal("2.9009"), difference=Decimal("0.0009"))


NOON = datetime(2016, 1, 31, 12, tzinfo=UTC)
PERIOD = Period(first=date(2016, 1, 30), last=date(2016, 2, 1), zone=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def settled(
    source: Source | None = Source.QUERY,
    *,
    state: OrderState = OrderState.SUCCEEDED,
    expected: str | None = "2.94",
    charged: str | None = "2.94",
    heard: bool = False,
    account: str = "default",
    at: datetime = NOON,
    delay: float = 60,
) -> SettledOrder:
    return SettledOrder(
        account=account,
        state=state,
        settled_by=source,
        submitted_at=at - timedelta(seconds=delay),
        settled_at=at,
        expected_amount=None if expected is None else Decimal(expected),
        charged_amount=None if charged is None else Decimal(charged),
        heard_callback=heard,
    )


def figures_of(*orders: SettledOrder) -> Figures:
    figures = Figures()
    for order in orders:
        figures.add(order)
    return figures


def test_orders_count_by_what_settled_them() -> None:
    figures = figures_of(
        settled(Source.CALLBACK), settled(), settled(heard=True), settled(Source.OPERATOR), settled(Source.BILLING)
    )
    assert (figures.by_callback, figures.by_query, figures.by_hand) == (1, 2, 1)
    assert figures.succeeded == 5


def test_a_callback_is_lost_where_a_query_settled_the_order_and_none_came() -> None:
    orders = [settled(), settled(heard=True), settled(Source.CALLBACK), settled(Source.OPERATOR)]
    assert figures_of(*orders).callbacks_lost == 1


def test_amounts_are_summed_exactly() -> None:
    figures = figures_of(*[settled(expected="0.1", charged="0.2")] * 3)
    assert (figures.expected_amount, figures.charged_amount) == (Decimal("0.3"), Decimal("0.6"))


@pytest.mark.parametrize(
    ("order", "mismatches", "expected", "without", "charged"),
    [
        (settled(), 0, "2.94", 0, "2.94"),
        (settled(charged="3"), 1, "2.94", 0, "3"),
        (settled(charged=None), 0, "2.94", 0, "0"),
        (settled(expected=None), 0, "0", 1, "2.94"),
        (settled(state=OrderState.FAILED, charged=None), 0, "0", 0, "0"),
        (settled(state=OrderState.FAILED, charged="0"), 0, "0", 0, "0"),
        (settled(state=OrderState.FAILED, charged="0.05"), 1, "0", 0, "0.05"),
    ],
)
def test_a_mismatch_is_another_charge_than_expected_or_one_of_a_failed_order(
    order: SettledOrder, mismatches: int, expected: str, without: int, charged: str
) -> None:
    figures = figures_of(order)
    assert (figures.mismatches, figures.without_expected_amount) == (mismatches, without)
    assert (figures.expected_amount, figures.charged_amount) == (Decimal(expected), Decimal(charged))
    assert figures.succeeded + figures.failed == 1


@pytest.mark.parametrize(("count", "median", "p95", "p99"), [(100, 50, 95, 99), (5, 3, 5, 5), (25, 13, 24, 25)])
def test_percentiles_are_delays_that_so_many_orders_do_not_exceed(count: int, median: int, p95: int, p99: int) -> None:
    delays = Delays()
    for seconds in range(1, count + 1):
        delays.add(seconds)
    assert delays.percentiles() == {"median": median, "p95": p95, "p99": p99}


def test_without_orders_there_are_no_percentiles() -> None:
    assert set(Delays().percentiles().values()) == {None}


def test_short_delays_are_kept_to_a_tenth_of_a_second_and_long_ones_to_a_second() -> None:
    for seconds, kept in ((1.23, 1.2), (99.96, 100.0), (100.4, 100.0), (-5.0, 0.0)):
        delays = Delays()
        delays.add(seconds)
        assert delays.percentiles()["median"] == kept


def test_delays_are_told_apart_by_source() -> None:
    figures = figures_of(settled(delay=660), settled(Source.CALLBACK, delay=30), settled(Source.BILLING, delay=1))
    medians = {source.value: delays.percentiles()["median"] for source, delays in figures.delays.items()}
    assert medians == {"callback": 30, "query": 660, "operator": None}


def test_a_report_without_grouping_has_a_total_alone() -> None:
    report = Report(period=PERIOD)
    report.count([settled()], [("default", NOON)])
    assert (report.total.by_query, report.total.unresolved, report.rows) == (1, 1, {})


def test_a_report_by_day_has_every_day_and_counts_unresolved_orders_by_their_submission() -> None:
    report = Report(period=PERIOD, by=Grouping.DAY)
    report.count([settled(), settled(at=NOON + timedelta(days=1))], [("default", NOON - timedelta(days=1))])
    assert {day: (row.by_query, row.unresolved) for day, row in report.rows.items()} == {
        "2016-01-30": (0, 1),
        "2016-01-31": (1, 0),
        "2016-02-01": (1, 0),
    }
    assert (report.total.by_query, report.total.unresolved) == (2, 1)


def test_a_report_by_account_has_those_with_orders_by_name() -> None:
    report = Report(period=PERIOD, by=Grouping.ACCOUNT)
    report.count([settled(account="shop"), settled()], [("bar", NOON)])
    assert [(name, row.by_query, row.unresolved) for name, row in report.rows.items()] == [
        ("bar", 0, 1),
        ("default", 1, 0),
        ("shop", 1, 0),
    ]


def test_a_period_begins_and_ends_at_the_zone_s_midnight() -> None:
    period = Period(first=date(2016, 1, 31), last=date(2016, 2, 1), zone=SHANGHAI)
    assert period.start == datetime(2016, 1, 30, 16, tzinfo=UTC)
    assert period.end == datetime(2016, 2, 1, 16, tzinfo=UTC)
    assert list(period.days) == [date(2016, 1, 31), date(2016, 2, 1)]


def test_the_first_moment_belongs_to_the_period_and_the_one_after_the_last_does_not() -> None:
    period = Period(first=date(2016, 1, 31), last=date(2016, 1, 31), zone=SHANGHAI)
    moment = timedelta(microseconds=1)
    held = [period.holds(at) for at in (period.start - moment, period.start, period.end - moment, period.end)]
    assert held == [False, True, True, False]


def test_a_moment_is_on_the_day_that_the_zone_has_then() -> None:
    period = Period(first=date(2016, 1, 30), last=date(2016, 2, 1), zone=SHANGHAI)
    assert period.day_of(datetime(2016, 1, 31, 15, 59, 59, tzinfo=UTC)) == date(2016, 1, 31)
    assert period.day_of(datetime(2016, 1, 31, 16, tzinfo=UTC)) == date(2016, 2, 1)


def test_a_day_on_which_clocks_change_has_its_own_length() -> None:
    zone = ZoneInfo("Europe/Berlin")
    lengths = [
        (period.end - period.start) / timedelta(hours=1)
        for day in (date(2026, 3, 29), date(2026, 10, 25), date(2026, 6, 1))
        for period in [Period(first=day, last=day, zone=zone)]
    ]
    assert lengths == [23, 25, 24]


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="ends on 2016-01-30, before it begins on 2016-01-31"):
        Period(first=date(2016, 1, 31), last=date(2016, 1, 30), zone=UTC)


def test_a_row_has_counts_amounts_and_delays_in_seconds() -> None:
    row = figures_of(settled(Source.CALLBACK, delay=62), settled(Source.OPERATOR, charged="3")).as_row()
    assert [row[name] for name in (*COUNTS, *AMOUNTS)] == [1, 0, 1, 0, 2, 0, Decimal("5.88"), 0, Decimal("5.94"), 1, 0]
    assert (row["callback_delay_median_seconds"], row["hand_delay_p99_seconds"]) == (62.0, 60.0)
    assert row["query_delay_p95_seconds"] is None
