from decimal import Decimal

import pytest

from tests.unit.domain.builders import ACCEPTED, APP_ID, make_blind_order, make_order, make_report
from worker.domain.orders import Attention, Order
from worker.domain.reports import Report
from worker.domain.verdicts import Effect, Verdict, judge


def judged(*reports: Report, order: Order | None = None, is_callback: bool = False) -> Verdict:
    return judge(order or make_order(), reports, app_id=APP_ID, is_callback=is_callback)


@pytest.mark.parametrize(
    "fields",
    [
        {"app_id": "another"},
        {"fault": "oriAmount: said twice, with different values"},
        {"custom_parm": "C9"},
        {"request_id": "R9"},
    ],
    ids=lambda fields: ",".join(fields),
)
def test_an_item_that_contradicts_what_we_know_is_a_conflicting_answer(fields: dict[str, str]) -> None:
    verdict = judged(make_report(**fields), order=make_order(custom_parm="C1"))
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.CONFLICTING_ANSWER)
    assert verdict.effect not in ACCEPTED


def test_two_items_for_one_id_that_differ_are_a_conflicting_answer_and_all_are_recorded() -> None:
    verdict = judged(make_report(), make_report(traffic_sts="-1", words='{"second":1}'))
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.CONFLICTING_ANSWER)
    assert '{"second":1}' in verdict.reason


def test_ids_of_two_different_rows_are_a_conflicting_answer() -> None:
    verdict = judge(make_order(), [make_report()], app_id=APP_ID, contradiction="two orders")
    assert (verdict.effect, verdict.attention, verdict.reason) == (
        Effect.NONE,
        Attention.CONFLICTING_ANSWER,
        "two orders",
    )


def test_what_an_item_or_a_row_lacks_is_no_conflict() -> None:
    assert judged(make_report(app_id=None, mobile=None, request_id=None)).effect is Effect.SUCCEEDED
    assert judged(make_report(custom_parm="C1")).effect is Effect.SUCCEEDED
    assert judged(make_report(custom_parm="C1"), order=make_blind_order()).effect is Effect.SUCCEEDED
    assert judged(make_report(), order=make_order(mobile=None)).effect is Effect.SUCCEEDED


@pytest.mark.parametrize("status", ["1", "0", "-1", "7"])
def test_a_masked_mobile_that_cannot_be_the_orders_is_a_mobile_mismatch_whatever_the_status(status: str) -> None:
    verdict = judged(make_report(mobile="189****0804", traffic_sts=status))
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.MOBILE_MISMATCH)


def test_a_conflict_outranks_a_mobile_mismatch() -> None:
    verdict = judged(make_report(mobile="189****0804", app_id="another"))
    assert verdict.attention is Attention.CONFLICTING_ANSWER


@pytest.mark.parametrize("status", [None, "2", "", "01", "1.0", "+1", "True", "\u0661"])
def test_a_status_other_than_1_0_or_minus_1_is_unknown(status: str | None) -> None:
    verdict = judged(make_report(traffic_sts=status))
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.UNKNOWN_STATUS)


def test_0_is_still_pending() -> None:
    verdict = judged(make_report(traffic_sts="0"))
    assert (verdict.effect, verdict.amount, verdict.attention) == (Effect.PENDING, Decimal("2.94"), None)
    assert verdict.effect in ACCEPTED


@pytest.mark.parametrize("amount", [None, "", "free", "-2.94", "2.94001"])
@pytest.mark.parametrize("is_callback", [True, False])
def test_1_without_a_readable_amount_is_a_conflicting_answer(amount: str | None, is_callback: bool) -> None:
    verdict = judged(make_report(ori_amount=amount), is_callback=is_callback)
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.CONFLICTING_ANSWER)


def test_a_callback_of_1_without_any_amount_field_makes_the_order_due_now() -> None:
    silent = make_report(ori_amount=None, has_amount_field=False)
    assert (judged(silent, is_callback=True).effect, judged(silent, is_callback=True).attention) == (
        Effect.DUE_NOW,
        None,
    )
    assert judged(silent).attention is Attention.CONFLICTING_ANSWER


@pytest.mark.parametrize("expected", [None, Decimal("2.94"), Decimal("2.9400")])
def test_1_is_succeeded(expected: Decimal | None) -> None:
    verdict = judged(make_report(), order=make_order(expected_amount=expected))
    assert (verdict.effect, verdict.amount, verdict.attention) == (Effect.SUCCEEDED, Decimal("2.94"), None)


def test_1_with_another_amount_than_expected_is_succeeded_with_an_amount_mismatch_beside_it() -> None:
    verdict = judged(make_report(), order=make_order(expected_amount=Decimal("3")))
    assert (verdict.effect, verdict.attention) == (Effect.SUCCEEDED, Attention.AMOUNT_MISMATCH)


def test_minus_1_with_neither_mobile_nor_amount_is_unknown_to_the_platform() -> None:
    verdict = judged(make_report(traffic_sts="-1", mobile=None, ori_amount=None))
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.UNKNOWN_TO_PLATFORM)


@pytest.mark.parametrize("remark", ["订单不存在", "未找到该订单", "Order NOT FOUND"])
def test_minus_1_whose_remark_says_that_there_is_no_such_order_is_unknown_to_the_platform(remark: str) -> None:
    verdict = judged(make_report(traffic_sts="-1", remark=remark))
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.UNKNOWN_TO_PLATFORM)


@pytest.mark.parametrize("amount", [None, "0", "0.00"])
def test_minus_1_is_failed(amount: str | None) -> None:
    verdict = judged(make_report(traffic_sts="-1", ori_amount=amount, remark=None))
    assert (verdict.effect, verdict.attention) == (Effect.FAILED, None)


@pytest.mark.parametrize("amount", ["2.94", "-2.94", "some"])
def test_minus_1_with_an_amount_other_than_zero_is_failed_with_an_amount_mismatch_beside_it(amount: str) -> None:
    verdict = judged(make_report(traffic_sts="-1", ori_amount=amount))
    assert (verdict.effect, verdict.attention) == (Effect.FAILED, Attention.AMOUNT_MISMATCH)
