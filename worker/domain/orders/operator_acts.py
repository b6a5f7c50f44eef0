"""The acts of an operator on an order. Each act makes a recorded change, or is refused with a reason.

A person makes these decisions, and the records name that person. Later answers and callbacks are judged as usual: an
order that a person has made final keeps its state, and a contradiction is shown.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from worker.domain.orders.settlement import poll_again_now
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.operators import Act, ActKind
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Attention, Order, OrderState, Source
from worker.domain.records.sentences import Sentence, _
from worker.domain.wire.fields import amount_text, is_fit

MAX_ACTOR_LENGTH = 64
MAX_REASON_LENGTH = 1_000
ACTOR_RULE = _("1 to %(most)s characters, no control character, no blank at either end", MAX_ACTOR_LENGTH)
REASON_RULE = _("1 to %(most)s characters on one line", f"{MAX_REASON_LENGTH:,}")

_SEEN = (
    *("account", "request_id", "custom_parm", "mobile", "expected_amount", "state", "traffic_sts", "remark"),
    *("ori_amount", "settled_by", "attention", "submitted_at", "settled_at", "reopened_at", "dismissed_at"),
)

Decided = Change | CodedText
"""A change, or a refusal."""
Standing = tuple[OrderState, Attention | None]
"""The state and the attention of an order, as a list shows them."""


def actor_fault(name: str) -> Sentence | None:
    """Why a text cannot be an operator's name; None if it can."""
    is_name = name.strip() == name and is_fit(name, MAX_ACTOR_LENGTH)
    return None if is_name else _("is no name; accepted: %(rule)s", ACTOR_RULE)


def reason_fault(reason: str) -> Sentence | None:
    """Why a text cannot be a reason; None if it can."""
    is_reason = bool(reason.strip()) and is_fit(reason, MAX_REASON_LENGTH)
    return None if is_reason else _("is no reason; accepted: %(rule)s", REASON_RULE)


def applies(kind: ActKind, state: OrderState, attention: Attention | None) -> bool:
    """Whether an act makes sense for an order with this state and attention."""
    match kind:
        case ActKind.RESOLVE:
            return not state.is_final
        case ActKind.DISMISS:
            # An unresolved order needs a person, whatever its attention.
            return attention is not None and state is not OrderState.UNRESOLVED
        case ActKind.CHECK:
            return state is OrderState.PENDING
        case ActKind.CANCEL:
            return state.may_settle
        case ActKind.NOTE:
            return True
    # The act is REOPEN or RESEND. A pending order need not be reopened, and has no result to send again.
    return state is not OrderState.PENDING


def most_needed(state: OrderState, attention: Attention | None) -> ActKind | None:
    """The act that an order with this state and attention needs most; None if it needs no act, or if a person must
    choose one."""
    if state is OrderState.PENDING:
        return ActKind.CHECK if attention is None else ActKind.RESOLVE
    return ActKind.RESOLVE if state is OrderState.UNRESOLVED else None


def refusal(kind: ActKind, order: Order) -> CodedText | None:
    """Why an act does not make sense for this order; None if it does."""
    if applies(kind, order.state, order.attention):
        return None
    codes = {
        ActKind.DISMISS: TextCode.NEEDS_A_PERSON if order.state is OrderState.UNRESOLVED else TextCode.NO_ATTENTION,
        ActKind.CHECK: TextCode.IS_NOT_PENDING,
        ActKind.REOPEN: TextCode.IS_PENDING,
        ActKind.RESEND: TextCode.NO_RESULT,
    }
    otherwise = TextCode.IS_FINAL if order.state.is_final else TextCode.IS_SO
    return _refusal(order, codes.get(kind, otherwise), state=order.state)


def is_settled_by_platform(order: Order) -> bool:
    """Whether a query or a callback has made the order final. Such an order is reopened only with `force`."""
    return order.state.is_final and order.settled_by is not Source.OPERATOR


def resolve(order: Order, act: Act, *, state: OrderState, amount: Decimal | None) -> Decided:
    """Make an order final because an operator says so. `state` is final; a success has an amount.

    `traffic_sts` and `remark` stay as the platform said them.
    """
    if why := refusal(ActKind.RESOLVE, order):
        return why
    after = order.no_longer_polled(
        state, settled_by=Source.OPERATOR, settled_at=act.now, ori_amount=amount, attention=None
    )
    words = None if order.attention is None else CodedText(TextCode.ATTENTION_WAS, attention=order.attention)
    said = None if amount is None else amount_text(amount)
    return _change(order, after, EventKind.SETTLED, act, words, ori_amount=said)


