from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.domain.builders import APP_ID, MASKED, MOBILE, make_blind_order, make_order, make_report
from worker.domain.orders.verdicts import Effect, Verdict, judge
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Report
from worker.domain.records.orders import Attention, IdKind, Order


def verdict_of(
    *reports: Report, order: Order | None = None, is_callback: bool = False, polled_by: IdKind = IdKind.REQUEST_ID
) -> Verdict:
    return judge(order or make_order(), reports, app_id=APP_ID, polled_by=None if is_callback else polled_by)


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
    verdict = verdict_of(make_report(**fields), order=make_order(custom_parm="C1"))
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.CONFLICTING_ANSWER)


def test_two_items_for_one_id_that_differ_are_a_conflicting_answer_and_all_are_kept() -> None:
    verdict = verdict_of(make_report(), make_report(traffic_sts="-1", words='{"second":1}'))
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.CONFLICTING_ANSWER)
    assert verdict.reason == CodedText(TextCode.ITEMS_DIFFER, count=2, others='{"second":1}')


def test_ids_of_two_different_rows_are_a_conflicting_answer() -> None:
    why = CodedText(TextCode.TWO_ORDERS)
    verdict = judge(make_order(), [make_report()], app_id=APP_ID, polled_by=None, contradiction=why)
    assert (verdict.effect, verdict.attention, verdict.reason) == (Effect.NONE, Attention.CONFLICTING_ANSWER, why)


def test_what_an_item_or_a_row_lacks_is_no_conflict() -> None:
    assert verdict_of(make_report(app_id=None, mobile=None, request_id=None)).effect is Effect.SUCCEEDED
    assert verdict_of(make_report(custom_parm="C1")).effect is Effect.SUCCEEDED
    assert verdict_of(make_report(custom_parm="C1"), order=make_blind_order()).effect is Effect.SUCCEEDED
    assert verdict_of(make_report(), order=make_order(mobile=None)).effect is Effect.SUCCEEDED


@pytest.mark.parametrize("status", ["1", "0", "-1", "7"])
def test_a_masked_mobile_that_cannot_be_the_orders_is_a_mobile_mismatch_whatever_the_status(status: str) -> None:
    verdict = verdict_of(make_report(mobile="189****0804", traffic_sts=status))
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.MOBILE_MISMATCH)


def test_a_conflict_outranks_a_mobile_mismatch() -> None:
    verdict = verdict_of(make_report(mobile="189****0804", app_id="another"))
    assert verdict.attention is Attention.CONFLICTING_ANSWER


@pytest.mark.parametrize("status", [None, "2", "", "01", "1.0", "+1", "True", "\u0661"])
def test_a_status_other_than_1_0_or_minus_1_is_unknown(status: str | None) -> None:
    verdict = verdict_of(make_report(traffic_sts=status))
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.UNKNOWN_STATUS)


def test_0_is_still_pending() -> None:
    verdict = verdict_of(make_report(traffic_sts="0"))
    assert (verdict.effect, verdict.amount, verdict.attention) == (Effect.PENDING, Decimal("2.94"), None)


@pytest.mark.parametrize("amount", [None, "", "free", "-2.94", "2.94001"])
@pytest.mark.parametrize("is_callback", [True, False])
def test_1_without_a_readable_amount_is_a_conflicting_answer(amount: str | None, is_callback: bool) -> None:
    verdict = verdict_of(make_report(ori_amount=amount), is_callback=is_callback)
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.CONFLICTING_ANSWER)


def test_a_callback_of_1_without_any_amount_field_makes_the_order_due_now() -> None:
    silent = make_report(ori_amount=None, has_amount_field=False)
    verdict = verdict_of(silent, is_callback=True)
    assert (verdict.effect, verdict.attention) == (Effect.DUE_NOW, None)
    assert verdict_of(silent).attention is Attention.CONFLICTING_ANSWER


@pytest.mark.parametrize("expected", [None, Decimal("2.94"), Decimal("2.9400")])
def test_1_is_succeeded(expected: Decimal | None) -> None:
    verdict = verdict_of(make_report(), order=make_order(expected_amount=expected))
    assert (verdict.effect, verdict.amount, verdict.attention) == (Effect.SUCCEEDED, Decimal("2.94"), None)


def test_1_with_another_amount_than_expected_is_succeeded_with_an_amount_mismatch_beside_it() -> None:
    verdict = verdict_of(make_report(), order=make_order(expected_amount=Decimal("3.1000")))
    assert (verdict.effect, verdict.attention) == (Effect.SUCCEEDED, Attention.AMOUNT_MISMATCH)
    assert verdict.reason == "charged 2.94, expected 3.10"


