"""What one item of an answer or a callback proves: a final state follows only from positive evidence."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from worker.domain.records.orders import Attention, Order
from worker.domain.records.reports import IdKind, Report, TrafficStatus
from worker.domain.wire.field_rules import amount_text, masked_mobile_may_be, read_amount, shows_mobile


class Effect(Enum):
    """What an item does to its order, as far as that does not depend on the order's state."""

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
    """Whether `amount` is the price of a failed order, and no charge."""
    attention: Attention | None = None
    reason: str = ""
    """Why nothing was believed, or what a person should check; else empty."""
    is_due_now: bool = False
    """Whether a pending order is to be polled now, although nothing was settled."""

    @property
    def is_believed(self) -> bool:
        """Whether the item was accepted: its status, remark and amount are the order's now."""
        return self.effect in _BELIEVED

    @property
    def charged_amount(self) -> Decimal | None:
        """What was charged; None where the item names no readable amount."""
        return Decimal(0) if self.amount_is_price else self.amount

    @property
    def is_denial(self) -> bool:
        """Whether the item says, or cannot rule out, that the platform does not know the order."""
        return self.effect is Effect.NONE and self.attention is Attention.UNKNOWN_TO_PLATFORM


_BELIEVED = frozenset({Effect.PENDING, Effect.SUCCEEDED, Effect.FAILED})
# How many of several items for one id are recorded beside the first.
_OTHERS_SHOWN = 4
_DENIALS = (
    *("不存在", "未找到", "查无", "无此", "没有找到", "订单号错误"),
    *("not found", "not exist", "no such"),
)
# The characters of these words that platforms also write otherwise.
_SIMPLIFIED = str.maketrans("無訂單號錄沒査記錯誤", "无订单号录没查记错误")
# Beside the order's number a denial may be about something else: 手机号码不存在 and 无此套餐 are real failures.
_OF_AN_ORDER = ("单", "记录", "order", "record")


def judge(
    order: Order,
    reports: Sequence[Report],
    *,
    app_id: str,
    polled_by: IdKind | None,
    contradiction: str | None = None,
    echoes_price: bool = False,
) -> Verdict:
    """Judge the items (one or more) that name an order.

    `app_id` is the account's own; `polled_by` is the id kind of the query, None for a callback; `contradiction` is a
    reason that only the caller can see (an id that belongs to another row); `echoes_price` says that this platform
    repeats the price of a failed order. The first finding that applies decides.
    """
    report = reports[0]
    conflict = contradiction or _conflict(order, reports, app_id)
    if conflict:
        return _nothing(report, Attention.CONFLICTING_ANSWER, conflict + _words_of_others(reports))
    if report.mobile and order.mobile and not masked_mobile_may_be(report.mobile, order.mobile):
        return _nothing(report, Attention.MOBILE_MISMATCH, f"mobile {report.mobile} cannot be the order's")
    match report.status:
        case TrafficStatus.RECHARGING:
            return Verdict(effect=Effect.PENDING, report=report, amount=read_amount(report.ori_amount))
        case TrafficStatus.RECHARGED:
            return _success(order, report, is_callback=polled_by is None)
        case TrafficStatus.FAILED:
            return _failure(order, report, polled_by, echoes_price=echoes_price)
        case _:
            return _nothing(
                report, Attention.UNKNOWN_STATUS, f"trafficSts {report.traffic_sts!r} is neither 1, 0 nor -1"
            )


def _conflict(order: Order, reports: Sequence[Report], app_id: str) -> str | None:
    if len(reports) > 1:
        return f"{len(reports)} items for one id that differ"
    report = reports[0]
    if report.fault:
        return f"unreadable item: {report.fault}"
    if report.app_id is not None and report.app_id != app_id:
        return f"appid {report.app_id} is not the account's"
    if None not in (report.custom_parm, order.custom_parm) and report.custom_parm != order.custom_parm:
        return f"customParm {report.custom_parm} is not the order's"
    if None not in (report.request_id, order.request_id) and report.request_id != order.request_id:
        return f"requestId {report.request_id} is not the order's"
    return None


