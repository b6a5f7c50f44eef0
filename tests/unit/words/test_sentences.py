"""What events, acts and refusals say is in Chinese on Chinese pages, by its code; what has no code stands as it is."""

import copy
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.unit.domain.builders import NOW, RULES, make_order, make_report
from worker.domain.notifications.events import choose_resends
from worker.domain.orders.operator_acts import cancel, dismiss, reopen, reopen_unresolved, resolve, unless_changed
from worker.domain.orders.settlement import flag_overdue, settle
from worker.domain.orders.verdicts import judge
from worker.domain.records.coded_texts import CodedText, TextCode, to_columns, with_code
from worker.domain.records.operators import Act
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Attention, IdKind, OrderState, Source
from worker.domain.wire.fields import read_report
from worker.words import ENGLISH, Skin
from worker.words.catalogue import translations
from worker.words.sentences import detail_text, with_times

ACT = Act(actor="ann", reason="asked 王", now=NOW)
UNRESOLVED = make_order(state=OrderState.UNRESOLVED, attention=Attention.UNKNOWN_TO_PLATFORM)
PAID = make_order(state=OrderState.SUCCEEDED, settled_by=Source.QUERY, ori_amount=Decimal("2.94"))
CHINESE = translations("zh").gettext
PLACE = re.compile(r"%\(\w+\)s")
AT = "2026-01-31T12:00:00+00:00"
PLACE_NAME = re.compile(r"%\((\w+)\)s")


def in_chinese(detail: str | None) -> str:
    return detail_text(detail, Skin(translate=CHINESE))


def full(code: TextCode) -> CodedText:
    """The sentence of a code with all that may stand before and behind it."""
    counted = ("orders", "archived_orders", "rejected_orders", "unmatched_callbacks", "platform_queries")
    around = ("order", "unreadable", "field", "ori_amount", "price", "item", "others", "said")
    places = (one for one in PLACE_NAME.findall(code.value) if one != "done")
    values = dict.fromkeys((*places, *counted, *around), "值")
    names = {"raised": Attention.TOO_OLD, "shown": Attention.LATE_CONFLICT, "by": Source.QUERY}
    kept = {
        "state": OrderState.FAILED,
        "attention": Attention.TOO_OLD,
        **dict.fromkeys(("time", "until"), AT),
        "lasts": "60 s",
    }
    return CodedText(code, **{**values, **names, **{name: kept.get(name, one) for name, one in values.items()}})


def conflict() -> Change:
    reports = [make_report(), make_report(traffic_sts="-1", words='{"second":1}')]
    verdict = judge(make_order(), reports, app_id=str(reports[0].app_id), polled_by=IdKind.REQUEST_ID)
    return settle(make_order(), verdict, source=Source.QUERY, now=NOW)


def unreadable() -> Change:
    verdict = judge(make_order(), [read_report({"oriAmount": True})], app_id="", polled_by=IdKind.REQUEST_ID)
    return settle(make_order(), verdict, source=Source.QUERY, now=NOW)


@pytest.mark.parametrize("code", [code for code in TextCode if PLACE.sub("", code.value)], ids=lambda code: code.code)
def test_each_code_has_a_sentence_in_chinese_with_the_same_values(code: TextCode) -> None:
    chinese = CHINESE(code.value)
    assert chinese != code.value
    assert sorted(PLACE.findall(chinese)) == sorted(PLACE.findall(code.value))
    assert len(code.code) <= 32


@pytest.mark.parametrize(
    ("decide", "english", "chinese"),
    [
        (
            lambda: resolve(UNRESOLVED, ACT, state=OrderState.FAILED, amount=None),
            *("was unknown_to_platform: asked 王", "原为：平台查无此单：asked 王"),
        ),
        (
            lambda: reopen(PAID, ACT, force=True),
            *(
                "was succeeded, by query, charged 2.94: asked 王",
                "原为：成功，平台（查询），实扣金额 2.94：asked 王",
            ),
        ),
        (
            lambda: reopen(replace(PAID, amount_is_price=True, attention=Attention.LATE_CONFLICT), ACT, force=True),
            *(
                "was succeeded, by query, price 2.94, late_conflict: asked 王",
                "原为：成功，平台（查询），面额 2.94，结果冲突：asked 王",
            ),
        ),
        (
            lambda: dismiss(replace(UNRESOLVED, state=OrderState.PENDING), ACT),
            *("unknown_to_platform: asked 王", "平台查无此单：asked 王"),
        ),
        (lambda: cancel(UNRESOLVED, ACT), "asked 王", "asked 王"),
        (
            lambda: flag_overdue(make_order(), NOW + timedelta(days=365), RULES),
            *("still pending 3600 s past the age limit", "超过时限约 1 小时仍在处理中"),
        ),
        (
            unreadable,
            *(
                'unreadable item: oriAmount: neither text nor a number: {"oriAmount":true}',
                '回复内容无法识别：oriAmount：既不是文本也不是数字：{"oriAmount":true}',
            ),
        ),
        (
            conflict,
            *(
                '2 items for one id that differ, beside the first {"second":1}: {"requestId":"R1"}',
                '同一订单号有 2 条不一致的结果，除第一条外还有 {"second":1}：{"requestId":"R1"}',
            ),
        ),
    ],
)
def test_an_event_says_what_was_decided(decide: Callable[[], Change], english: str, chinese: str) -> None:
    detail = decide().events[-1].detail
    assert (detail, in_chinese(detail)) == (english, chinese)


