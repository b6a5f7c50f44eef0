"""The orders at the simulated platform, and the truth about each, drawn at random from the seed.

An order's fate depends only on the seed and the order's id. So the fate is the same in every run, and whatever orders
are placed before it.
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
"""Maps each kind of delay to the count of numbers that it needs."""
_ACCEPTED = "fixed:S, uniform:LEAST,MOST or alternate:A,B (seconds, zero or more)"
_AMOUNTS = ("2.94", "4.90", "6.86", "9.80", "14.70", "19.60", "29.40", "49.00", "68.60")
"""Charges in yuan, similar to the example on the documentation page of the platform."""
_REMARKS = {"1": "成功", "-1": "充值失败", "0": "充值中"}


Item = dict[str, object]
"""The fields of an order in an answer or a callback."""
FIELDS_ONLY = ConfigDict(extra="forbid", strict=True)
"""A pydantic configuration for input of the control endpoint: it refuses unknown fields and wrong types."""
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """A distribution of durations, in seconds. Build it with `Delay.parse`."""

    kind: str
    numbers: tuple[float, ...]

    @staticmethod
    def parse(text: str) -> "Delay":
        """Read `KIND:NUMBER,...`, such as `uniform:2,20`. A number without a kind is `fixed`.

        A delay of kind `alternate` uses its two numbers in turn. Raises a ValueError that names the accepted forms.
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
        """Draw a duration in seconds. `turn` counts the draws from zero; only `alternate` uses it."""
        return rng.uniform(*self.numbers) if self.kind == "uniform" else self.numbers[turn % len(self.numbers)]


class Outcome(StrEnum):
    """The end of an order. The values are the `trafficSts` that an answer has after it, except the value of STUCK."""

    RECHARGED = "1"
    FAILED = "-1"
    STUCK = "stuck"
    """The order never settles: its `trafficSts` is always `0`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """The parameters with which orders are drawn at random. Shares are from 0 to 1."""

    seed: int = 1
    delay: Delay = field(default_factory=lambda: Delay.parse("uniform:2,20"))
    """The time from placing an order to its settling."""
    failed_share: float = 0.05
    stuck_share: float = 0.0
    """The share of orders that never settle."""
    lost_share: float = 0.0
    """The share of callbacks that are never pushed."""
    adopt: bool = False
    """Whether a query with an unknown id places an order with this id. The order is drawn from the seed and the id."""


@with_config(FIELDS_ONLY)
@dataclass(frozen=True, kw_only=True, slots=True)
class NewOrder:
    """An order to register. A field that is None is drawn from the seed and the order's id."""

    request_id: str | None = None
    custom_parm: str | None = None
    app_id: str | None = None
    """The application; required if the platform serves several."""
    mobile: str | None = None
    """The full phone number; answers show it masked. None if answers have no `mobile` for this order."""
    amount: str | None = None
    """The charge in yuan. A failed order is charged `0.00`, whatever is given here."""
    outcome: Outcome | None = None
    settle_after: Seconds | None = None
    """Seconds from the placing of the order to its settling."""
    callback_lost: bool | None = None
    unknown: bool = False
    """True if the platform answers as if the order had never been placed."""


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
        """The order's true `trafficSts` at this moment."""
        return self.outcome.value if self.settles_at <= now else "0"

    def truth_at(self, now: float) -> dict[str, object]:
        """The truth about the order at this moment, as JSON values."""
        truth = asdict(self)
        return truth | {"status": self.status_at(now), "settled": truth.pop("settles_at") <= now}


def item_of(order: PlacedOrder, now: float) -> Item:
    """The item that an answer has for an order at the moment `now`. It includes the order's `customParm`."""
    status = order.status_at(now)
    item: Item = {"requestId": order.request_id, "customParm": order.custom_parm, "appid": order.app_id}
    item |= {"trafficSts": status, "remark": _REMARKS[status], "mobile": masked(order.mobile)}
    item["oriAmount"] = order.amount if status != "0" else "0.00"
    return {key: value for key, value in item.items() if value is not None}


def masked(mobile: str | None) -> str | None:
    """The phone number as the platform shows it, such as `188****0804`."""
    return f"{mobile[:3]}****{mobile[-4:]}" if mobile else None


_Known = MutableMapping[tuple[str, str, str], PlacedOrder]
"""Orders by three keys: the application, the kind of the id, and the id."""


class OrderBook:
    """The orders by application and id. Safe to use from several threads."""

    def __init__(self, draws: Draws, on_placed: Callable[[PlacedOrder], None]) -> None:
        self._draws = draws
        self._on_placed = on_placed
        self._lock = threading.Lock()
        self._by_id: _Known = {}

    def register(self, orders: Iterable[NewOrder], *, app_ids: Sequence[str], now: float) -> list[PlacedOrder]:
        """Place these orders now: all of them, or none.

        Raises ValueError if an order has no id, an id that is already taken, or an application that is not served; also
        if an order names no application although several are served.
        """
        with self._lock:
            # Put the new orders into a separate map first. The map is dropped if one of these orders is refused.
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
        """The order of each of these ids; None if the platform does not know the order.

        With `adopt`, place an order for each id that has none.
        """
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
        """Every order once, the oldest first."""
        with self._lock:
            return list(dict.fromkeys(self._by_id.values()))

    def _place(self, order: NewOrder, app_id: str, now: float, known: _Known) -> PlacedOrder:
        name = order.request_id or order.custom_parm
        if not name:
            raise ValueError("request_id or custom_parm is needed")
        draws = self._draws
        # Draw every value in a fixed sequence, even a value that the caller has given. So if one share changes, or one
        # value is given, the other drawn values stay the same.
        rng = Random(f"{draws.seed}:{name}")
        drawn, lost = rng.random(), rng.random()
        amount, request_id = rng.choice(_AMOUNTS), f"2016{rng.randrange(10**12):012d}"
        outcome = Outcome.STUCK if drawn < draws.failed_share + draws.stuck_share else Outcome.RECHARGED
        outcome = order.outcome or (Outcome.FAILED if drawn < draws.failed_share else outcome)
        after = draws.delay.draw(rng) if order.settle_after is None else order.settle_after
        one = PlacedOrder(
            # An order that was placed with only a `customParm` gets a drawn `requestId`.
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