def _words_of_others(reports: Sequence[Report]) -> str:
    others = [report.words for report in reports[1 : 1 + _OTHERS_SHOWN]]
    return f", beside the first {', '.join(others)}" if others else ""


def _success(order: Order, report: Report, *, is_callback: bool) -> Verdict:
    amount = read_amount(report.ori_amount)
    if amount is None:
        if is_callback and not report.has_amount_field:
            return Verdict(effect=Effect.DUE_NOW, report=report, reason="a success without an amount: poll for it")
        return _nothing(report, Attention.CONFLICTING_ANSWER, f"1 without a readable oriAmount ({report.ori_amount!r})")
    if order.expected_amount is not None and order.expected_amount != amount:
        reason = f"charged {amount_text(amount)}, expected {amount_text(order.expected_amount)}"
        return Verdict(
            effect=Effect.SUCCEEDED, report=report, amount=amount, attention=Attention.AMOUNT_MISMATCH, reason=reason
        )
    return Verdict(effect=Effect.SUCCEEDED, report=report, amount=amount)


def _failure(order: Order, report: Report, polled_by: IdKind | None, *, echoes_price: bool) -> Verdict:
    """A -1 is a failure only where the platform shows that it knows the order; else a refund is uncertain."""
    amount = read_amount(report.ori_amount)
    shows_number = shows_mobile(report.mobile, order.mobile)
    if not (shows_number or (amount is not None and amount > 0) or _names_other_id(order, report, polled_by)):
        return _denial(report, polled_by, "-1 without evidence that the platform knows the order")
    if _denies_order(report.remark or "", shows_number=shows_number):
        return _denial(report, polled_by, "-1 that says there is no such order")
    if echoes_price and amount and order.expected_amount in (None, amount):
        return Verdict(effect=Effect.FAILED, report=report, amount=amount, amount_is_price=True)
    if amount != 0 and report.ori_amount is not None:
        charged = report.ori_amount if amount is None else amount_text(amount)
        reason = f"charged {charged} for a failed order"
        return Verdict(
            effect=Effect.FAILED, report=report, amount=amount, attention=Attention.AMOUNT_MISMATCH, reason=reason
        )
    return Verdict(effect=Effect.FAILED, report=report, amount=amount)


def _names_other_id(order: Order, report: Report, polled_by: IdKind | None) -> bool:
    """Whether the item names the order's id that it was not polled by; a callback has to name both.

    An echo of the id in the request proves nothing: a platform that does not know the order echoes it, too.
    """
    by_request_id = order.request_id is not None and report.request_id == order.request_id
    by_custom_parm = order.custom_parm is not None and report.custom_parm == order.custom_parm
    if polled_by is None:
        return by_request_id and by_custom_parm
    return by_custom_parm if polled_by is IdKind.REQUEST_ID else by_request_id


def _denies_order(remark: str, *, shows_number: bool) -> bool:
    forms = _plain_forms(remark)
    if not any(denial in words for denial in _DENIALS for words in forms):
        return False
    return not shows_number or any(word in words for word in _OF_AN_ORDER for words in forms)


def _plain_forms(remark: str) -> list[str]:
    """A remark as it is searched for words. One that holds Chinese also without blanks and invisible characters; with
    its blanks too, as it may hold English words besides."""
    words = " ".join(unicodedata.normalize("NFKC", remark).casefold().split()).translate(_SIMPLIFIED)
    if not any("\u3400" <= character <= "\u9fff" for character in words):
        return [words]
    seen = (character for character in words if not character.isspace() and unicodedata.category(character) != "Cf")
    return [words, "".join(seen)]


def _denial(report: Report, polled_by: IdKind | None, reason: str) -> Verdict:
    return Verdict(
        effect=Effect.NONE,
        report=report,
        attention=Attention.UNKNOWN_TO_PLATFORM,
        reason=reason,
        # A callback may be wrong where an answer is right: the order is polled at once.
        is_due_now=polled_by is None,
    )


def _nothing(report: Report, attention: Attention, reason: str) -> Verdict:
    return Verdict(effect=Effect.NONE, report=report, attention=attention, reason=reason)