def reopen(order: Order, act: Act, *, force: bool = False, is_polled_next: bool = True) -> Decided:
    """Make an order pending again and due now, as if the platform had said nothing about it.

    `force`: reopen it even if a query or a callback has settled it. `is_polled_next`: poll it before others, like an
    order with a requested check; if false, its poll priority decides. The order keeps the time of its last poll.
    Otherwise, it would count as never polled and have the highest priority. A large number of reopened orders would
    then keep new orders out of every batch.
    """
    if why := refusal(ActKind.REOPEN, order):
        return why
    if is_settled_by_platform(order) and not force:
        who = "the platform" if order.settled_by is None else f"a {order.settled_by.value}"
        return _refusal(order, TextCode.SETTLED_BY_PLATFORM, who=who)
    after = replace(
        order.no_longer_polled(OrderState.PENDING).out_of_suspicion().not_denied(),
        traffic_sts=None,
        remark=None,
        ori_amount=None,
        amount_is_price=False,
        settled_by=None,
        settled_at=None,
        attention=None,
        due_at=act.now,
        check_requested_at=act.now if is_polled_next else None,
        absences=0,
        absence_mark=0,
        reopened_at=act.now,
        dismissed_at=None,
    )
    return _change(order, after, EventKind.REOPENED, act, result_of(order))


def result_of(order: Order) -> CodedText:
    """The result that an order loses when it is reopened, for its history."""
    amount = None if order.ori_amount is None else amount_text(order.ori_amount)
    lost = {
        "by": order.settled_by,
        "price" if order.amount_is_price else "ori_amount": amount,
        "shown": order.attention,
    }
    return CodedText(TextCode.RESULT_WAS, state=order.state, **{name: one for name, one in lost.items() if one})


def reopen_unresolved(order: Order, act: Act) -> Decided:
    """Reopen an order that a filter selected as unresolved; refuse if it is no longer unresolved."""
    if order.state is not OrderState.UNRESOLVED:
        return _refusal(order, TextCode.IS_BY_NOW, state=order.state)
    return reopen(order, act, is_polled_next=False)


def what_is_seen(order: Order) -> tuple[object, ...]:
    """The values that an operator's decision depends on. A poll without news raises the order's version, but does not
    change these values."""
    return tuple(getattr(order, name) for name in _SEEN)


def unless_changed(order: Order, act: Act, *, seen: Order, decide: Callable[[Order, Act], Decided]) -> Decided:
    """Decide about an order; refuse if it has changed since the operator saw it."""
    is_as_seen = what_is_seen(order) == what_is_seen(seen)
    return decide(order, act) if is_as_seen else _refusal(order, TextCode.HAS_CHANGED)


def refusal_of_selected(
    order: Order, shown: Mapping[int, Standing | None], changed: Container[int]
) -> CodedText | None:
    """Why an order of a selection is left alone; None if it may be acted on.

    `shown`: the state and attention of each selected order when somebody confirmed the act; the order must still have
    both. `changed`: the orders about which something was heard after the confirmation.
    """
    is_as_shown = shown.get(order.id) == (order.state, order.attention) and order.id not in changed
    return None if is_as_shown else _refusal(order, TextCode.HAS_CHANGED)


def account_refusal(account: str, configured: Container[str]) -> CodedText | None:
    """Why an order of this account cannot be polled; None if the settings name the account."""
    return None if account in configured else CodedText(TextCode.NOT_CONFIGURED, account=account)


def cancel(order: Order, act: Act) -> Decided:
    """Stop polling an order that has been dealt with in another way."""
    if why := refusal(ActKind.CANCEL, order):
        return why
    return _change(order, order.no_longer_polled(OrderState.CANCELLED), EventKind.CANCELLED, act)


def dismiss(order: Order, act: Act) -> Decided:
    """Clear an order's attention. Something new may raise it again."""
    if why := refusal(ActKind.DISMISS, order):
        return why
    # Time alone raises `TOO_OLD`, without anything new. So remember the dismissal, or `TOO_OLD` would come back by
    # itself.
    is_for_time = order.attention is Attention.TOO_OLD
    after = replace(order, attention=None, dismissed_at=act.now if is_for_time else order.dismissed_at)
    words = CodedText(TextCode.DISMISSED, attention=str(order.attention))
    return _change(order, after, EventKind.DISMISSED, act, words)


def dismiss_selected(order: Order, act: Act, *, reason: Attention) -> Decided:
    """Clear the attention of an order that a filter selected by the attention `reason`; refuse if the order now has
    another one."""
    if order.attention is not reason:
        return _refusal(order, TextCode.OTHER_ATTENTION, attention=reason)
    return dismiss(order, act)


def check(order: Order, act: Act) -> Decided:
    """Have a pending order polled next."""
    if why := refusal(ActKind.CHECK, order):
        return why
    marked = replace(poll_again_now(order, act.now), check_requested_at=act.now)
    return _change(order, marked, EventKind.CHECK_REQUESTED, act)


def note(order: Order, act: Act) -> Decided:
    """Add an operator's note (the reason of the act) to the history. The order does not change."""
    return _change(order, order, EventKind.NOTE, act)


def _refusal(order: Order, why: TextCode, **values: str) -> CodedText:
    return CodedText(why, order=str(order.key), **values)


def _change(
    before: Order, after: Order, kind: EventKind, act: Act, words: CodedText | None = None, **said: Any
) -> Change:
    said |= {"detail": act.detail(words), "actor": act.actor}
    return Change.none(before).record(after, kind, source=Source.OPERATOR, at=act.now, **said)
