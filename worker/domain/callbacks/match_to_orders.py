"""Match the platform's callbacks to orders, and decide what they change.

A callback may only repeat an event that its order already has. Then the event counts the repetition, and nothing else
changes. So if an operator dismisses an attention, a repetition of the callback that raised it cannot raise it again.

An operator may link an unmatched callback to an order. The callback is then judged like any other. In addition, if the
callback has no id of the order, it must show the order's phone number.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from worker.domain.callbacks.bodies import Callback
from worker.domain.callbacks.hints import check_by_callback, poll_after_callback
from worker.domain.orders.operator_acts import Decided, account_refusal
from worker.domain.orders.settlement import settle
from worker.domain.orders.verdicts import Effect, judge
from worker.domain.records.accounts import Rules
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Directory, Rejection, Trust
from worker.domain.records.operators import Act
from worker.domain.records.order_changes import Change, EventKind, OrderEvent, Saying, learned_keys
from worker.domain.records.orders import Attention, Order, OrderKey, OrderState, Source
from worker.domain.records.sentences import _
from worker.domain.wire.fields import shows_mobile

NOTHING_SAID: Mapping[Saying, int] = MappingProxyType({})

_TWO_ORDERS = CodedText(TextCode.TWO_ORDERS)
_NO_ACCOUNT = _("appid: is missing or unknown, and no single account follows from the ids; send it with its appid")
# The kinds of events by which a callback about an order that is no longer pending is recorded without settling the
# order.
_REPEATED = frozenset({EventKind.IGNORED, EventKind.CONTRADICTED, EventKind.NOT_BELIEVED})


@dataclass(kw_only=True, slots=True)
class CallbackResult:
    """The result of a list of callbacks."""

    settled: int = 0
    unchanged: int = 0
    checked: int = 0
    """How many callbacks have requested a poll of their order (`Trust.CHECK`). `unchanged` counts these callbacks,
    too."""
    unmatched: list[tuple[OrderKey, Callback]] = field(default_factory=list)
    """Callbacks whose order is unknown. They are kept until the order is known."""
    rejections: list[Rejection] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    repeated: Counter[int] = field(default_factory=Counter)
    """How often callbacks have repeated each stored event, by the event's id."""

    @property
    def keys(self) -> list[OrderKey]:
        """The keys to match with the kept callbacks after the commit: the keys of unmatched callbacks, and of orders
        that learned an id."""
        return [*(key for key, _ in self.unmatched), *learned_keys(self.changes)]


def key_in(account: str, callback: Callback) -> OrderKey:
    """Return the key by which a callback names an order of an account."""
    return OrderKey(account=account, request_id=callback.report.request_id, custom_parm=callback.report.custom_parm)


def apply_callbacks(
    callbacks: Sequence[tuple[int, Callback]],
    orders: Sequence[Order],
    app_ids: Mapping[str, str],
    now: datetime,
    rules: Rules,
    said: Mapping[Saying, int] = NOTHING_SAID,
) -> CallbackResult:
    """Decide what a list of callbacks changes, one callback after the other.

    Each item of `callbacks` is (index in the list, callback). `orders` are all orders that the callbacks can name.
    `app_ids` gives the app id of each configured account. `said` maps what stored events of these orders say to the ids
    of the events. A callback that says the same as a stored event changes nothing.
    """
    matcher, result = CallbackMatcher(orders, app_ids, rules, said), CallbackResult()
    for index, callback in callbacks:
        account = matcher.account_of(callback)
        if account is None:
            result.rejections.append(Rejection(index=index, payload=callback.payload, errors=(_NO_ACCOUNT,)))
            continue
        key = key_in(account, callback)
        named = matcher.orders_of(key)
        if not named:
            result.unmatched.append((key, callback))
        elif matcher.apply(named, callback, now):
            result.settled += 1
        else:
            result.unchanged += 1
    result.changes, result.checked, result.repeated = matcher.changes, matcher.checked, matcher.repeated
    return result


