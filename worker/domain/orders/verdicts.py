"""Judge what one item of an answer or a callback proves. A final state follows only from positive evidence.

A remark may say that the platform does not know the order. Platforms word this in many ways, so a remark is searched
for two parts: a word that means an order, and words that mean "is not found". If the item shows the order's mobile
number, both parts are needed; if not, the second is enough. Any other remark is the reason for a real failure. An
ambiguous remark counts as a denial, because a denied order is polled again, while a failed order is refunded.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Report
from worker.domain.records.orders import Attention, IdKind, Order, TrafficStatus
from worker.domain.wire.fields import amount_text, masked_mobile_may_be, read_amount, shows_mobile

# Some platforms write characters in other forms than the patterns below: replace them by the forms in the patterns.
# Replace _ and - by blanks, because they join the words of error codes.
_PLAIN = str.maketrans(
    "無訂單號錄沒査記紀纪錯誤詢檢尋條筆編數據結該這對應關戶帳賬碼機電話產證餘額歸屬權請創庫丟’_-",
    "无订单号录没查记记记错误询检寻条笔编数据结该这对应关户账账码机电话产证余额归属权请创库丢'  ",
)
# Words that mean an order. Words that only contain 单, such as 名单, 清单 and 单位, do not mean an order.
_SLIP = "订?(?<![名菜清简])单(?![位月日])"
_ORDER = (
    rf"(?:{_SLIP}|笔充值|请求 ?(?:号|id)|(?:记录|流水|交易)(?!权|密码)|数据(?!套餐|流量|包|业务)|查?询?结果"
    r"|order|record|transaction|request ?id)"
)
# Words for other things that a platform may fail to find, so that a recharge fails: a number or its owner, a product or
# its channel.
_NUMBER = (
    r"(?:(?<!单)号码|号段|手机|电话|用户|客户|会员|账[户号]|运营商"
    r"|(?<!order )(?<!record )number|phone|mobile|msisdn|subscriber|user|customer|account)"
)
_PRODUCT = (
    r"(?:渠道|通道|套餐|产品|商品|面[值额]|余额|归属|流量包|接口|供应商|货源|库存|权限"
    rf"|channel|route|product|package|plan|stock)(?!的?{_ORDER})"
)
_FIND = "(?:查询|查找|查|寻找|找|搜索|搜|检索|匹配)"
# Words for "is not found".
_NOT_FOUND = (
    rf"(?:(?:未能?|没有?能?|无法){_FIND}[到得出见着]|(?:未能?|没有?能?)发现|{_FIND}不[到出着]|{_FIND}无(?![法需效])"
    r"|n[o']t ?(?:be ?)?(?:found|located)|no ?such"
    r"|(?:can ?not|can't|could ?not|couldn't|did ?not|didn't|unable to) ?(?:find|locate))"
)
_NOT_THERE = r"(?:不存在|不在(?:本|该|我们?)?(?:系统|平台)|n[o']t ?exist)"
_NONE = r"(?:无|没有?|不存在|(?:未|没有?)接?收到|(?<![a-z])(?:no|unknown) ?)"
_THIS = r"(?:此|该|这|对应|相[关应])"
_WHICH = rf"(?:{_THIS}|任何|匹配|符合|满足|条件|有效|的|充值|历史|[一1]?[条笔个张]|matching |corresponding |such )"
# Words for an order's id, and for "is wrong".
_ORDER_ID = rf"(?:{_SLIP}编?号码?|流水号|(?:订单|请求) ?(?:号|id)|(?:order|request) ?(?:id|n(?:umber|o)(?![a-z])))"
_DIGITS = r"[^a-z\u3400-\u9fff]{0,80}"
_INVALID = r"(?:(?:is )?(?:invalid|wrong|incorrect) ?|无效|非法|未知)"
_TAKE_IN = "(?:受理|入库|创建|生成)"
_NOT_YET = "[尚还暂并]"
# If one of these words follows, the remark gives another reason: the order exists, but something about it is wrong.
_REASON = (
    rf"(?:充值)?(?:{_NUMBER}|{_PRODUCT}|金额|价格|数量|状态|类型|时间|参数|来源|原因|错误|异常|操作|成功|停机|空号|维护"
    r"|卡(?![单在住])|地[市区]|amount|quantity|balance|price|value|denomination|type|status|parameter|card|pin|sim"
    r"|fail|reject|cancel|declin)"
)
_NO_REASON = rf"(?!(?:\W|[的其该此]|无效|wrong|invalid|incorrect|insufficient|the )*{_REASON})"
# Last characters of words for other things. If one comes just before "invalid", then it is this thing that is invalid
# and not the order, as in "number invalid, order failed" without the comma.
_NAME_END = "[码号密段机户员商道游餐品值额份属地型态数因务名求]"
_NO_OTHER = f"(?<!{_NAME_END})(?<!{_NAME_END}{_NOT_YET})"
_OF_SOMETHING = re.compile(rf"{_NOT_FOUND}|{_NOT_THERE}|(?:无|没有?){_THIS}")
_OF_AN_ORDER = re.compile(
    # "not found: the order"; "no such order"; "the order is not found"; "wrong order number".
    rf"{_NOT_FOUND}(?:(?!{_PRODUCT})[^，,。；;！!]){{0,20}}?{_ORDER}(?!.{{0,4}}{_PRODUCT})"
    rf"|{_NONE}(?:(?<!不存在)|(?={_THIS})){_WHICH}*{_ORDER}"
    rf"|{_ORDER}(?:(?!{_NUMBER}|{_PRODUCT})[^。；;！!]){{0,80}}?"
    rf"(?:{_NOT_THERE}|{_NOT_FOUND}(?!.{{0,6}}(?:{_NUMBER}|{_PRODUCT})))"
    rf"|{_NOT_FOUND}(?:相关|任何)?信息|(?:查询|结果|数据|记录|订单)为空(?!号)|{_FIND}{_WHICH}*{_SLIP}\W*无(?!\w)"
    rf"|{_ORDER_ID}(?:错误|有误|不正确|不对|{_DIGITS}{_INVALID}(?! ?的?{_REASON}))"
    # "invalid order" and "order invalid"; "the order was lost", or "not taken in".
    rf"|{_NO_OTHER}{_INVALID}{_WHICH}*(?:{_ORDER_ID}|(?:订单|order){_NO_REASON})|(?:订单|order ?){_INVALID}{_NO_REASON}"
    rf"|订单(?:(?:信息|数据|记录|已)*丢失|{_NOT_YET}?未{_TAKE_IN}){_NO_REASON}"
    rf"|{_NO_OTHER}(?:未|没有?){_TAKE_IN}过?{_WHICH}*{_SLIP}{_NO_REASON}"
    r"|(?:no ?data|nothing) ?found|order (?:is )?(?:unknown|missing)|order.{0,9}not in (?:our|the|this) system"
    rf"|(?:no ?such request|request ?(?:(?:is|was|does|can|could) ?)?(?:{_NOT_THERE}|{_NOT_FOUND})){_NO_REASON}"
)


def denies_order(remark: str, *, shows_number: bool) -> bool:
    """Whether a remark says that there is no such order.

    If the item shows the order's own mobile number (`shows_number`), only a remark with a word for an order says so. In
    that case, `手机号码不存在` and `无此套餐` are reasons for real failures.
    """
    patterns = (_OF_AN_ORDER,) if shows_number else (_OF_AN_ORDER, _OF_SOMETHING)
    return any(pattern.search(form) for form in _plain_forms(remark) for pattern in patterns)


def _plain_forms(remark: str) -> list[str]:
    """The forms of a remark that are searched for words.

    A remark that holds Chinese is searched twice: without blanks and invisible characters, and with them, because it
    may also hold English words.
    """
    words = " ".join(unicodedata.normalize("NFKC", remark).casefold().translate(_PLAIN).split())
    if not any("\u3400" <= character <= "\u9fff" for character in words):
        return [words]
    seen = (character for character in words if not character.isspace() and unicodedata.category(character) != "Cf")
    return [words, "".join(seen)]


class Effect(Enum):
    """The effect of an item on its order, as far as the effect does not depend on the order's state."""

    NONE = "settles nothing"
    PENDING = "still recharging"
    DUE_NOW = "poll now: a success without an amount field"
    SUCCEEDED = "recharged"
    FAILED = "not recharged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The judgement on the items about one order."""

    effect: Effect
    report: Report
    """The item that the judgement rests on."""
    amount: Decimal | None = None
    amount_is_price: bool = False
    """Whether `amount` is the price of a failed order, and not a charge."""
    attention: Attention | None = None
    reason: CodedText | None = None
    """Why nothing was believed, or what a person should check; else None."""
    is_due_now: bool = False
    """Whether a pending order must be polled now, although nothing was settled."""

    @property
    def is_believed(self) -> bool:
        """Whether the item is accepted: the order takes its status, remark and amount."""
        return self.effect in _BELIEVED

    @property
    def charged_amount(self) -> Decimal | None:
        """The charged amount; None if the item names no readable amount."""
        return Decimal(0) if self.amount_is_price else self.amount

    @property
    def is_denial(self) -> bool:
        """Whether the item says, or cannot rule out, that the platform does not know the order."""
        return self.effect is Effect.NONE and self.attention is Attention.UNKNOWN_TO_PLATFORM


