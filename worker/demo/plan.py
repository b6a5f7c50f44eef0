"""What the command line asks a demo for, and the plan that follows: its orders, and what happens to each at the
platform. Pure; everything is drawn from the seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Annotated

from typer import Option

FEWEST_ORDERS = 50
MOST_ORDERS = 2000
"""More would not be settled within the demo's time, at 100 orders a query."""
_SHORTEST, _LONGEST = 0.5, 2.5
"""Windows, in seconds."""
_DATABASE_HELP = "SQLAlchemy URL of a database that is empty or migrated; without it, SQLite in the work folder."
_BROKER_HELP = "URL of a Redis, Valkey or RabbitMQ that no worker of ours uses; without it, Valkey from its wheel."
_WINDOW_HELP = "Seconds; the platform's limit is one query in each. In real life 60."
_SERVE_HELP = "Show the console from the start, and keep it, the worker and the platform running until Ctrl-C."
_JSON_HELP = "The summary as one JSON object; all else on standard error."

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
class Request:
    """The options. The representation shows no URL: it may hold a password."""

    database_url: Annotated[str | None, Option(help=_DATABASE_HELP, metavar="URL")] = field(default=None, repr=False)
    broker_url: Annotated[str | None, Option(help=_BROKER_HELP, metavar="URL")] = field(default=None, repr=False)
    orders: Annotated[int, Option(help="How many orders.", min=FEWEST_ORDERS, max=MOST_ORDERS)] = 1000
    window: Annotated[float, Option(help=_WINDOW_HELP, min=_SHORTEST, max=_LONGEST)] = 2.0
    seed: Annotated[int, Option(help="What happens to each order is drawn from it.")] = 1
    serve: Annotated[bool, Option("--serve", help=_SERVE_HELP)] = False
    as_json: Annotated[bool, Option("--json", help=_JSON_HELP)] = False


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


def make_plan(*, name: str, orders: int, window: float, seed: int) -> Plan:
    """Draw the plan. `name` makes account and ids of this run unlike any other's; the fates depend on the seed alone.

    Raises ValueError where the number of orders is out of range.
    """
    if not FEWEST_ORDERS <= orders <= MOST_ORDERS:
        raise ValueError(f"a demo has from {FEWEST_ORDERS} to {MOST_ORDERS} orders, not {orders}")
    rng = Random(seed)
    planned = [
        _draw(f"{name}-{number:04d}", fate, window, rng) for number, fate in enumerate(_fates(orders, rng), start=1)
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


def _draw(request_id: str, fate: Fate, window: float, rng: Random) -> PlannedOrder:
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
        settle_after=window * (slow if is_slow and may_be_slow else quick),
    )