def apply_kept_callbacks(
    kept: Sequence[tuple[int, str, Callback]],
    orders: Sequence[Order],
    app_ids: Mapping[str, str],
    now: datetime,
    rules: Rules,
    said: Mapping[Saying, int] = NOTHING_SAID,
) -> tuple[list[int], CallbackResult]:
    """Decide what kept callbacks change. Return the ids of the kept callbacks whose order is known by now, and the
    result.

    Each item of `kept` is (id, account, callback). If the account of a callback is no longer configured, the callback
    stays kept. `said` is the same as for `apply_callbacks`.
    """
    matcher, matched = CallbackMatcher(orders, app_ids, rules, said), []
    for kept_id, account, callback in kept:
        named = matcher.orders_of(key_in(account, callback))
        if named and account in app_ids:
            matcher.apply(named, callback, now)
            matched.append(kept_id)
    return matched, CallbackResult(changes=matcher.changes, repeated=matcher.repeated)


class CallbackMatcher:
    """Applies a list of callbacks, one after the other, to the orders that the callbacks can name."""

    def __init__(
        self, orders: Sequence[Order], app_ids: Mapping[str, str], rules: Rules, said: Mapping[Saying, int]
    ) -> None:
        self.checked = 0
        """How many callbacks have requested a poll of their order."""
        self.repeated = Counter[int]()
        """How often callbacks have repeated each stored event, by the event's id."""
        self._said = said
        self._rules = rules
        self._changes = {order.id: Change.none(order) for order in orders}
        self._app_ids = app_ids
        self._directory = Directory(orders)
        self._accounts = defaultdict[str | None, set[str]](set)
        """Maps each id, of either kind, to the accounts in which an order may have this id."""
        for order in orders:
            self._accounts[order.request_id].add(order.account)
            self._accounts[order.custom_parm].add(order.account)

    @property
    def changes(self) -> list[Change]:
        """One change for each order, with everything that the callbacks have changed so far. An event that was repeated
        is contained once."""
        return each_once(self._changes.values())

    def account_of(self, callback: Callback) -> str | None:
        """Return the account that the callback is about. If it can be about several accounts, return the only one of
        these that has the order. Return None if several of these have it, or none."""
        possible, ids = callback.accounts(self._app_ids), {callback.report.request_id, callback.report.custom_parm}
        if len(possible) == 1:
            return possible[0]
        if None not in ids:
            # An account whose order has both ids goes before accounts whose orders have only one of the two ids.
            exact = [one for one in self._accounts[callback.report.request_id] if self._has_both(one, callback)]
            if len(exact) == 1 and exact[0] in possible:
                return exact[0]
        named = {account for name in ids - {None} for account in self._accounts[name] if account in possible}
        known = {account for account in named if self.orders_of(key_in(account, callback))}
        return known.pop() if len(known) == 1 else None

    def _has_both(self, account: str, callback: Callback) -> bool:
        """Whether the callback's ids name exactly one order of the account, and that order has both of them."""
        key = key_in(account, callback)
        return [order.key for order in self.orders_of(key)] == [key]

    def orders_of(self, key: OrderKey) -> list[Order]:
        """Return the orders that a key names: none, or one, or two if the two ids of the key belong to different
        orders."""
        return [self._changes[order_id].after for order_id in self._directory.holders(key)]

    def apply(self, orders: Sequence[Order], callback: Callback, now: datetime) -> bool:
        """Judge the callback, and change the orders that it names. Return whether the callback settled one of these
        orders."""
        if callback.trust is Trust.CHECK:
            self._check(orders, callback, now)
            return False
        contradiction = _TWO_ORDERS if len(orders) > 1 else None
        settled = False
        for order in orders:
            app_id = self._app_ids[order.account]
            verdict = judge(
                order,
                [callback.report],
                app_id=app_id,
                polled_by=None,
                contradiction=contradiction,
                echoes_price=order.account in self._rules.echoing_accounts,
            )
            change = settle(order, verdict, source=Source.CALLBACK, now=now)
            settled = settled or change.settles
            self._enter(change, callback)
            proves_nothing = verdict.is_due_now or verdict.effect is Effect.DUE_NOW
            if proves_nothing and order.state is OrderState.UNRESOLVED:
                entered = self._changes[order.id]
                self._changes[order.id] = entered.then(poll_after_callback(entered.after, now, self._rules))
            if change.after.request_id != order.request_id:
                self._directory.enter(change.after.key, order.id)
                self._accounts[change.after.request_id].add(order.account)
        return settled

    def _check(self, orders: Sequence[Order], callback: Callback, now: datetime) -> None:
        # If the callback's ids belong to two orders, it changes neither, because nobody knows which one the callback
        # means.
        for order in orders if len(orders) == 1 else ():
            change = check_by_callback(order, callback.report, now, self._rules, app_id=self._app_ids[order.account])
            self._enter(change, callback)
            self.checked += any(event.kind is EventKind.CHECK_REQUESTED for event in change.events)

    def _enter(self, change: Change, callback: Callback) -> None:
        repeated = repeated_by(change, self._said)
        for event_id in repeated:
            self.repeated[event_id] += 1 + callback.repeats
        if not repeated:
            order_id, events = change.before.id, with_repeats(change.events, callback.repeats)
            self._changes[order_id] = self._changes[order_id].then(change.after, events)


