"""The demo's plan: its orders, what happens to each at the platform, and the pace.

Pure; everything is drawn from the seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

FEWEST_ORDERS = 50
MOST_ORDERS = 2000
"""More would not be settled within the demo's time, at 100 orders a query."""
SHORTEST_WINDOW_SECONDS = 0.5
LONGEST_WINDOW_SECONDS = 2.5

_LISTS = 10
_LOST_SHARE = 0.4
_SLOW_SHARE = 0.3
_FAILED_SHARE = 0.05
_STUCK_SHARE = 0.005
_FEWEST_STUCK = 3
# Prices of data packages, in yuan.
_AMOUNTS = ("2.94", "4.90", "6.86", "9.80", "14.70", "19.60", "29.40", "49.00")
_WRONG_AMOUNT = "98.00"


class Fate(StrEnum):
    """What happens to an order at the platform."""

    CALLBACK = "callback"
    """It settles, and its callback arrives."""
    CALLBACK_LOST = "callback lost"
    """It settles, and only a query can find that out."""
    WRONG_AMOUNT = "wrong amount"
    """It settles without a callback, and more is charged than was expected."""
    STUCK = "stuck"
    """It recharges for ever."""
    UNKNOWN = "unknown"
    """The platform does not know it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """The durations of a demo, in seconds: those of real life scaled down with the window, so proportions are kept."""

    window: float

    @property
    def margin(self) -> float:
        """Added to the window. Settings accept no less than 0.05."""
        return max(0.05, self.window / 20)

    @property
    def deadline(self) -> float:
        """For one exchange: half a window as in real life, but never too short for a busy machine."""
        return max(1.0, self.window / 2)

    @property
    def grace(self) -> float:
        """How long the worker waits for an order's callback; in real life ten windows, which nobody would watch."""
        return 1.5 * self.window

    @property
    def tick(self) -> float:
        """Beat's period."""
        return max(0.1, self.window / 10)

    @property
    def between_lists(self) -> float:
        """From one list of orders to the next."""
        return self.window / 4

    @property
    def callback_delay(self) -> str:
        """From an order's settling to its callback, as an option of the simulated platform."""
        return f"uniform:{self.window / 40:g},{self.window / 5:g}"

    @property
    def latency(self) -> str:
        """Of the platform's answers, as an option of the simulated platform."""
        return f"uniform:{self.window / 100:g},{self.window / 10:g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedOrder:
    """One order, as the billing system sees it, and what happens to it at the platform."""

    request_id: str
    mobile: str
    expected_amount: str
    """Yuan."""
    fate: Fate
    fails: bool = False
    settle_after: float = 0.0
    """Seconds from its placing."""

    @property
    def settles(self) -> bool:
        """Whether the platform ever has a result for it."""
        return self.fate not in (Fate.STUCK, Fate.UNKNOWN)

    def placing(self) -> dict[str, object]:
        """The order for the simulated platform's control endpoint."""
        placing: dict[str, object] = {
            "request_id": self.request_id,
            "mobile": self.mobile,
            "settle_after": self.settle_after,
            "callback_lost": self.fate is not Fate.CALLBACK,
            "unknown": self.fate is Fate.UNKNOWN,
            "outcome": "stuck" if self.fate is Fate.STUCK else "-1" if self.fails else "1",
        }
        if not self.fails:
            charged = _WRONG_AMOUNT if self.fate is Fate.WRONG_AMOUNT else self.expected_amount
            placing["amount"] = charged
        return placing

    def submission(self, account: str) -> dict[str, str]:
        """The order as a billing system enqueues it."""
        return {
            "account": account,
            "request_id": self.request_id,
            "mobile": self.mobile,
            "expected_amount": self.expected_amount,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All orders of one demo, in the lists that they are enqueued in."""

    account: str
    lists: tuple[tuple[PlannedOrder, ...], ...]

    @property
    def orders(self) -> tuple[PlannedOrder, ...]:
        """Every order, in the order of its enqueueing."""
        return tuple(order for listed in self.lists for order in listed)

    def count(self, *fates: Fate) -> int:
        """How many orders have one of these fates."""
        return sum(order.fate in fates for order in self.orders)

    @property
    def settling(self) -> int:
        """How many orders the platform will have a result for."""
        return sum(order.settles for order in self.orders)


def make_plan(*, name: str, orders: int, pace: Pace, seed: int) -> Plan:
    """Draw the plan. `name` makes account and ids of this run unlike any other's; the fates depend on the seed alone.

    Raises ValueError where the number of orders is out of range.
    """
    if not FEWEST_ORDERS <= orders <= MOST_ORDERS:
        raise ValueError(f"a demo has from {FEWEST_ORDERS} to {MOST_ORDERS} orders, not {orders}")
    rng = Random(seed)
    planned = [
        _draw(f"{name}-{number:04d}", fate, pace, rng) for number, fate in enumerate(_fates(orders, rng), start=1)
    ]
    size = math.ceil(orders / _LISTS)
    lists = tuple(tuple(planned[start : start + size]) for start in range(0, orders, size))
    return Plan(account=name, lists=lists)


def _fates(orders: int, rng: Random) -> Sequence[Fate]:
    # Those that take longest to decide come first.
    special = [Fate.UNKNOWN, Fate.WRONG_AMOUNT] + [Fate.STUCK] * max(_FEWEST_STUCK, round(orders * _STUCK_SHARE))
    lost = round(orders * _LOST_SHARE)
    others = [Fate.CALLBACK_LOST] * lost + [Fate.CALLBACK] * (orders - lost - len(special))
    rng.shuffle(others)
    return [*special, *others]


def _draw(request_id: str, fate: Fate, pace: Pace, rng: Random) -> PlannedOrder:
    # Drawn in a fixed sequence, whatever the fate.
    mobile = f"13{rng.randrange(10**9):09d}"
    amount = rng.choice(_AMOUNTS)
    fails = rng.random() < _FAILED_SHARE
    quick, slow, is_slow = rng.uniform(0.1, 1.2), rng.uniform(3, 8), rng.random() < _SLOW_SHARE
    may_be_slow = fate is Fate.CALLBACK_LOST
    return PlannedOrder(
        request_id=request_id,
        mobile=mobile,
        expected_amount=amount,
        fate=fate,
        fails=fails and fate in (Fate.CALLBACK, Fate.CALLBACK_LOST),
        settle_after=pace.window * (slow if is_slow and may_be_slow else quick),
    )
