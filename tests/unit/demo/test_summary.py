from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from worker.demo.readings import OrderLine, PlatformRecord, Truth
from worker.demo.report import as_json, closing, verdict
from worker.demo.summary import Finding, Summary, compare, summarise
from worker.domain.records.orders import Attention, OrderState, Source

SETTLED = Truth(request_id="a", outcome="1", settled=True, amount="2.94", unknown=False, callback="lost")
FAILED = replace(SETTLED, outcome="-1", amount="0.00")
STUCK = replace(SETTLED, outcome="stuck", settled=False, amount="0.00", callback="none")
UNKNOWN = replace(STUCK, outcome="1", unknown=True)
OVERCHARGED = replace(SETTLED, amount="98.00")

SUCCEEDED_HERE = OrderLine(
    request_id="a",
    state=OrderState.SUCCEEDED,
    expected_amount=Decimal("2.94"),
    ori_amount=Decimal("2.94"),
    settled_by=Source.QUERY,
    attention=None,
    query_count=1,
)
PENDING_HERE = replace(SUCCEEDED_HERE, state=OrderState.PENDING, ori_amount=None, settled_by=None)
FAILED_HERE = replace(SUCCEEDED_HERE, state=OrderState.FAILED, ori_amount=Decimal("0.00"))
GIVEN_UP_HERE = replace(PENDING_HERE, state=OrderState.UNRESOLVED, attention=Attention.UNKNOWN_TO_PLATFORM)
MISMATCH_HERE = replace(SUCCEEDED_HERE, ori_amount=Decimal("98.00"), attention=Attention.AMOUNT_MISMATCH)
RECORD = PlatformRecord(queries=(("a",),), violations=(), smallest_spacing=None, callbacks={"lost": 1})


@pytest.mark.parametrize(
    ("truth", "here", "finding"),
    [
        (SETTLED, SUCCEEDED_HERE, Finding.AGREED),
        (SETTLED, replace(SUCCEEDED_HERE, ori_amount=Decimal("2.9400")), Finding.AGREED),
        (FAILED, FAILED_HERE, Finding.AGREED),
        (OVERCHARGED, MISMATCH_HERE, Finding.AGREED),
        (STUCK, PENDING_HERE, Finding.BOTH_PENDING),
        (UNKNOWN, GIVEN_UP_HERE, Finding.GIVEN_UP),
        (UNKNOWN, PENDING_HERE, Finding.NOT_YET_GIVEN_UP),
        (SETTLED, PENDING_HERE, Finding.NOT_YET_SETTLED),
        (SETTLED, None, Finding.WRONG),
        (SETTLED, FAILED_HERE, Finding.WRONG),
        (FAILED, SUCCEEDED_HERE, Finding.WRONG),
        (SETTLED, replace(SUCCEEDED_HERE, ori_amount=Decimal("2.95")), Finding.WRONG),
        (SETTLED, GIVEN_UP_HERE, Finding.WRONG),
        (OVERCHARGED, replace(MISMATCH_HERE, attention=None), Finding.WRONG),
        (STUCK, SUCCEEDED_HERE, Finding.WRONG),
        (STUCK, GIVEN_UP_HERE, Finding.WRONG),
        (UNKNOWN, FAILED_HERE, Finding.WRONG),
        (UNKNOWN, replace(GIVEN_UP_HERE, attention=Attention.TOO_OLD), Finding.WRONG),
    ],
)
def test_an_order_is_compared_with_its_truth(truth: Truth, here: OrderLine | None, finding: Finding) -> None:
    assert compare(truth, here) is finding


def summary_of(
    pairs: Sequence[tuple[Truth, OrderLine | None]], record: PlatformRecord = RECORD, *, timed_out: bool = False
) -> Summary:
    named = [(replace(truth, request_id=f"id-{number}"), here) for number, (truth, here) in enumerate(pairs)]
    orders = {truth.request_id: replace(here, request_id=truth.request_id) for truth, here in named if here}
    truths = [truth for truth, _ in named]
    return summarise(truths, orders, record, window=2.0, seconds=50.0, timed_out=timed_out)


def test_all_is_well_where_each_order_agrees_and_each_warning_has_its_reason() -> None:
    summary = summary_of(
        [(SETTLED, SUCCEEDED_HERE), (STUCK, PENDING_HERE), (UNKNOWN, GIVEN_UP_HERE), (OVERCHARGED, MISMATCH_HERE)]
    )
    assert summary.is_good
    assert [case.request_id for case in summary.cases] == ["id-2", "id-3"]
    text = closing(summary)
    assert "id-3  succeeded, amount_mismatch: expected 2.94, the platform charged 98.00" in text
    assert "    0  wrong (must be 0)" in text
    assert "all is well" in verdict(summary, Path("folder"))


@pytest.mark.parametrize(
    "summary",
    [
        pytest.param(summary_of([(SETTLED, FAILED_HERE)]), id="wrong"),
        pytest.param(summary_of([(SETTLED, PENDING_HERE)]), id="late"),
        pytest.param(summary_of([(SETTLED, SUCCEEDED_HERE)], replace(RECORD, violations=("limit",))), id="violation"),
        pytest.param(summary_of([(SETTLED, replace(SUCCEEDED_HERE, attention=Attention.LATE_CONFLICT))]), id="warning"),
    ],
)
def test_all_is_not_well_otherwise_and_the_last_line_says_what_to_do(summary: Summary) -> None:
    assert not summary.is_good
    assert as_json(summary)["good"] is False
    assert "all is well" not in verdict(summary, Path("folder"))
    assert "report it" in verdict(summary, Path("folder")) or "Run the demo again" in verdict(summary, Path("folder"))


def test_a_demo_that_ran_out_of_time_says_so_and_is_not_called_wrong() -> None:
    late = summary_of([(SETTLED, PENDING_HERE)], timed_out=True)
    assert "the time was up" in closing(late)
    assert "1 orders were not settled in time, none is wrong" in verdict(late, Path("folder"))
    unknown = summary_of([(UNKNOWN, PENDING_HERE)], timed_out=True)
    assert unknown.is_good
    assert "1  unknown to the platform: still pending, as time was too short" in closing(unknown)


def test_the_least_number_of_queries_counts_what_only_a_query_could_settle() -> None:
    pairs: list[tuple[Truth, OrderLine | None]] = [(SETTLED, SUCCEEDED_HERE)] * 101
    pairs += [(replace(SETTLED, callback="sent"), SUCCEEDED_HERE)] * 50 + [(STUCK, PENDING_HERE)]
    queries = (("id-1", "id-2"), ("id-2", "id-3"), ("id-2", "id-3"), ("id-3",))
    use = summary_of(pairs, replace(RECORD, queries=queries)).queries
    assert (use.least, use.used, use.first, use.again, use.alone) == (2, 4, 2, 2, 1)


def test_many_wrong_orders_do_not_fill_the_screen() -> None:
    summary = summary_of([(SETTLED, FAILED_HERE)] * 300)
    assert len(closing(summary)) < 3000
    assert len(summary.wrong) == 300
