"""What one item of an answer or a callback proves: a final state follows only from positive evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from worker.domain.orders.denials import denies_order
from worker.domain.records.answers import Report
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.orders import Attention, IdKind, Order, TrafficStatus
from worker.domain.wire.fields import amount_text, masked_mobile_may_be, read_amount, shows_mobile


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
    reason: CodedText | None = None
    """Why nothing was believed, or what a person should check; else None."""
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

    `app_id` is the account's own; `polled_by` is the id kind of the query, None for a callback; `contradiction` is a
    reason that only the caller can see (an id that belongs to another row); `echoes_price` says that this platform
    repeats the price of a failed order. The first finding that applies decides.
    """
    report = reports[0]
    conflict = contradiction or _conflict(order, reports, app_id)
    if conflict:
        return _nothing(report, Attention.CONFLICTING_ANSWER, _beside_others(conflict, reports))
    if report.mobile and order.mobile and not masked_mobile_may_be(report.mobile, order.mobile):
        return _nothing(report, Attention.MOBILE_MISMATCH, CodedText(TextCode.OTHER_MOBILE, mobile=report.mobile))
    match report.status:
        case TrafficStatus.RECHARGING:
            return Verdict(effect=Effect.PENDING, report=report, amount=read_amount(report.ori_amount))
        case TrafficStatus.RECHARGED:
            return _success(order, report, is_callback=polled_by is None)
        case TrafficStatus.FAILED:
            return _failure(order, report, polled_by, echoes_price=echoes_price)
        case _:
            reason = CodedText(TextCode.UNKNOWN_STATUS, status=repr(report.traffic_sts))
            return _nothing(report, Attention.UNKNOWN_STATUS, reason)


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
        return _nothing(report, Attention.CONFLICTING_ANSWER, reason)
    if order.expected_amount is not None and order.expected_amount != amount:
        charged, expected = amount_text(amount), amount_text(order.expected_amount)
        reason = CodedText(TextCode.AMOUNT_DIFFERS, charged=charged, expected=expected)
        return Verdict(
            effect=Effect.SUCCEEDED, report=report, amount=amount, attention=Attention.AMOUNT_MISMATCH, reason=reason
        )
    return Verdict(effect=Effect.SUCCEEDED, report=report, amount=amount)


def _failure(order: Order, report: Report, polled_by: IdKind | None, *, echoes_price: bool) -> Verdict:
    """A -1 is a failure only where the platform shows that it knows the order; else a refund is uncertain."""
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
    """Whether the item names the order's id that it was not polled by; a callback has to name both.

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
        # A callback may be wrong where an answer is right: the order is polled at once.
        is_due_now=polled_by is None,
    )


def _nothing(report: Report, attention: Attention, reason: CodedText) -> Verdict:
    return Verdict(effect=Effect.NONE, report=report, attention=attention, reason=reason)