_BELIEVED = frozenset({Effect.PENDING, Effect.SUCCEEDED, Effect.FAILED})
# If there are several items for one id, this many are recorded in addition to the first.
_OTHERS_SHOWN = 4


def judge(
    order: Order,
    reports: Sequence[Report],
    *,
    app_id: str,
    polled_by: IdKind | None,
    contradiction: CodedText | None = None,
    echoes_price: bool = False,
) -> Verdict:
    """Judge the items (one or more) that name an order.

    Checks are made one after the other, and the first one that finds something decides. `app_id` is the account's app
    id. `polled_by` is the id kind of the query; None for a callback. `contradiction` is a reason that only the caller
    can see, such as an id that belongs to another row. `echoes_price` says that this platform repeats the price of a
    failed order.
    """
    report = reports[0]
    conflict = contradiction or _conflict(order, reports, app_id)
    if conflict:
        return settles_nothing(report, Attention.CONFLICTING_ANSWER, _beside_others(conflict, reports))
    if report.mobile and order.mobile and not masked_mobile_may_be(report.mobile, order.mobile):
        reason = CodedText(TextCode.OTHER_MOBILE, mobile=report.mobile)
        return settles_nothing(report, Attention.MOBILE_MISMATCH, reason)
    match report.status:
        case TrafficStatus.RECHARGING:
            return Verdict(effect=Effect.PENDING, report=report, amount=read_amount(report.ori_amount))
        case TrafficStatus.RECHARGED:
            return _success(order, report, is_callback=polled_by is None)
        case TrafficStatus.FAILED:
            return _failure(order, report, polled_by, echoes_price=echoes_price)
        case _:
            reason = CodedText(TextCode.UNKNOWN_STATUS, status=repr(report.traffic_sts))
            return settles_nothing(report, Attention.UNKNOWN_STATUS, reason)


