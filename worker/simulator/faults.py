"""Faults of the simulated platform, drawn at random from the seed and the number of the request.

A fault of a whole answer has one of these names:

- `http-NNN`: the HTTP status NNN; a status 3xx redirects to the same address
- `garbage-KIND`: the body that `GARBAGE` has for KIND
- `refuse`: the platform's error object, with the code `refuse_code`
- `reset`, `reset-midway`: a reset of the connection before the first byte, or in the middle of the body
- `silent`: no answer until the caller disconnects
- `drip-headers`, `drip-body`: the answer is sent one byte at a time, from the headers or from the body on

A fault of a single item has one of these names:

- `absent`: the answer lacks the order's item
- `duplicate`: the answer has the same item twice
- `conflict`: a second item of the same order contradicts the first
- `foreign`: an additional item is of an order that was not polled
- `wrong-status`: the item has a final status that contradicts the truth
- `unknown-status`, `wrong-appid`, `wrong-mobile`, `wrong-amount`, `wrong-custom-parm`: the item has one wrong value
- `colliding-keys`: the item has two contradicting statuses, under keys that differ only in case
"""

import functools
import gzip
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Annotated

from pydantic import BeforeValidator, Field, with_config

from worker.simulator.orders import FIELDS_ONLY, Delay, Item, Seconds

_ITEM_FAULTS = frozenset(
    {
        *("absent", "duplicate", "conflict", "foreign", "wrong-appid", "wrong-mobile", "wrong-amount"),
        *("wrong-custom-parm", "wrong-status", "unknown-status", "colliding-keys"),
    }
)
_BOMB_BYTES = 64 * 1024 * 1024
_DEPTH = 100_000
_NO_DELAY = Delay.parse("fixed:0")


def _delay(given: object) -> Delay:
    return given if isinstance(given, Delay) else Delay.parse(str(given))


def _doubled_keys(answer: bytes) -> bytes:
    """The answer with two contradicting keys added to its last object."""
    head, brace, tail = answer.rpartition(b"}")
    return head + b',"trafficSts":"1","trafficSts":"-1"' + brace + tail


@functools.cache
def _bomb() -> bytes:
    """A body of a few dozen kilobytes that decompresses to 64 MiB."""
    return gzip.compress(b" " * _BOMB_BYTES)


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "html": lambda answer: b"<html><head><title>502</title></head><body>Bad Gateway</body></html>",
    "empty": lambda answer: b"",
    "cut": lambda answer: answer[: len(answer) // 2],
    # The body is in another encoding than the answer's header says.
    "gbk": lambda answer: answer.decode().encode("gbk"),
    "bom": lambda answer: b"\xef\xbb\xbf" + answer,
    "doubled-keys": _doubled_keys,
    "nan": lambda answer: b'{"trafficSts":NaN,"oriAmount":NaN}',
    "huge-number": lambda answer: b'{"trafficSts":"1","oriAmount":1e400}',
    "deep": lambda answer: b"[" * _DEPTH + b"]" * _DEPTH,
    "wrong-types": lambda answer: b'{"requestId":[1],"trafficSts":{"a":1},"oriAmount":true}',
    "gzip-bomb": lambda answer: _bomb(),
}
"""Functions by kind of garbage. Each turns the body of an HTTP 200 answer into an invalid or unusual body."""
_ANSWER_FAULTS = frozenset(
    {
        *("refuse", "reset", "reset-midway", "silent", "drip-headers", "drip-body"),
        *(f"garbage-{kind}" for kind in GARBAGE),
    }
)


@with_config(FIELDS_ONLY)
@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """The faults in force. `Faults()` has no faults."""

    shares: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = field(default_factory=dict)
    """The share of each fault, by its name: a share of all answers, or of all items.

    The shares of answers' faults must not add up to more than 1, nor must those of items' faults. This is not checked.
    """
    latency: Annotated[Delay, BeforeValidator(_delay)] = _NO_DELAY
    """Seconds from the decision about an answer's content to its first byte. So a slow answer has old content."""
    retry_after: Seconds | None = None
    """The header `Retry-After` of the fault `http-NNN`, in seconds; None if there is no such header."""
    refuse_code: str = "-9999"
    refuse_message: str = "系统错误"
    poison_ids: frozenset[str] = frozenset()
    """The poison ids: an answer to a query with one of these ids always has the fault `poison_effect`."""
    poison_effect: str = "refuse"
    """The name of the fault that the answer to a query with a poison id has."""
    sids: frozenset[str] = frozenset()
    """The account SIDs whose queries have faults; if empty, the queries of all SIDs have."""
    queries: Annotated[int, Field(ge=0)] | None = None
    """The number of queries after which the faults end; None if the faults never end."""

    def __post_init__(self) -> None:
        """Raise ValueError if a name is not that of a fault."""
        for name in (self.poison_effect, *(set(self.shares) - _ITEM_FAULTS)):
            if name not in _ANSWER_FAULTS and not re.fullmatch(r"http-[2-5][0-9]{2}", name):
                names = [*sorted(_ANSWER_FAULTS), "http-NNN", *sorted(_ITEM_FAULTS)]
                raise ValueError(f"{name!r} is no fault; known are {', '.join(names)}")

    def of_answer(self, ids: tuple[str, ...], rng: Random) -> str | None:
        """Draw the fault of a whole answer, and return its name; None if the answer has no fault."""
        drawn = _draw({name: share for name, share in self.shares.items() if name not in _ITEM_FAULTS}, rng)
        return self.poison_effect if self.poison_ids.intersection(ids) else drawn

    def of_item(self, rng: Random) -> str | None:
        """Draw the fault of an item, and return its name; None if the item has no fault."""
        return _draw({name: share for name, share in self.shares.items() if name in _ITEM_FAULTS}, rng)


def spoil(item: Item, fault: str | None, rng: Random) -> list[Item]:
    """The items that the answer has in place of `item` because of a fault."""
    match fault:
        case None:
            return [item]
        case "absent":
            return []
        case "duplicate":
            return [item, dict(item)]
        case "conflict":
            return [item, item | {"trafficSts": _contrary(item), "remark": "冲突", "oriAmount": "1.00"}]
        case "foreign":
            return [item, item | {"requestId": f"9{rng.randrange(10**15):015d}", "customParm": "not-polled"}]
        case "colliding-keys":
            return [item | {"TRAFFICSTS": _contrary(item)}]
        case "wrong-status":
            return [item | {"trafficSts": _contrary(item)}]
        case _:
            return [item | _WRONG[fault]]


def _contrary(item: Item) -> str:
    return "-1" if item["trafficSts"] == "1" else "1"


def _draw(shares: Mapping[str, float], rng: Random) -> str | None:
    point = rng.random()
    for name in sorted(shares):
        if point < shares[name]:
            return name
        point -= shares[name]
    return None


_WRONG: dict[str, Item] = {
    "wrong-appid": {"appid": "00000000000000000000000000000000"},
    "wrong-mobile": {"mobile": "100****0000"},
    "wrong-amount": {"oriAmount": "9999.99"},
    "wrong-custom-parm": {"customParm": "somebody-elses"},
    "unknown-status": {"trafficSts": "2", "remark": "未知"},
}
