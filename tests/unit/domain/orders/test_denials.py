"""Remarks beside an agreeing number: which say that there is no such order, and which are reasons of real failures."""

from pathlib import Path
from time import process_time

import pytest

from tests.unit.domain.builders import APP_ID, MASKED, make_order, make_report
from worker.domain.orders.verdicts import Effect, Verdict, judge
from worker.domain.records.orders import IdKind


def phrases(name: str) -> list[str]:
    """The remarks of a file, of which each line holds some."""
    lines = (Path(__file__).parents[3] / "vectors" / name).read_text(encoding="utf-8").splitlines()
    return [phrase.strip() for line in lines for phrase in line.split("|")]


DENIALS, FAILURES = phrases("denials.txt"), phrases("failures.txt")


def verdict_of(remark: str) -> Verdict:
    said = make_report(traffic_sts="-1", remark=remark, mobile=MASKED, ori_amount="0")
    return judge(make_order(), [said], app_id=APP_ID, polled_by=IdKind.REQUEST_ID)


def test_the_tables_hold_sixty_phrases_each() -> None:
    assert min(len(set(DENIALS)), len(set(FAILURES))) >= 60
    assert not set(DENIALS) & set(FAILURES)


@pytest.mark.parametrize("remark", DENIALS)
def test_a_phrase_for_no_such_order_is_a_denial_beside_an_agreeing_number(remark: str) -> None:
    assert verdict_of(remark).is_denial


@pytest.mark.parametrize("remark", FAILURES)
def test_a_phrase_about_anything_else_is_a_failed_recharge(remark: str) -> None:
    assert verdict_of(remark).effect is Effect.FAILED


@pytest.mark.parametrize(
    "filler", ["单", "记录", "订单号", "没有的", "order ", "查", "订单号 ", "订单未", "无效的", "invalid "]
)
def test_a_remark_made_to_be_searched_for_long_is_judged_within_half_a_second(filler: str) -> None:
    remark = (filler * 500)[:500]
    start = process_time()
    verdict_of(remark)
    assert process_time() - start < 0.5