def _conflict(order: Order, reports: Sequence[Report], app_id: str) -> CodedText | None:
    if len(reports) > 1:
        return CodedText(TextCode.ITEMS_DIFFER, count=len(reports))
    report = reports[0]
    if report.fault:
        if isinstance(report.fault, CodedText):
            return report.fault.having(unreadable="")
        return CodedText(TextCode.ITEM_UNREADABLE, fault=report.fault)
    if report.app_id is not None and report.app_id != app_id:
        return CodedText(TextCode.OTHER_APP_ID, app_id=report.app_id)
    if None not in (report.custom_parm, order.custom_parm) and report.custom_parm != order.custom_parm:
        return CodedText(TextCode.OTHER_CUSTOM_PARM, custom_parm=str(report.custom_parm))
    if None not in (report.request_id, order.request_id) and report.request_id != order.request_id:
        return CodedText(TextCode.OTHER_REQUEST_ID, request_id=str(report.request_id))
    return None


def _beside_others(conflict: CodedText, reports: Sequence[Report]) -> CodedText:
    others = [report.words for report in reports[1 : 1 + _OTHERS_SHOWN]]
    return conflict.having(others=", ".join(others)) if others else conflict


def _success(order: Order, report: Report, *, is_callback: bool) -> Verdict:
    amount = read_amount(report.ori_amount)
    if amount is None:
        if is_callback and not report.has_amount_field:
            return Verdict(effect=Effect.DUE_NOW, report=report, reason=CodedText(TextCode.NO_AMOUNT))
        reason = CodedText(TextCode.AMOUNT_UNREADABLE, amount=repr(report.ori_amount))
        return settles_nothing(report, Attention.CONFLICTING_ANSWER, reason)
    if order.expected_amount is not None and order.expected_amount != amount:
        charged, expected = amount_text(amount), amount_text(order.expected_amount)
        reason = CodedText(TextCode.AMOUNT_DIFFERS, charged=charged, expected=expected)
        return Verdict(
            effect=Effect.SUCCEEDED, report=report, amount=amount, attention=Attention.AMOUNT_MISMATCH, reason=reason
        )
    return Verdict(effect=Effect.SUCCEEDED, report=report, amount=amount)


