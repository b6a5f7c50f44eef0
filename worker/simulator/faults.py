"""Faults of the simulated platform, drawn from the seed and the number of the request.

A fault of a whole answer has one of these names:

- `http-NNN`: this HTTP status; 3xx redirects to the same address
- `garbage-KIND`: a body from `GARBAGE`
- `refuse`: the error object with a chosen code
- `reset`, `reset-midway`: a reset of the connection before the first byte, or in the middle of the body
- `silent`: no answer until the caller disconnects
- `drip-headers`, `drip-body`: one byte at a time

A fault of a single item has one of these names:

- `absent`: no item
- `duplicate`: the same item twice
- `conflict`: a second item that differs
- `foreign`: an additional item of an order that was not polled
- `wrong-status`: a final status that contradicts the truth
- `unknown-status`, `wrong-appid`, `wrong-mobile`, `wrong-amount`, `wrong-custom-parm`: a wrong value
- `colliding-keys`: the status twice, in keys that differ in case
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
    """A few dozen kilobytes that decode to 64 MiB."""
    return gzip.compress(b" " * _BOMB_BYTES)


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "html": lambda answer: b"<html><head><title>502</title></head><body>Bad Gateway</body></html>",
    "empty": lambda answer: b"",
    "cut": lambda answer: answer[: len(answer) // 2],
    # Another encoding than the header gives.
    "gbk": lambda answer: answer.decode().encode("gbk"),
    "bom": lambda answer: b"\xef\xbb\xbf" + answer,
    "doubled-keys": _doubled_keys,
    "nan": lambda answer: b'{"trafficSts":NaN,"oriAmount":NaN}',
    "huge-number": lambda answer: b'{"trafficSts":"1","oriAmount":1e400}',
    "deep": lambda answer: b"[" * _DEPTH + b"]" * _DEPTH,
    "wrong-types": lambda answer: b'{"requestId":[1],"trafficSts":{"a":1},"oriAmount":true}',
    "gzip-bomb": lambda answer: _bomb(),
}
"""Functions that replace the body of an HTTP 200 answer by an invalid or unusual one."""
_ANSWER_FAULTS = frozenset(
    {
        *("refuse", "reset", "reset-midway", "silent", "drip-headers", "drip-body"),
        *(f"garbage-{kind}" for kind in GARBAGE),
    }
)


@with_config(FIELDS_ONLY)
@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """The faults in force; none without arguments."""

    shares: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = field(default_factory=dict)
    """The share of each fault, by its name, among all answers or all items. Neither sum may be above 1, which is not
    checked."""
    latency: Annotated[Delay, BeforeValidator(_delay)] = _NO_DELAY
    """Seconds from the decision about an answer to its first byte. So the content of a slow answer is old."""
    retry_after: Seconds | None = None
    """The `Retry-After` of HTTP errors, in seconds."""
    refuse_code: str = "-9999"
    refuse_message: str = "系统错误"
    poison_ids: frozenset[str] = frozenset()
    """Ids that spoil every batch with them."""
    poison_effect: str = "refuse"
    """The fault of a batch with a poison id: the name of an answer's fault."""
    sids: frozenset[str] = frozenset()
    """The account SIDs that have faults; if empty, all have."""
    queries: Annotated[int, Field(ge=0)] | None = None
    """The number of queries after which the faults end; None if they never do."""

    def __post_init__(self) -> None:
        """Raise ValueError for the name of an unknown fault."""
        for name in (self.poison_effect, *(set(self.shares) - _ITEM_FAULTS)):
            if name not in _ANSWER_FAULTS and not re.fullmatch(r"http-[2-5][0-9]{2}", name):
                names = [*sorted(_ANSWER_FAULTS), "http-NNN", *sorted(_ITEM_FAULTS)]
                raise ValueError(f"{name!r} is no fault; known are {', '.join(names)}")

    def of_answer(self, ids: tuple[str, ...], rng: Random) -> str | None:
        """The name of the fault of a whole answer; None if it has none."""
        drawn = _draw({name: share for name, share in self.shares.items() if name not in _ITEM_FAULTS}, rng)
        return self.poison_effect if self.poison_ids.intersection(ids) else drawn

    def of_item(self, rng: Random) -> str | None:
        """The name of the fault of an item; None if it has none."""
        return _draw({name: share for name, share in self.shares.items() if name in _ITEM_FAULTS}, rng)


def spoil(item: Item, fault: str | None, rng: Random) -> list[Item]:
    """The items that replace this item because of a fault."""
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
