"""What goes wrong at the platform, how often, and for which accounts. It is drawn from the seed and the arrival.

Faults of a whole answer, by name: `http-NNN` (any status; 3xx points back at the same address), `garbage-KIND`
(`GARBAGE`), `refuse` (the error object with a chosen code), `reset` and `reset-midway` (before the
first byte of the answer, and in mid-body), `silent` (no answer until the caller goes), `drip-headers` and `drip-body`
(one byte at a time).

Faults of single items: `absent`, `duplicate` (the same item twice), `conflict` (a second item that differs), `foreign`
(one more item, of an order that was not polled), `wrong-appid`, `wrong-mobile`, `wrong-amount`, `wrong-custom-parm`,
`wrong-status` (the contrary of the truth, readable), `unknown-status`, `colliding-keys`.
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
    """The answer, with contradicting keys at the end of its last object."""
    head, brace, tail = answer.rpartition(b"}")
    return head + b',"trafficSts":"1","trafficSts":"-1"' + brace + tail


@functools.cache
def _bomb() -> bytes:
    """A few dozen kilobytes that decode to 64 MiB."""
    return gzip.compress(b" " * _BOMB_BYTES)


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "html": lambda answer: b"<html><head><title>502</title></head><body>Bad Gateway</body></html>",
    "empty": lambda answer: b"",
    "cut": lambda answer: answer[: len(answer) // 2],
    # Not the encoding of the header.
    "gbk": lambda answer: answer.decode().encode("gbk"),
    "bom": lambda answer: b"\xef\xbb\xbf" + answer,
    "doubled-keys": _doubled_keys,
    "nan": lambda answer: b'{"trafficSts":NaN,"oriAmount":NaN}',
    "huge-number": lambda answer: b'{"trafficSts":"1","oriAmount":1e400}',
    "deep": lambda answer: b"[" * _DEPTH + b"]" * _DEPTH,
    "wrong-types": lambda answer: b'{"requestId":[1],"trafficSts":{"a":1},"oriAmount":true}',
    "gzip-bomb": lambda answer: _bomb(),
}
"""Bodies with an HTTP 200 that are no answer, or hardly one, each made from the answer that it replaces."""
_ANSWER_FAULTS = frozenset(
    {
        *("refuse", "reset", "reset-midway", "silent", "drip-headers", "drip-body"),
        *(f"garbage-{kind}" for kind in GARBAGE),
    }
)


@with_config(FIELDS_ONLY)
@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """The faults in force. Without arguments: none."""

    shares: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = field(default_factory=dict)
    """By the fault's name: of all answers, or of all items. The sum of each must be 1 at most; it is not checked."""
    latency: Annotated[Delay, BeforeValidator(_delay)] = _NO_DELAY
    """From the decision of an answer to its first byte, in seconds: a slow answer is also an old one."""
    retry_after: Seconds | None = None
    """The `Retry-After` of HTTP errors, in seconds."""
    refuse_code: str = "-9999"
    refuse_message: str = "系统错误"
    poison_ids: frozenset[str] = frozenset()
    """Ids that spoil every batch they are in."""
    poison_effect: str = "refuse"
    """The fault of such a batch: the name of an answer's fault."""
    sids: frozenset[str] = frozenset()
    """The account SIDs with faults; empty: all of them."""
    queries: Annotated[int, Field(ge=0)] | None = None
    """The faults end after so many queries; None: never."""

    def __post_init__(self) -> None:
        """Raise ValueError for a name that is no fault."""
        for name in (self.poison_effect, *(set(self.shares) - _ITEM_FAULTS)):
            if name not in _ANSWER_FAULTS and not re.fullmatch(r"http-[2-5][0-9]{2}", name):
                names = [*sorted(_ANSWER_FAULTS), "http-NNN", *sorted(_ITEM_FAULTS)]
                raise ValueError(f"{name!r} is no fault; known are {', '.join(names)}")

    def of_answer(self, ids: tuple[str, ...], rng: Random) -> str | None:
        """The fault of one whole answer, by name."""
        drawn = _draw({name: share for name, share in self.shares.items() if name not in _ITEM_FAULTS}, rng)
        return self.poison_effect if self.poison_ids.intersection(ids) else drawn

    def of_item(self, rng: Random) -> str | None:
        """The fault of one item, by name."""
        return _draw({name: share for name, share in self.shares.items() if name in _ITEM_FAULTS}, rng)


def spoil(item: Item, fault: str | None, rng: Random) -> list[Item]:
    """The items that replace this one, by a fault."""
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