NO_SUCH_ORDER = [
    *("订单不存在", "未找到该订单", "查无此订单", "无此订单", "没有找到该订单", "订单号错误", "查无记录"),
    *("Order NOT FOUND", "order does not exist", "no such order", "Record not  found", "ｏｒｄｅｒ ｎｏｔ ｆｏｕｎｄ"),
]
REAL_FAILURES = ["手机号码不存在", "无此套餐", "查无此号码", "user not found", "no such product", "余额不足", "", None]
SHOWS_NOTHING = [None, "", "***********", "1*", "188********", "*"]
NO_CHARGE = [None, "", "0", "0.00", "N/A", "-2.94", "free"]


@pytest.mark.parametrize("remark", NO_SUCH_ORDER)
@pytest.mark.parametrize("mobile", [MASKED, None])
@pytest.mark.parametrize("is_callback", [True, False])
def test_minus_1_whose_remark_says_that_there_is_no_such_order_is_unknown_to_the_platform(
    remark: str, mobile: str | None, is_callback: bool
) -> None:
    verdict = verdict_of(
        make_report(traffic_sts="-1", remark=remark, mobile=mobile, ori_amount="0"), is_callback=is_callback
    )
    assert (verdict.effect, verdict.attention) == (Effect.NONE, Attention.UNKNOWN_TO_PLATFORM)
    assert (verdict.is_denial, verdict.is_due_now) == (True, is_callback)


@pytest.mark.parametrize("remark", ["手机号码不存在", "无此套餐"])
def test_without_the_orders_mobile_such_words_are_a_denial(remark: str) -> None:
    assert verdict_of(make_report(traffic_sts="-1", remark=remark, mobile="1*")).is_denial


@given(
    remark=st.sampled_from([*NO_SUCH_ORDER, *REAL_FAILURES]) | st.text(max_size=20),
    mobile=st.sampled_from(SHOWS_NOTHING),
    amount=st.sampled_from(NO_CHARGE),
    order=st.sampled_from([make_order(), make_order(custom_parm="C1"), make_order(mobile=None), make_blind_order()]),
    request_id=st.sampled_from([None, "R1"]),
    polled_by=st.sampled_from([None, *IdKind]),
)
def test_no_minus_1_without_evidence_ever_settles(
    remark: str | None, mobile: str | None, amount: str | None, order: Order, request_id: str | None, polled_by: IdKind
) -> None:
    # The one id that the item may name is the one by which the order was polled.
    names = {"request_id": request_id if polled_by is IdKind.REQUEST_ID else None, "custom_parm": None}
    if polled_by is IdKind.CUSTOM_PARM:
        names["custom_parm"] = order.custom_parm
    said = make_report(traffic_sts="-1", remark=remark, mobile=mobile, ori_amount=amount, **names)
    verdict = judge(order, [said], app_id=APP_ID, polled_by=polled_by)
    assert verdict.effect is Effect.NONE
    assert verdict.attention is Attention.UNKNOWN_TO_PLATFORM


@given(
    remark=st.sampled_from(REAL_FAILURES),
    mobile=st.sampled_from([MOBILE, MASKED, "188*****804", "1881234****"]),
    amount=st.sampled_from(["0", "0.00", None, ""]),
    order=st.sampled_from([make_order(), make_order(custom_parm="C1"), make_order(mobile=None)]),
    is_callback=st.booleans(),
)
def test_every_real_failure_with_a_mobile_that_agrees_settles(
    remark: str | None, mobile: str, amount: str | None, order: Order, is_callback: bool
) -> None:
    said = make_report(traffic_sts="-1", remark=remark, mobile=mobile, ori_amount=amount)
    verdict = verdict_of(said, order=order, is_callback=is_callback)
    # An amount that is there but empty is for a person to compare.
    assert (verdict.effect, verdict.attention) == (Effect.FAILED, Attention.AMOUNT_MISMATCH if amount == "" else None)


CHINESE_DENIALS = [remark for remark in NO_SUCH_ORDER if not remark.isascii() and "ｏ" not in remark]
CHINESE_FAILURES = ["手机号码不存在", "无此套餐", "查无此号码", "余额不足", "号码已停机"]
BETWEEN = ["", " ", "  ", "\u3000", "\u00a0", "\t", "\n", "\u200b", "\u200d", "\ufeff", "\u2060", " \u200b "]
TRADITIONAL = str.maketrans("无订单号录没查记错误", "無訂單號錄沒査記錯誤")


@st.composite
def disguised(draw: st.DrawFn, remarks: list[str]) -> str:
    """A remark written apart, in traditional characters, with invisible characters, or all of these."""
    remark = draw(st.sampled_from(remarks))
    between = draw(st.lists(st.sampled_from(BETWEEN), min_size=len(remark), max_size=len(remark)))
    apart = "".join(character + gap for character, gap in zip(remark, between, strict=True))
    return apart.translate(TRADITIONAL) if draw(st.booleans()) else apart


