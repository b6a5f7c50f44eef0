"""Check orders and references from the billing system field by field, and decide what is kept of refused input.

Refused input may be retried: `read_refused` returns its kind and its items.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from worker.domain.records.incoming import RefusedText, Rejection, Submission, Unread, storable
from worker.domain.records.orders import OrderKey
from worker.domain.records.sentences import Sentence, _, to_json
from worker.domain.wire.fields import (
    AMOUNT_RULE,
    MOBILE_RULE,
    id_fault,
    json_type,
    names_a_row,
    normalise_mobile,
    order_id_fault,
    read_amount,
)
from worker.domain.wire.strict_json import words_of

Item = TypeVar("Item")

DEFAULT_ACCOUNT = "default"
MAX_LIST = 1000
AHEAD_ALLOWED = timedelta(minutes=5)

_FIRST_YEAR = 2000
_TIME_RULE = _(
    "ISO 8601 with an offset, such as 2016-01-31T18:05:00+08:00, at most 5 minutes ahead and not before the year 2000"
)
ORDER_FIELDS = ("request_id", "custom_parm", "mobile", "account", "submitted_at", "expected_amount")
_REFERENCE_FIELDS = ("request_id", "custom_parm", "account")
_LONGEST_PAYLOAD = 1_000_000
_LONGEST_ERRORS = 10_000
_GONE = _("is not there: it was retried already, or there never was such a row; `reconciler rejected` lists them")


def read_list(items: object, what: str) -> tuple[list[object], tuple[Rejection, ...]]:
    """The items of a task's argument; or one rejection of the whole argument if it is not a list of 1 to 1000 items."""
    if isinstance(items, Unread):
        errors = items.errors
    elif not isinstance(items, list):
        errors = (_("%(what)s: must be a list, not %(type)s", Sentence(what), json_type(items)),)
    elif not 1 <= len(items) <= MAX_LIST:
        named, count = Sentence(what), len(items)
        errors = (_("%(what)s: the list has %(count)s items; accepted: 1 to 1000, send more in parts", named, count),)
    else:
        return items, ()
    return [], (Rejection(index=None, payload=items, errors=errors),)


def read_items(
    items: object, what: str, read: Callable[[object], Item | tuple[Sentence, ...]]
) -> tuple[list[tuple[int, object, Item]], list[Rejection]]:
    """Check each item of a task's list. Return (index, payload, read item) of each good item, and the rejections.

    `read` returns the read item, or the tuple of its faults.
    """
    listed, refusals = read_list(items, what)
    good: list[tuple[int, object, Item]] = []
    refused = list(refusals)
    for index, item in enumerate(listed):
        result = read(item)
        if isinstance(result, tuple):
            refused.append(Rejection(index=index, payload=item, errors=result))
        else:
            good.append((index, item, result))
    return good, refused


def read_order(item: object, accounts: Collection[str], now: datetime) -> Submission | tuple[Sentence, ...]:
    """Check one order. Return it, or all its faults; each fault names its field and what is accepted."""
    if isinstance(item, Unread):
        return item.errors
    if not isinstance(item, Mapping):
        return (_("order: must be an object, not %(type)s", json_type(item)),)
    faults: list[Sentence] = _unknown_fields(item, ORDER_FIELDS)
    key = _read_key(item, accounts, faults)
    # A new order must not have an id that commands read as the name of a row, such as `id:42`. A reference may have
    # such an id, because an earlier release took in orders with such ids.
    faults.extend(
        _("%(what)s: %(value)s is how commands name a row; accepted: any other id", field, name)
        for field, name in (("request_id", key.request_id), ("custom_parm", key.custom_parm))
        if name is not None and names_a_row(name)
    )
    mobile = _read_mobile(item.get("mobile"), faults)
    amount = _read_expected_amount(item.get("expected_amount"), faults)
    submitted_at = _read_time(item.get("submitted_at"), now, faults)
    if item.get("request_id") is None and item.get("custom_parm") is not None and item.get("mobile") is None:
        faults.append(_("mobile: is missing; an order known by custom_parm alone needs it, as the only witness"))
    if faults:
        return tuple(faults)
    return Submission(key=key, mobile=mobile, expected_amount=amount, submitted_at=submitted_at)


