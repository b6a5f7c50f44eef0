from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from worker.demo.orders import (
    MOST_ORDERS,
    Fate,
    Request,
    compare,
    in_words,
    make_plan,
    summarise,
    verdict,
)
from worker.domain.records.orders import Attention, OrderState, Source

Row = Mapping[str, Any]

SETTLED: Row = {"outcome": "1", "settled": True, "amount": "2.94", "unknown": False, "callback": "lost"}
FAILED = {**SETTLED, "outcome": "-1", "amount": "0.00"}
STUCK = {**SETTLED, "outcome": "stuck", "settled": False, "amount": "0.00", "callback": "none"}
UNKNOWN = {**STUCK, "outcome": "1", "unknown": True}
OVERCHARGED = {**SETTLED, "amount": "98.00"}

SUCCEEDED_HERE: Row = {
    "state": OrderState.SUCCEEDED,
    "expected_amount": Decimal("2.94"),
    "ori_amount": Decimal("2.94"),
    "settled_by": Source.QUERY,
    "attention": None,
    "query_count": 1,
}
PENDING_HERE = {**SUCCEEDED_HERE, "state": OrderState.PENDING, "ori_amount": None, "settled_by": None}
FAILED_HERE = {**SUCCEEDED_HERE, "state": OrderState.FAILED, "ori_amount": Decimal("0.00")}
GIVEN_UP_HERE = {**PENDING_HERE, "state": OrderState.UNRESOLVED, "attention": Attention.UNKNOWN_TO_PLATFORM}
MISMATCH_HERE = {**SUCCEEDED_HERE, "ori_amount": Decimal("98.00"), "attention": Attention.AMOUNT_MISMATCH}
RECORD: Row = {"arrivals": [{"ids": ["a"]}], "violations": [], "smallest_spacing": {"a": 2.1}, "window_seconds": 2.0}


@pytest.mark.parametrize(
    ("truth", "here", "finding"),
    [
        (SETTLED, SUCCEEDED_HERE, "agreed"),
        (SETTLED, {**SUCCEEDED_HERE, "ori_amount": Decimal("2.9400")}, "agreed"),
        (FAILED, FAILED_HERE, "agreed"),
        (OVERCHARGED, MISMATCH_HERE, "agreed"),
        (STUCK, PENDING_HERE, "both_pending"),
        (UNKNOWN, GIVEN_UP_HERE, "given_up"),
        (UNKNOWN, PENDING_HERE, "not_yet_given_up"),
        (SETTLED, PENDING_HERE, "not_yet_settled"),
        (SETTLED, None, "wrong"),
        (SETTLED, FAILED_HERE, "wrong"),
        (FAILED, SUCCEEDED_HERE, "wrong"),
        (SETTLED, {**SUCCEEDED_HERE, "ori_amount": Decimal("2.95")}, "wrong"),
        (SETTLED, {**SUCCEEDED_HERE, "attention": Attention.LATE_CONFLICT}, "wrong"),
        (SETTLED, GIVEN_UP_HERE, "wrong"),
        (OVERCHARGED, {**MISMATCH_HERE, "attention": None}, "wrong"),
        (STUCK, SUCCEEDED_HERE, "wrong"),
        (STUCK, GIVEN_UP_HERE, "wrong"),
        (STUCK, {**PENDING_HERE, "attention": Attention.TOO_OLD}, "wrong"),
        (UNKNOWN, FAILED_HERE, "wrong"),
        (UNKNOWN, {**GIVEN_UP_HERE, "attention": Attention.TOO_OLD}, "wrong"),
    ],
)
def test_an_order_is_compared_with_its_truth(truth: Row, here: Row | None, finding: str) -> None:
    assert compare(truth, here) == finding


def summary_of(pairs: Sequence[tuple[Row, Row | None]], record: Row = RECORD, *, timed_out: bool = False) -> Row:
    named = [(f"id-{number}", truth, here) for number, (truth, here) in enumerate(pairs)]
    truths = [{**truth, "request_id": name} for name, truth, _ in named]
    orders = [{**here, "request_id": name} for name, _, here in named if here]
    return {**summarise(truths, orders, record), "seconds": 50.0, "timed_out": timed_out}