@given(remark=disguised(CHINESE_DENIALS), mobile=st.sampled_from([MASKED, None]), tail=st.sampled_from(["", " E404"]))
@example("订 单 不 存 在", MASKED, "")
@example("無此訂單", MASKED, "")
@example("订单\u200b不存\u200d在", MASKED, "")
def test_a_denial_is_read_however_it_is_written_and_kept_as_it_was_said(
    remark: str, mobile: str | None, tail: str
) -> None:
    verdict = verdict_of(make_report(traffic_sts="-1", remark=remark + tail, mobile=mobile, ori_amount="0"))
    assert verdict.is_denial
    assert verdict.report.remark == remark + tail


@given(remark=disguised(CHINESE_FAILURES), mobile=st.sampled_from([MOBILE, MASKED]))
@example("手 机 号 码 不 存 在", MASKED)
@example("無此套餐", MASKED)
def test_a_real_failure_beside_the_orders_mobile_stays_one_however_it_is_written(remark: str, mobile: str) -> None:
    verdict = verdict_of(make_report(traffic_sts="-1", remark=remark, mobile=mobile, ori_amount="0"))
    assert verdict.effect is Effect.FAILED


BOTH = make_order(custom_parm="C1", mobile=None)
NAMES_BOTH = {"request_id": "R1", "custom_parm": "C1"}


@pytest.mark.parametrize(
    ("names", "polled_by", "is_evidence"),
    [
        (NAMES_BOTH, IdKind.REQUEST_ID, True),
        (NAMES_BOTH, IdKind.CUSTOM_PARM, True),
        (NAMES_BOTH, None, True),
        ({"custom_parm": None}, IdKind.REQUEST_ID, False),
        ({"request_id": None, "custom_parm": "C1"}, IdKind.CUSTOM_PARM, False),
        ({"custom_parm": None}, None, False),
        ({"request_id": None, "custom_parm": "C1"}, None, False),
    ],
)
def test_the_id_that_was_not_polled_by_is_evidence_and_in_a_callback_both_are(
    names: dict[str, str | None], polled_by: IdKind | None, is_evidence: bool
) -> None:
    said = make_report(traffic_sts="-1", remark=None, mobile=None, ori_amount="0", **names)
    assert (judge(BOTH, [said], app_id=APP_ID, polled_by=polled_by).effect is Effect.FAILED) is is_evidence


def test_a_charge_is_evidence_and_a_mismatch_beside_the_failure() -> None:
    verdict = verdict_of(make_report(traffic_sts="-1", mobile=None, ori_amount="2.94", remark=None))
    assert (verdict.effect, verdict.attention) == (Effect.FAILED, Attention.AMOUNT_MISMATCH)


@pytest.mark.parametrize(
    ("amount", "shown"), [("2.94", "2.94"), ("0.5000", "0.50"), ("-2.94", "-2.94"), ("free", "free")]
)
def test_minus_1_with_an_amount_other_than_zero_is_failed_with_an_amount_mismatch_beside_it(
    amount: str, shown: str
) -> None:
    verdict = verdict_of(make_report(traffic_sts="-1", ori_amount=amount))
    assert (verdict.effect, verdict.attention) == (Effect.FAILED, Attention.AMOUNT_MISMATCH)
    # As money where it can be read.
    assert verdict.reason == f"charged {shown} for a failed order"


@pytest.mark.parametrize("expected", [None, Decimal("2.9400")])
@pytest.mark.parametrize("is_callback", [True, False])
def test_an_echoed_price_of_a_failed_order_is_no_charge(expected: Decimal | None, is_callback: bool) -> None:
    order, said = make_order(expected_amount=expected), make_report(traffic_sts="-1", ori_amount="2.94")
    polled_by = None if is_callback else IdKind.REQUEST_ID
    verdict = judge(order, [said], app_id=APP_ID, polled_by=polled_by, echoes_price=True)
    assert (verdict.effect, verdict.amount, verdict.attention) == (Effect.FAILED, Decimal("2.94"), None)
    assert (verdict.amount_is_price, verdict.charged_amount) == (True, Decimal(0))


@pytest.mark.parametrize(
    ("status", "amount", "attention", "charged"),
    [
        ("-1", "3.00", Attention.AMOUNT_MISMATCH, "3.00"),
        ("-1", "free", Attention.AMOUNT_MISMATCH, None),
        ("-1", "0", None, "0"),
        ("-1", None, None, None),
        ("1", "2.94", None, "2.94"),
        ("1", "3.00", Attention.AMOUNT_MISMATCH, "3.00"),
    ],
)
def test_where_prices_are_echoed_any_other_amount_is_a_charge(
    status: str, amount: str | None, attention: Attention | None, charged: str | None
) -> None:
    order = make_order(expected_amount=Decimal("2.94"))
    said = make_report(traffic_sts=status, ori_amount=amount)
    verdict = judge(order, [said], app_id=APP_ID, polled_by=IdKind.REQUEST_ID, echoes_price=True)
    assert (verdict.attention, verdict.amount_is_price) == (attention, False)
    assert verdict.charged_amount == (None if charged is None else Decimal(charged))
