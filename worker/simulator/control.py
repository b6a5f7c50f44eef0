"""The control endpoint, under `/simulator/` on the platform's own port, for tests, the demo and people.

- `GET /simulator/health`: `{"status": "ok"}`
- `GET /simulator/record[?after=N]`: arrivals, violations, smallest spacings, counts
- `GET /simulator/truth`: `{"orders": [...]}`, the truth about each order now
- `POST /simulator/orders`: `{"orders": [...]}`, each with the fields of `worker.simulator.orders.NewOrder`; all are
  placed or none
- `POST /simulator/faults`: the fields of `worker.simulator.faults.Faults`; they replace those in force
- `POST /simulator/answers`: the fields of `worker.simulator.answers.AnswerStyle`, in the same way

What a field may hold follows from its type; one that is left out, or null, takes its default. Unknown fields and wrong
types are answered with 400 and `{"error": "..."}`, by name.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints
from urllib.parse import parse_qs, urlsplit

from worker.simulator.answers import AnswerStyle
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay, NewOrder
from worker.simulator.platform import Platform, Reply

PREFIX = "/simulator/"
T = TypeVar("T")


class FieldError(ValueError):
    """A field of a control request that cannot be used; the message names it and what is accepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _NewOrders:
    orders: tuple[NewOrder, ...] = ()


def control(platform: Platform, *, client: str, method: str, target: str, body: bytes) -> Reply:
    """Answer one control request. `client` is the caller's IP address: only this machine may read and change."""
    if not is_loopback(client):
        return _reply(403, {"error": "the control endpoint serves this machine only"})
    parts = urlsplit(target)
    route = _ROUTES.get((method, parts.path))
    if route is None:
        known = ", ".join(f"{verb} {path}" for verb, path in _ROUTES)
        return _reply(404, {"error": f"no {method} {parts.path} here; known are {known}"})
    try:
        after = int(parse_qs(parts.query).get("after", ["0"])[0])
        sent = json.loads(body) if method == "POST" else {"after": max(after, 0)}
        return _reply(200, route(platform, sent))
    except (ValueError, RecursionError) as error:
        return _reply(400, {"error": str(error)})


def is_loopback(address: str) -> bool:
    """Whether an IP address belongs to this machine alone, also where it is written as IPv6."""
    parsed = ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def read_object(kind: type[T], raw: object, *, what: str) -> T:
    """A value of this dataclass from a JSON object.

    Raises FieldError where `raw` is no object, has a field that the class does not, or one with a wrong value.
    """
    if not isinstance(raw, Mapping):
        raise FieldError(f"{what}: expected an object, got {type(raw).__name__}")
    types = _TYPES[kind]
    if unknown := sorted(str(name) for name in raw if name not in types):
        raise FieldError(f"{what}: unknown field {', '.join(unknown)}; known are {', '.join(sorted(types))}")
    given = {name: value for name, value in raw.items() if value is not None}
    return kind(**{name: _read_field(types[name], value, f"{what}: {name}") for name, value in given.items()})


def _record(platform: Platform, sent: object) -> object:
    after = sent["after"] if isinstance(sent, Mapping) else 0
    return platform.record.summary(after=after) | {"callbacks": platform.callbacks.counts()}


def _place_orders(platform: Platform, sent: object) -> object:
    placed = platform.register(read_object(_NewOrders, sent, what="body").orders)
    return {"registered": len(placed), "request_ids": [order.request_id for order in placed]}


def _set_faults(platform: Platform, sent: object) -> object:
    platform.faults.set(read_object(Faults, sent, what="faults"))
    return {"status": "ok"}


def _set_answers(platform: Platform, sent: object) -> object:
    platform.answers = read_object(AnswerStyle, sent, what="answers")
    return {"status": "ok"}


def _reply(status: int, value: object) -> Reply:
    return Reply(status=status, body=json.dumps(value, ensure_ascii=False).encode())


_ROUTES: dict[tuple[str, str], Callable[[Platform, object], object]] = {
    ("GET", "/simulator/health"): lambda platform, sent: {"status": "ok"},
    ("GET", "/simulator/record"): _record,
    ("GET", "/simulator/truth"): lambda platform, sent: {"orders": platform.truth()},
    ("POST", "/simulator/orders"): _place_orders,
    ("POST", "/simulator/faults"): _set_faults,
    ("POST", "/simulator/answers"): _set_answers,
}


def _read_field(kind: Any, value: object, where: str) -> Any:
    try:
        return _READERS[kind](value) if kind in _READERS else _choice(kind, value)
    except ValueError as error:
        raise FieldError(f"{where}: {error}") from error


def _types_of(kind: type) -> dict[str, Any]:
    """The fields' types by name, each without its `| None`."""
    return {
        name: next(one for one in get_args(hint) if one is not NoneType) if isinstance(hint, UnionType) else hint
        for name, hint in get_type_hints(kind).items()
    }


def _reader(is_accepted: Callable[[Any], bool], accepted: str) -> Callable[[object], Any]:
    def read(value: object) -> object:
        if not is_accepted(value):
            raise FieldError(f"expected {accepted}")
        return value

    return read


# By the exact type: True is an int in Python.
_text = _reader(lambda value: type(value) is str and value != "", "a text that is not empty")
_boolean = _reader(lambda value: type(value) is bool, "true or false")
_whole_number = _reader(lambda value: type(value) is int and value >= 0, "a whole number, zero or more")
_seconds = _reader(
    lambda value: type(value) in (int, float) and 0 <= value < math.inf, "a number of seconds, zero or more"
)


def _texts(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        raise FieldError("expected a list of texts")
    return frozenset(map(_text, value))


def _shares(value: object) -> dict[str, float]:
    """Numbers by name; `Faults` checks that they are shares."""
    if not isinstance(value, Mapping):
        raise FieldError("expected an object of shares")
    return {_text(name): _seconds(share) for name, share in value.items()}


def _choice(words: type[StrEnum], value: object) -> StrEnum:
    if not isinstance(value, str) or value not in list(words):
        raise FieldError(f"expected one of {', '.join(words)}")
    return words(value)


def _new_orders(value: object) -> tuple[NewOrder, ...]:
    if not isinstance(value, list):
        raise FieldError("expected a list of orders")
    return tuple(read_object(NewOrder, one, what="order") for one in value)


_TYPES: dict[type, dict[str, Any]] = {kind: _types_of(kind) for kind in (Faults, AnswerStyle, NewOrder, _NewOrders)}
_READERS: dict[object, Callable[[object], object]] = {
    str: _text,
    bool: _boolean,
    float: _seconds,
    int: _whole_number,
    frozenset[str]: _texts,
    Mapping[str, float]: _shares,
    Delay: lambda value: Delay.parse(_text(value)),
    tuple[NewOrder, ...]: _new_orders,
}