def test_a_refusal_names_its_order() -> None:
    changed = unless_changed(make_order(), ACT, seen=make_order(remark="x"), decide=cancel)
    by_now = reopen_unresolved(make_order(state=OrderState.CANCELLED), ACT)
    missing = choose_resends([7], (), (), {}).refusals[7]
    said = [in_chinese(one) for one in (changed, by_now, missing) if isinstance(one, CodedText)]
    name = make_order().key
    assert said == [f"订单 {name}：在此期间已变化", f"订单 {name}：现在的状态是已取消", "没有订单 id:7"]


def test_a_table_holds_the_sentence_its_code_and_its_values() -> None:
    detail = CodedText(TextCode.LEFT_OUT_ALONE, count=3, raised=Attention.UNKNOWN_TO_PLATFORM)
    row = to_columns(detail)
    assert to_columns(str(detail)) == {**row, "detail_code": None, "detail_values": None}
    assert row == {
        "detail": "unknown_to_platform: polled alone, left out 3 times in a row",
        "detail_code": "left_out_alone",
        "detail_values": '{"count":"3","raised":"unknown_to_platform"}',
    }
    read = with_code({"id": 1, **row, "detail": "as an earlier release worded it"})
    assert read == {"id": 1, "detail": "as an earlier release worded it"}
    assert in_chinese(read["detail"]) == in_chinese(detail) == "平台查无此单：单独查询，连续 3 次回复中缺少"


def test_what_the_platform_said_is_stored_in_the_sentence_alone_and_read_back() -> None:
    item, other = '{"remark":"%(said)s, 王"}' * 80, '{"second":1}' * 150
    detail = CodedText(TextCode.AMOUNT_DIFFERS, charged="3.00", expected="2.94", item=item, others=other, said=item)
    row = to_columns(detail)
    assert len(row["detail_values"] or "") < 120
    read = with_code(row)["detail"]
    assert (read, read.values, in_chinese(read)) == (detail, detail.values, in_chinese(detail))
    assert to_columns(read) == row


def pickled(one: CodedText) -> CodedText:
    read: CodedText = pickle.loads(pickle.dumps(one))  # noqa: S301  # our own bytes
    return read


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_a_coded_text_is_copied_and_pickled_with_its_values(again: Callable[[CodedText], CodedText]) -> None:
    one = CodedText(TextCode.LEFT_OUT, stored="as an earlier release worded it", count=3)
    other = again(one)
    assert (other, other.code, other.values) == (one, one.code, one.values)


@pytest.mark.parametrize("code", TextCode, ids=lambda code: code.code)
def test_chinese_has_no_mark_of_half_width(code: TextCode) -> None:
    chinese = in_chinese(full(code)).replace(str(datetime.fromisoformat(AT)), "")
    assert not re.search("[,:;()]", chinese), chinese


def test_times_are_those_of_the_reader() -> None:
    skin = Skin(translate=CHINESE, time=lambda time: f"{time + timedelta(hours=8):%H:%M}")
    times = {"time": "2026-01-31 12:00:00Z", "until": "2026-01-31T13:00:00+00:00"}
    overdue = CodedText(TextCode.OVERDUE, lasts="5400 s")
    assert with_times(overdue, ENGLISH) == "still pending 1.5 hours past the age limit"
    detail = CodedText(TextCode.BACK_OFF_SHORTENED, **times)
    assert with_times(detail, skin) == "ended a back-off until 20:00; the platform asked to wait until 21:00"
    assert detail_text(detail, skin) == "结束了至 20:00 的暂缓查询；平台要求等待至 21:00"
    assert with_times("until 2026-01-31 12:00:00Z", skin) == "until 2026-01-31 12:00:00Z"


def test_what_was_done_is_counted_in_the_language_of_the_reader() -> None:
    detail = CodedText(TextCode.DONE_BEFORE, archived_orders="1,000", platform_queries="2", time=AT)
    assert detail.startswith("archived_orders: 1,000, platform_queries: 2; from before 2026")
    assert in_chinese(detail).startswith("已归档订单：1,000、查询记录：2；2026")


@pytest.mark.parametrize("code", [None, "of_a_later_release"])
@pytest.mark.parametrize("detail", [None, "left out of 3 answers in a row", '{"requestId": "r1"}', "账目已核对"])
def test_what_has_no_known_code_is_shown_as_it_is(detail: str | None, code: str | None) -> None:
    read = with_code({"detail": detail, "detail_code": code, "detail_values": code and "{}"})
    assert in_chinese(read["detail"]) == (detail or "")


def test_who_has_settled_an_order_is_said_in_chinese() -> None:
    for who, said in ((Source.QUERY, "查询"), (Source.CALLBACK, "回调"), (None, "平台")):
        refusal = reopen(replace(PAID, settled_by=who), ACT)
        assert isinstance(refusal, str)
        assert f"结果来自{said}；" in in_chinese(refusal)
