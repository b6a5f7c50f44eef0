"""What the command line asks a demo for, and the orders that follow from it, drawn from the seed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Annotated

from typer import Option

from worker.simulator.orders import NewOrder, Outcome

# More would not be settled within the demo's time, at 100 orders a query.
MOST_ORDERS = 2000
_WINDOW_HELP = "Seconds; the platform's limit is one query in each. In real life 60."
_SERVE_HELP = "Show the console from the start, and keep it, the worker and the platform running until Ctrl-C."
_JSON_HELP = "The summary as one JSON object; all else on standard error."

_LOST_SHARE = 0.4
_SLOW_SHARE = 0.3
_FAILED_SHARE = 0.05
_STUCK_SHARE = 0.005
_FEWEST_STUCK = 3
# Prices of data packages, in yuan.
_AMOUNTS = ("2.94", "4.90", "6.86", "9.80", "14.70", "19.60", "29.40", "49.00")
_WRONG_AMOUNT = "98.00"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The options."""

    orders: Annotated[int, Option(help="How many orders.", min=50, max=MOST_ORDERS)] = 1000
    window: Annotated[float, Option(help=_WINDOW_HELP, min=0.5, max=2.5)] = 2.0
    seed: Annotated[int, Option(help="What happens to each order is drawn from it.")] = 1
    serve: Annotated[bool, Option("--serve", help=_SERVE_HELP)] = False
    as_json: Annotated[bool, Option("--json", help=_JSON_HELP)] = False


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
class PlannedOrder:
    """One order."""

    fate: Fate
    placing: NewOrder
    """The order as the platform has it."""
    submission: dict[str, str]
    """The order as the billing system enqueues it."""


def make_plan(request: Request, name: str) -> Sequence[PlannedOrder]:
    """Draw the orders of the account `name`, which their ids begin with. Their fates depend on the seed alone."""
    rng = Random(request.seed)
    # Orders that take longest to decide come first.
    special = [Fate.UNKNOWN, Fate.WRONG_AMOUNT]
    special += [Fate.STUCK] * max(_FEWEST_STUCK, round(request.orders * _STUCK_SHARE))
    lost = round(request.orders * _LOST_SHARE)
    others = [Fate.CALLBACK_LOST] * lost + [Fate.CALLBACK] * (request.orders - lost - len(special))
    rng.shuffle(others)
    return [_draw(name, number, fate, request.window, rng) for number, fate in enumerate([*special, *others], start=1)]


def _draw(account: str, number: int, fate: Fate, window: float, rng: Random) -> PlannedOrder:
    # Drawn in a fixed sequence, whatever the fate.
    request_id, mobile, amount = f"{account}-{number:04d}", f"13{rng.randrange(10**9):09d}", rng.choice(_AMOUNTS)
    fails = rng.random() < _FAILED_SHARE and fate in (Fate.CALLBACK, Fate.CALLBACK_LOST)
    quick, slow, is_slow = rng.uniform(0.1, 1.2), rng.uniform(3, 8), rng.random() < _SLOW_SHARE
    placing = NewOrder(
        request_id=request_id,
        mobile=mobile,
        amount=_WRONG_AMOUNT if fate is Fate.WRONG_AMOUNT else amount,
        outcome=Outcome.STUCK if fate is Fate.STUCK else Outcome.FAILED if fails else Outcome.RECHARGED,
        settle_after=window * (slow if is_slow and fate is Fate.CALLBACK_LOST else quick),
        callback_lost=fate is not Fate.CALLBACK,
        unknown=fate is Fate.UNKNOWN,
    )
    submission = {"account": account, "request_id": request_id, "mobile": mobile, "expected_amount": amount}
    return PlannedOrder(fate=fate, placing=placing, submission=submission)
