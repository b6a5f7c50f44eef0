"""The orders that the platform holds, and the truth about each, drawn from the seed.

An order's fate depends on the seed and the order's id only: it is the same in every run, in any sequence.
"""

import math
import threading
from collections import ChainMap
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from random import Random
from typing import Annotated

from pydantic import ConfigDict, Field, with_config

_NUMBERS = {"fixed": 1, "uniform": 2, "alternate": 2}
"""How many numbers a delay of each kind has."""
_ACCEPTED = "fixed:S, uniform:LEAST,MOST or alternate:A,B (seconds, zero or more)"
_AMOUNTS = ("2.94", "4.90", "6.86", "9.80", "14.70", "19.60", "29.40", "49.00", "68.60")
"""Charges in yuan, about as large as the one on the platform's page."""
_REMARKS = {"1": "成功", "-1": "充值失败", "0": "充值中"}


Item = dict[str, object]
"""What an answer or a callback says of an order."""
FIELDS_ONLY = ConfigDict(extra="forbid", strict=True)
"""How the control endpoint reads JSON: each field by its name and of its type."""
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """A distribution of durations, in seconds. Build it with `Delay.parse`."""

    kind: str
    numbers: tuple[float, ...]

    @staticmethod
    def parse(text: str) -> "Delay":
        """Read `KIND:NUMBER,...`, e.g. `uniform:2,20`; a bare number is `fixed`, and `alternate` takes turns.

        Raises ValueError with what is accepted.
        """
        kind, colon, rest = text.strip().partition(":")
        if not colon:
            kind, rest = "fixed", kind
        try:
            numbers = tuple(float(number) for number in rest.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != _NUMBERS.get(kind) or not all(0 <= number < math.inf for number in numbers):
            raise ValueError(f"{text!r} is not a duration; accepted: {_ACCEPTED}")
        return Delay(kind=kind, numbers=numbers)

    def draw(self, rng: Random, *, turn: int = 0) -> float:
        """One duration in seconds. `turn` counts the draws from zero, for `alternate`; other kinds ignore it."""
        return rng.uniform(*self.numbers) if self.kind == "uniform" else self.numbers[turn % len(self.numbers)]


class Outcome(StrEnum):
    """How an order ends, as the answer's `trafficSts` where it has a value for that."""

    RECHARGED = "1"
    FAILED = "-1"
    STUCK = "stuck"
    """It never ends: its `trafficSts` is `0` for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """What orders are drawn from. Shares from 0 to 1."""

    seed: int = 1
    delay: Delay = field(default_factory=lambda: Delay.parse("uniform:2,20"))
    """From an order's placing to its settling."""
    failed_share: float = 0.05
    stuck_share: float = 0.0
    """Orders that never settle."""
    lost_share: float = 0.0
    """Callbacks that are never pushed."""
    adopt: bool = False
    """Take unknown ids for orders placed at that moment, whose truth is drawn from the seed and the id."""


@with_config(FIELDS_ONLY)
@dataclass(frozen=True, kw_only=True, slots=True)
class NewOrder:
    """An order to register. A field that is None is drawn from the seed and the order's id."""

    request_id: str | None = None
    custom_parm: str | None = None
    app_id: str | None = None
    """Needed where the platform serves more than one application."""
    mobile: str | None = None
    """All digits; answers mask it. Without it they have no `mobile`."""
    amount: str | None = None
    """The charge, in yuan. A failed order is charged `0.00`."""
    outcome: Outcome | None = None
    settle_after: Seconds | None = None
    """Seconds from now."""
    callback_lost: bool | None = None
    unknown: bool = False
    """The platform does not know this order: it was never placed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedOrder:
    """An order at the platform."""

    request_id: str
    custom_parm: str | None
    app_id: str
    mobile: str | None
    amount: str
    outcome: Outcome
    settles_at: float
    """Seconds on the platform's monotonic clock; infinite for an order that never settles."""
    callback_lost: bool
    unknown: bool

    def status_at(self, now: float) -> str:
        """The `trafficSts` that is true at this moment."""
        return self.outcome.value if self.settles_at <= now else "0"

    def truth_at(self, now: float) -> dict[str, object]:
        """The truth about it at this moment, as JSON values."""
        truth = asdict(self)
        return truth | {"status": self.status_at(now), "settled": truth.pop("settles_at") <= now}


def item_of(order: PlacedOrder, now: float) -> Item:
    """The item of an order at this moment, `customParm` included."""
    status = order.status_at(now)
    item: Item = {"requestId": order.request_id, "customParm": order.custom_parm, "appid": order.app_id}
    item |= {"trafficSts": status, "remark": _REMARKS[status], "mobile": masked(order.mobile)}
    item["oriAmount"] = order.amount if status != "0" else "0.00"
    return {key: value for key, value in item.items() if value is not None}


def masked(mobile: str | None) -> str | None:
    """The number as the platform shows it: `188****0804`."""
    return f"{mobile[:3]}****{mobile[-4:]}" if mobile else None


_Known = MutableMapping[tuple[str, str, str], PlacedOrder]
"""By application, kind of id and id."""


class OrderBook:
    """The orders by application and id. Safe to use from several threads."""

    def __init__(self, draws: Draws, on_placed: Callable[[PlacedOrder], None]) -> None:
        self._draws = draws
        self._on_placed = on_placed
        self._lock = threading.Lock()
        self._by_id: _Known = {}

    def register(self, orders: Iterable[NewOrder], *, app_ids: Sequence[str], now: float) -> list[PlacedOrder]:
        """Place these orders now: all of them, or none.

        Raises ValueError where one has no id, an id that is taken, an application that is not served, or none where
        there are several.
        """
        with self._lock:
            # New orders go into a map of their own first, which is dropped where one of them is refused.
            known = ChainMap({}, self._by_id)
            listed = []
            for order in orders:
                app_id = order.app_id or (app_ids[0] if len(app_ids) == 1 else None)
                if app_id is None or app_id not in app_ids:
                    raise ValueError(f"app_id must be one of {', '.join(app_ids)}")
                listed.append(self._place(order, app_id, now, known))
            self._by_id.update(known.maps[0])
        for one in listed:
            self._on_placed(one)
        return listed

    def find(self, app_id: str, id_kind: str, ids: Iterable[str], *, now: float) -> dict[str, PlacedOrder | None]:
        """The orders with these ids; None where the platform knows none. Unknown ids are adopted, if so configured."""
        found: dict[str, PlacedOrder | None] = {}
        adopted = []
        with self._lock:
            for one in ids:
                order = self._by_id.get((app_id, id_kind, one))
                if order is None and self._draws.adopt:
                    new = NewOrder(request_id=one) if id_kind == "requestId" else NewOrder(custom_parm=one)
                    order = self._place(new, app_id, now, self._by_id)
                    adopted.append(order)
                found[one] = order if order and not order.unknown else None
        for order in adopted:
            self._on_placed(order)
        return found

    def all(self) -> list[PlacedOrder]:
        """Every order, each once, oldest first."""
        with self._lock:
            return list(dict.fromkeys(self._by_id.values()))

    def _place(self, order: NewOrder, app_id: str, now: float, known: _Known) -> PlacedOrder:
        name = order.request_id or order.custom_parm
        if not name:
            raise ValueError("request_id or custom_parm is needed")
        draws = self._draws
        # All is drawn in a fixed sequence, whatever is given: so changing one share changes nothing else.
        rng = Random(f"{draws.seed}:{name}")
        drawn, lost = rng.random(), rng.random()
        amount, request_id = rng.choice(_AMOUNTS), f"2016{rng.randrange(10**12):012d}"
        outcome = Outcome.STUCK if drawn < draws.failed_share + draws.stuck_share else Outcome.RECHARGED
        outcome = order.outcome or (Outcome.FAILED if drawn < draws.failed_share else outcome)
        after = draws.delay.draw(rng) if order.settle_after is None else order.settle_after
        one = PlacedOrder(
            # What the platform calls an order that was placed under a `customParm` only is drawn as well.
            request_id=order.request_id or request_id,
            custom_parm=order.custom_parm,
            app_id=app_id,
            mobile=order.mobile,
            amount="0.00" if outcome is Outcome.FAILED else order.amount or amount,
            outcome=outcome,
            settles_at=math.inf if order.unknown or outcome is Outcome.STUCK else now + after,
            callback_lost=lost < draws.lost_share if order.callback_lost is None else order.callback_lost,
            unknown=order.unknown,
        )
        keys = [(app_id, "requestId", one.request_id)]
        if one.custom_parm is not None:
            keys.append((app_id, "customParm", one.custom_parm))
        for key in keys:
            if key in known:
                raise ValueError(f"{key[1]} {key[2]} is already taken")
            known[key] = one
        return one