def test_all_is_well_where_each_order_agrees_and_each_warning_has_its_reason() -> None:
    summary = summary_of(
        [(SETTLED, SUCCEEDED_HERE), (STUCK, PENDING_HERE), (UNKNOWN, GIVEN_UP_HERE), (OVERCHARGED, MISMATCH_HERE)]
    )
    assert summary["good"]
    assert "all is well" in verdict(summary, Path("folder"))
    assert (
        in_words(summary)
        == """\
Summary, after 50 s

Each of the 4 orders, compared with the platform's truth
      2  settled, and the platform agrees: 2 succeeded, 0 failed
         (0 by a callback, 2 by a query)
      1  still pending, and the platform is still recharging them, too
      1  unknown to the platform: unresolved, for a person to decide
      0  settled at the platform, but not yet here (must be 0)
      0  wrong (must be 0)

For a person to look at
  id-2  unresolved, unknown_to_platform: 1 answered queries left it out, the last ones polled it alone
  id-3  succeeded, amount_mismatch: expected 2.94, the platform charged 98.00

Queries: 1 used; the least possible is 1
  2 orders could be settled by a query only, 100 at most in each: 1.
  1 queries polled orders for the first time. The other 0 polled orders again that
  the platform was still recharging or had left out; and, as queries were left over,
  the stuck ones each time. 0 of them polled one order alone.

The limit, as the platform saw it
  smallest spacing of two queries: 2.100 s; the window: 2 s
  violations: 0"""
    )


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        pytest.param(summary_of([(SETTLED, FAILED_HERE)]), "report it", id="wrong"),
        pytest.param(summary_of([(SETTLED, None)]), "report it", id="lost"),
        pytest.param(summary_of([(SETTLED, PENDING_HERE)]), "1 orders were not settled in time, none", id="late"),
        pytest.param(summary_of([], {**RECORD, "violations": [{"kind": "limit"}]}), "report it", id="violation"),
    ],
)
def test_all_is_not_well_otherwise_and_the_last_line_says_what_to_do(summary: Row, words: str) -> None:
    assert not summary["good"]
    assert words in verdict(summary, Path("folder"))
    assert "all is well" not in verdict(summary, Path("folder"))


def test_a_demo_that_ran_out_of_time_says_so_and_is_not_called_wrong() -> None:
    unknown = summary_of([(UNKNOWN, PENDING_HERE)], {**RECORD, "smallest_spacing": {}}, timed_out=True)
    assert unknown["good"]
    text = in_words(unknown)
    assert "(the time was up)" in text
    assert "1  unknown to the platform: still pending, as time was too short" in text
    assert "smallest spacing of two queries: none" in text


def test_the_least_number_of_queries_counts_what_only_a_query_could_settle() -> None:
    pairs: list[tuple[Row, Row | None]] = [(SETTLED, SUCCEEDED_HERE)] * 101
    pairs += [({**SETTLED, "callback": "sent"}, SUCCEEDED_HERE)] * 50 + [(STUCK, PENDING_HERE)]
    polled = (["id-1", "id-2"], ["id-2", "id-3"], ["id-2", "id-3"], ["id-3"])
    use = summary_of(pairs, {**RECORD, "arrivals": [{"ids": ids} for ids in polled]})["queries"]
    assert use == {"used": 4, "first": 2, "again": 2, "alone": 1, "lost_and_settled": 101, "least": 2}


@pytest.mark.parametrize("orders", [50, 120, MOST_ORDERS])
def test_every_fate_occurs_and_each_order_has_an_id_of_its_own(orders: int) -> None:
    plan = make_plan(Request(orders=orders))
    fates = Counter(order.fate for order in plan)
    assert len({order.placing.request_id for order in plan}) == orders
    assert fates[Fate.UNKNOWN] == fates[Fate.WRONG_AMOUNT] == 1
    assert fates[Fate.CALLBACK] > fates[Fate.CALLBACK_LOST] == 0.4 * orders
    assert fates[Fate.STUCK] >= 3


def test_platform_and_billing_system_have_the_same_order_and_one_amount_differs() -> None:
    for order in make_plan(Request(orders=200)):
        assert order.submission == {
            "request_id": order.placing.request_id,
            "mobile": order.placing.mobile,
            "expected_amount": order.submission["expected_amount"],
        }
        assert (order.placing.amount != order.submission["expected_amount"]) is (order.fate is Fate.WRONG_AMOUNT)
        assert order.placing.callback_lost is (order.fate is not Fate.CALLBACK)
        assert order.placing.unknown is (order.fate is Fate.UNKNOWN)
        assert (order.placing.outcome == "stuck") is (order.fate is Fate.STUCK)