def read_reference(item: object, accounts: Collection[str]) -> OrderKey | tuple[Sentence, ...]:
    """Check one reference to an order. Return its key, or all its faults."""
    if not isinstance(item, Mapping):
        return (_("reference: must be an object, not %(type)s", json_type(item)),)
    faults: list[Sentence] = _unknown_fields(item, _REFERENCE_FIELDS)
    key = _read_key(item, accounts, faults)
    return tuple(faults) or key


def refused_texts(rejections: Iterable[Rejection], *, are_orders: bool = False) -> list[RefusedText]:
    """The texts of refused input that are stored. For refused orders, each also holds the order key that the payload
    names.

    The first 1,000,000 characters of a payload are kept. If a payload is longer, a line among the errors says so.
    """
    return [_texts_of(one)._replace(key=_key_named_in(one.payload) if are_orders else None) for one in rejections]


def _key_named_in(payload: object) -> OrderKey | None:
    given = {name: one for name, one in payload.items() if one is not None} if isinstance(payload, Mapping) else {}
    named = {"account": DEFAULT_ACCOUNT, **given}
    ids = {name: named[name] for name in _REFERENCE_FIELDS if id_fault(named.get(name)) is None}
    return OrderKey(**ids) if "account" in ids and len(ids) > 1 else None


def _unknown_fields(item: Mapping[str, object], known: Collection[str]) -> list[Sentence]:
    unknown, rule = (_shown(name) for name in item if name not in known), ", ".join(known)
    return [_("%(name)s: is not a known field; accepted: %(names)s", name, rule) for name in unknown]


def _read_key(item: Mapping[str, object], accounts: Collection[str], faults: list[Sentence]) -> OrderKey:
    account = item.get("account")
    account = DEFAULT_ACCOUNT if account is None else account
    request_id, custom_parm = item.get("request_id"), item.get("custom_parm")
    if not (isinstance(account, str) and account in accounts):
        configured = ", ".join(sorted(accounts)) or _("none")
        unknown = id_fault(account) or _("%(value)s is not configured; accepted: %(rule)s", account, configured)
        faults.append(_("%(what)s: %(reason)s", "account", unknown))
    for name, value in (("request_id", request_id), ("custom_parm", custom_parm)):
        if value is not None and (fault := order_id_fault(value)):
            faults.append(_("%(what)s: %(reason)s", name, fault))
    if request_id is None and custom_parm is None:
        faults.append(_("request_id: is missing; accepted: request_id, custom_parm, or both"))
    return OrderKey(account=_text(account) or "", request_id=_text(request_id), custom_parm=_text(custom_parm))


def _read_mobile(value: object, faults: list[Sentence]) -> str | None:
    if value is None:
        return None
    mobile = normalise_mobile(value) if isinstance(value, str) else None
    if mobile is None:
        faults.append(_("mobile: %(value)s is no mobile number; accepted: %(rule)s", _shown(value), MOBILE_RULE))
    return mobile


def _read_expected_amount(value: object, faults: list[Sentence]) -> Decimal | None:
    if value is None:
        return None
    amount = read_amount(value) if isinstance(value, str) else None
    if amount is None:
        shown = _shown(value)
        why = _("expected_amount: %(value)s is no amount; accepted: a string that holds %(rule)s", shown, AMOUNT_RULE)
        faults.append(why)
    return amount


def _read_time(value: object, now: datetime, faults: list[Sentence]) -> datetime:
    if value is None:
        return now
    try:
        # ISO 8601 allows a lowercase "z", but Python does not read it.
        text = f"{value[:-1]}Z" if isinstance(value, str) and value.endswith("z") else value
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        time = None
    if time is None or time.utcoffset() is None:
        shown = _shown(value)
        faults.append(_("submitted_at: %(given)s is no time with an offset; accepted: %(rule)s", shown, _TIME_RULE))
        return now
    is_ahead = time - now > AHEAD_ALLOWED
    if is_ahead or time.year < _FIRST_YEAR:
        fault = _("more than 5 minutes ahead") if is_ahead else _("too long ago")
        faults.append(_("submitted_at: %(value)s is %(fault)s; accepted: %(rule)s", _shown(value), fault, _TIME_RULE))
        return now
    # Convert the time to UTC, because databases accept fewer offsets than Python does.
    return time.astimezone(UTC)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _shown(value: object) -> str:
    # Quote only text, and show the type of any other value: Python cannot write very long numbers or very deep lists.
    # repr() shows Chinese as it is, and escapes invisible characters.
    return repr(value[:60]) if isinstance(value, str) else json_type(value)