def sayings_of(changes: Iterable[Change]) -> list[Saying]:
    """Return what the callbacks behind these changes said about orders that were no longer pending."""
    return [saying for change in changes for event in change.events if (saying := _saying(event))]


def shown_sayings_of(changes: Iterable[Change]) -> list[Saying]:
    """Return the sayings of those changes that change the order's attention, and so would show the order to a
    person."""
    return sayings_of(change for change in changes if change.after.attention is not change.before.attention)


def repeated_by(change: Change, said: Mapping[Saying, int]) -> list[int]:
    """Return the ids of the stored events that this change repeats. `said` maps what stored events say to their ids."""
    return [said[saying] for saying in sayings_of([change]) if saying in said]


def with_repeats(events: Sequence[OrderEvent], times: int) -> Sequence[OrderEvent]:
    """Return the events of a callback with `times` more repeats: the callback came again this often before its order
    was known."""
    return [replace(event, repeats=(event.repeats or 0) + times) for event in events] if times else events


def each_once(changes: Iterable[Change]) -> list[Change]:
    """Return the changes without repeated events. If several events of a change say the same, only the first is left,
    and its `repeats` counts the others."""
    return [replace(change, events=_each_once(change.events)) for change in changes]


def _each_once(events: Sequence[OrderEvent]) -> tuple[OrderEvent, ...]:
    kept: dict[object, OrderEvent] = {}
    for number, event in enumerate(events):
        key = _saying(event) or number
        first = kept.get(key)
        if first is None:
            kept[key] = event
        else:
            kept[key] = replace(first, repeats=(first.repeats or 0) + 1 + (event.repeats or 0))
    return tuple(kept.values())


def _saying(event: OrderEvent) -> Saying | None:
    is_said_late = event.from_state not in (None, OrderState.PENDING)
    if not is_said_late or event.source is not Source.CALLBACK or event.kind not in _REPEATED:
        return None
    return Saying(event.order_id, event.kind, event.traffic_sts, event.ori_amount, event.detail)


_ABOUT_ANOTHER = (Attention.CONFLICTING_ANSWER, Attention.MOBILE_MISMATCH)


def link_callback(
    order: Order, kept: tuple[str, Callback], named: Sequence[int], act: Act, app_ids: Mapping[str, str], rules: Rules
) -> Decided:
    """Return the change of the order, with the operator's act and the effects of the callback; or why the callback
    cannot be about the order.

    `kept` is (the callback's account, the callback). `named` are the row ids of the account's orders that the callback
    names. There are none as long as the callback is unmatched.
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
