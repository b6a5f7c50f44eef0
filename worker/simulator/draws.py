"""What is drawn from the seed: durations, and the fate of an order.

An order's fate depends on the seed and the order's id only: it is the same in every run, in any sequence.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

_PARAMETERS = {
    "fixed": ("seconds",),
    "uniform": ("least", "most"),
    "exponential": ("mean",),
    "lognormal": ("median", "sigma"),
    "bimodal": ("fast", "slow", "slow_share"),
    "alternate": ("first", "second"),
}
_AMOUNTS = ("2.94", "4.90", "6.86", "9.80", "14.70", "19.60", "29.40", "49.00", "68.60")
"""Charges in yuan, about as large as the one on the platform's page."""
_BIMODAL_SIGMA = 0.25
"""Spread of each of the two modes of `bimodal`: a quarter around its median, so that they stay apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """A distribution of durations, in seconds. Build it with `Delay.parse`."""

    kind: str
    numbers: tuple[float, ...]

    @staticmethod
    def parse(text: str) -> "Delay":
        """Read `KIND:NUMBER,...`, e.g. `lognormal:10,0.8`; a bare number is `fixed`.

        Kinds: fixed:seconds, uniform:least,most, exponential:mean, lognormal:median,sigma,
        bimodal:fast,slow,slow_share, alternate:first,second (by turns). Raises ValueError with what is accepted.
        """
        kind, colon, rest = text.strip().partition(":")
        if not colon:
            kind, rest = "fixed", kind
        try:
            numbers = tuple(float(number) for number in rest.split(","))
        except ValueError:
            numbers = ()
        names = _PARAMETERS.get(kind, ())
        if not names or len(names) != len(numbers) or not all(0 <= number < math.inf for number in numbers):
            accepted = "; ".join(f"{known}:{','.join(parts)}" for known, parts in _PARAMETERS.items())
            raise ValueError(f"{text!r} is not a duration; accepted: {accepted} (numbers zero or more, in seconds)")
        return Delay(kind=kind, numbers=numbers)

    def draw(self, rng: Random, *, turn: int = 0) -> float:
        """One duration in seconds. `turn` counts the draws from zero, for `alternate`; other kinds ignore it."""
        match self.kind, self.numbers:
            case "fixed", (constant,):
                return constant
            case "uniform", (least, most):
                return rng.uniform(least, most)
            case "exponential", (mean,):
                return rng.expovariate(1 / mean) if mean else 0.0
            case "lognormal", (median, sigma):
                return median * math.exp(rng.gauss(0, sigma))
            case "bimodal", (fast, slow, slow_share):
                median = slow if rng.random() < slow_share else fast
                return median * math.exp(rng.gauss(0, _BIMODAL_SIGMA))
            case _:
                return self.numbers[turn % len(self.numbers)]

    def __str__(self) -> str:
        """The text that `parse` reads."""
        return f"{self.kind}:{','.join(f'{number:g}' for number in self.numbers)}"


class Outcome(StrEnum):
    """How an order ends, as the answer's `trafficSts` where it has a value for that."""

    RECHARGED = "1"
    FAILED = "-1"
    STUCK = "stuck"
    """It never ends: its `trafficSts` is `0` for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """What was drawn for one id."""

    request_id: str
    """The number that the platform gives an order which was placed under a `customParm` only."""
    outcome: Outcome
    settle_after: float
    """Seconds from the order's placing."""
    amount: str
    callback_lost: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """The distributions that orders are drawn from. Shares from 0 to 1."""

    seed: int = 1
    delay: Delay = field(default_factory=lambda: Delay.parse("lognormal:10,0.8"))
    """From an order's placing to its settling."""
    failed_share: float = 0.05
    stuck_share: float = 0.0
    """Orders that never settle."""
    lost_share: float = 0.0
    """Callbacks that are never pushed."""

    def draw(self, name: str) -> Drawn:
        """The fate of the order with this id.

        Every aspect is drawn in a fixed sequence, so changing one share changes nothing else.
        """
        rng = Random(f"{self.seed}:{name}")
        drawn, lost = rng.random(), rng.random()
        amount = rng.choice(_AMOUNTS)
        request_id = f"2016{rng.randrange(10**12):012d}"
        outcome = Outcome.STUCK if drawn < self.failed_share + self.stuck_share else Outcome.RECHARGED
        return Drawn(
            request_id=request_id,
            outcome=Outcome.FAILED if drawn < self.failed_share else outcome,
            settle_after=self.delay.draw(rng),
            amount=amount,
            callback_lost=lost < self.lost_share,
        )
