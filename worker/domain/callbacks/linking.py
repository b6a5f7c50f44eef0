"""An unmatched callback of which an operator says that it is about an order: what it changes of it, or why nothing.

It is judged as any callback is, and has to show more: where it shares no id with the order, the order's phone number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from worker.domain.callbacks.bodies import Callback
from worker.domain.callbacks.matching import NOTHING_SAID, CallbackMatcher
from worker.domain.orders.operator_acts import Decided, account_refusal
from worker.domain.orders.verdicts import judge
from worker.domain.records.accounts import Rules
from worker.domain.records.acts import Act
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Attention, Order, Source
from worker.domain.wire.fields import shows_mobile

_ABOUT_ANOTHER = (Attention.CONFLICTING_ANSWER, Attention.MOBILE_MISMATCH)


def link_callback(
    order: Order, kept: tuple[str, Callback], named: Sequence[int], act: Act, app_ids: Mapping[str, str], rules: Rules
) -> Decided:
    """The order with the act and with what the callback changes; or why it cannot be about the order.

    `kept` are the callback's account and the callback; `named` the ids of the orders there that it names: none, as long
    as it is unmatched.
    """
    account, callback = kept
    if why := _refusal(order, account, callback, named, app_ids):
        return why
    matcher = CallbackMatcher([order], app_ids, rules, NOTHING_SAID)
    matcher.apply([order], callback, act.now)
    (change,) = matcher.changes
    words = act.detail(CodedText(TextCode.UNMATCHED_CALLBACK, callback=callback.report.words))
    who = {"actor": act.actor, "detail": words}
    linked = Change.none(order).record(order, EventKind.LINKED, source=Source.OPERATOR, at=act.now, **who)
    return replace(change, events=(*linked.events, *change.events))


def _refusal(
    order: Order, account: str, callback: Callback, named: Sequence[int], app_ids: Mapping[str, str]
) -> CodedText | None:
    if order.account != account:
        return CodedText(TextCode.OTHER_ACCOUNT, account=account)
    if why := account_refusal(account, app_ids):
        return why
    if {*named} - {order.id}:
        return CodedText(TextCode.NAMES_OTHER)
    verdict = judge(order, [callback.report], app_id=app_ids[account], polled_by=None)
    if verdict.attention in _ABOUT_ANOTHER:
        return verdict.reason
    is_shown = order.mobile is not None and shows_mobile(callback.report.mobile, order.mobile)
    return None if named or is_shown else CodedText(TextCode.NO_WITNESS)