def _texts_of(rejection: Rejection) -> RefusedText:
    payload, said = _json(rejection.payload), list(rejection.errors)
    errors = "\n".join(said)
    if len(payload) > _LONGEST_PAYLOAD:
        kept, whole = _LONGEST_PAYLOAD, len(payload)
        shortened = _("payload: shortened; kept are the first %(kept)s of %(all)s characters", kept, whole)
        said.append(shortened)
        errors = f"{errors[: _LONGEST_ERRORS - len(shortened) - 1]}\n{shortened}"
    errors = storable(errors, _LONGEST_ERRORS)
    lines = set(errors.split("\n"))
    errors_said = to_json(one for one in said if one in lines)
    return RefusedText(payload=storable(payload, _LONGEST_PAYLOAD), errors=errors, errors_said=errors_said)


def _json(payload: object) -> str:
    if isinstance(payload, Unread):
        return payload.text
    try:
        return json.dumps(payload, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        # The payload cannot be written as JSON, because it is nested too deeply or holds too long a number. The error
        # is caught here: otherwise, the task would be retried for ever.
        return words_of(payload)


class InputKind(StrEnum):
    """What refused input was meant to be."""

    ORDERS = "orders"
    CALLBACKS = "callbacks"


_KIND_OF = {
    "reconciler.enqueue_orders": InputKind.ORDERS,
    "reconciler.enqueue_order": InputKind.ORDERS,
    "reconciler enqueue": InputKind.ORDERS,
    "reconciler.record_callbacks": InputKind.CALLBACKS,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedInput:
    """A refused row that can be retried."""

    kind: InputKind
    parts: tuple[list[object], ...]
    """The items of the row, split into lists that are short enough to be accepted."""
    is_list: bool
    """Whether a whole list was refused. If so, each item that is refused again gets a row of its own."""


@dataclass(kw_only=True, slots=True)
class Retried:
    """The result of retrying a refused row."""

    done: int = 0
    """Items that were taken in, or were known already."""
    rejections: list[Rejection] = field(default_factory=list)
    """The rejections of the items that were refused again. These items are stored as refused input again."""
    fault: Sentence | None = None
    """Why nothing was retried; None if something was."""
    keys: list[OrderKey] = field(default_factory=list)
    """The keys of orders that were taken in. Stored callbacks may wait for these orders."""


def gone() -> Retried:
    """The result for a row that is not there."""
    return Retried(fault=_GONE)


def read_refused(source: str, payload: str, errors: str) -> RefusedInput | Sentence:
    """The input that a refused row holds, or the reason why the row cannot be retried."""
    if errors.startswith("message:"):
        # The row holds the raw message, not a list of items.
        return _("is a message that was refused unread: have it sent again")
    kind = _KIND_OF.get(source)
    if kind is None:
        return _("came from %(origin)s, which is not retried: have it sent again", source)
    try:
        held = json.loads(payload)
    except (ValueError, RecursionError):
        return _("was kept in part only, or is no JSON: have it sent again")
    items = held if isinstance(held, list) else [held]
    if not items:
        return _("is an empty list: there is nothing to retry")
    parts = tuple(items[start : start + MAX_LIST] for start in range(0, len(items), MAX_LIST))
    return RefusedInput(kind=kind, parts=parts, is_list=isinstance(held, list))


def errors_of(rejections: Sequence[Rejection]) -> list[Sentence]:
    """The errors of the items that were refused again, to be shown to a person."""
    return [error for rejection in rejections for error in rejection.errors]
