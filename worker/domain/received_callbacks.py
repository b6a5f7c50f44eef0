"""Callbacks that come over HTTP, by the address of an account: which are refused, and which only repeat another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from worker.domain.callback_bodies import BodyFault, read_body, shown_body
from worker.domain.callbacks import Callback, read_callback
from worker.domain.records.incoming import Rejection, Trust
from worker.domain.records.order_changes import Change, EventKind, OrderEvent, Saying
from worker.domain.records.orders import OrderState, Source
from worker.domain.records.storable_text import storable

_LONGEST_SHOWN = 64
# What a callback leaves behind with an order that it does not settle.
_REPEATED = frozenset({EventKind.IGNORED, EventKind.CONTRADICTED, EventKind.NOT_BELIEVED})


def receive(account: str, app_id: str, body: bytes, content_type: str | None, trust: Trust) -> Callback | Rejection:
    """Read a body that was posted to an account's address; or say why it is refused, for a person.

    The address alone decides whose callback it is: one with the `appid` of another account is refused, so that who
    holds the token of one account can do nothing to the orders of another.
    """
    payload: object = shown_body(body)
    try:
        payload = read_body(body, content_type)
    except BodyFault as fault:
        return _refused(account, payload, (f"callback: {fault}",))
    callback = read_callback(payload)
    if isinstance(callback, tuple):
        return _refused(account, payload, callback)
    named = callback.report.app_id
    if named not in (None, app_id):
        return _refused(
            account, payload, (f"appid: {storable(str(named), _LONGEST_SHOWN)} is not that of this account",)
        )
    return replace(callback, account=account, trust=trust)


def _refused(account: str, payload: object, errors: tuple[str, ...]) -> Rejection:
    return Rejection(index=None, payload=payload, errors=(*errors, f"address: that of account {account}"))


def sayings_of(changes: Sequence[Change]) -> list[Saying]:
    """What callbacks said about orders that were no longer pending."""
    return [_saying(event) for change in changes for event in change.events if _may_repeat(event)]


def without_repeats(changes: Sequence[Change], known: Mapping[Saying, int]) -> tuple[list[Change], list[int]]:
    """The changes without events that only repeat another, and the ids of the stored events that are repeated, one for
    each repeat.

    `known` are the stored events of these orders, by what they say. Whatever changes an order has an event of its own.
    """
    kept, repeated = [], []
    for change in changes:
        is_changed = change.after != change.before
        events: dict[object, OrderEvent] = {}
        for number, event in enumerate(change.events):
            key = _saying(event) if _may_repeat(event) else number
            if isinstance(key, Saying) and key in known and not is_changed:
                repeated.append(known[key])
            elif key in events:
                events[key] = replace(events[key], repeats=(events[key].repeats or 0) + 1)
            else:
                events[key] = event
        kept.append(replace(change, events=tuple(events.values())))
    return kept, repeated


def _may_repeat(event: OrderEvent) -> bool:
    is_said_late = event.from_state not in (None, OrderState.PENDING)
    return is_said_late and event.source is Source.CALLBACK and event.kind in _REPEATED


def _saying(event: OrderEvent) -> Saying:
    return Saying(order_id=event.order_id, kind=event.kind, detail=event.detail)