def _failure(order: Order, report: Report, polled_by: IdKind | None, *, echoes_price: bool) -> Verdict:
    """Judge an item with status -1. The order counts as failed only if the item shows that the platform knows the
    order; otherwise, a refund may be wrong."""
    amount = read_amount(report.ori_amount)
    shows_number = shows_mobile(report.mobile, order.mobile)
    if not (shows_number or (amount is not None and amount > 0) or _names_other_id(order, report, polled_by)):
        return _denial(report, polled_by, TextCode.NO_EVIDENCE)
    if denies_order(report.remark or "", shows_number=shows_number):
        return _denial(report, polled_by, TextCode.DENIED)
    if echoes_price and amount and order.expected_amount in (None, amount):
        return Verdict(effect=Effect.FAILED, report=report, amount=amount, amount_is_price=True)
    if amount != 0 and report.ori_amount is not None:
        charged = report.ori_amount if amount is None else amount_text(amount)
        reason = CodedText(TextCode.FAILURE_CHARGED, charged=charged)
        return Verdict(
            effect=Effect.FAILED, report=report, amount=amount, attention=Attention.AMOUNT_MISMATCH, reason=reason
        )
    return Verdict(effect=Effect.FAILED, report=report, amount=amount)


def _names_other_id(order: Order, report: Report, polled_by: IdKind | None) -> bool:
    """Whether the item names the order's other id, the one that the query did not use. An item of a callback must name
    both ids.

    An echo of the id in the request proves nothing: a platform that does not know the order echoes it, too.
    """
    by_request_id = order.request_id is not None and report.request_id == order.request_id
    by_custom_parm = order.custom_parm is not None and report.custom_parm == order.custom_parm
    if polled_by is None:
        return by_request_id and by_custom_parm
    return by_custom_parm if polled_by is IdKind.REQUEST_ID else by_request_id


def _denial(report: Report, polled_by: IdKind | None, reason: TextCode) -> Verdict:
    return Verdict(
        effect=Effect.NONE,
        report=report,
        attention=Attention.UNKNOWN_TO_PLATFORM,
        reason=CodedText(reason),
        # A callback may be wrong, so the order is polled at once: an answer may say something else.
        is_due_now=polled_by is None,
    )


def settles_nothing(report: Report, attention: Attention, reason: CodedText) -> Verdict:
    """The verdict on an item that is not believed."""
    return Verdict(effect=Effect.NONE, report=report, attention=attention, reason=reason)
