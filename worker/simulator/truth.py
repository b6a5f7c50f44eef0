"""What becomes of an order, drawn from the seed and the order's id alone: the same in every run, in any order."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from worker.simulator.delays import Delay

_AMOUNTS = ("2.94", "4.90", "6.86", "9.80", "14.70", "19.60", "29.40", "49.00", "68.60")
"""Charges in yuan, of the size of the one on the platform's page."""


class Outcome(StrEnum):
    """How an order ends, in the words of the answer's `trafficSts` where it has a word."""

    RECHARGED = "1"
    FAILED = "-1"
    STUCK = "stuck"
    """It never ends: the platform says `0` for ever."""


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
    """The distributions that orders are drawn from."""

    seed: int
    delay: Delay
    failed_share: float
    stuck_share: float
    lost_share: float

    def draw(self, name: str) -> Drawn:
        """The fate of the order with this id.

        Every aspect is drawn in a fixed sequence, so changing one share changes nothing else.
        """
        rng = Random(f"{self.seed}:{name}")
        outcome, lost = rng.random(), rng.random()
        amount = rng.choice(_AMOUNTS)
        request_id = f"2016{rng.randrange(10**12):012d}"
        return Drawn(
            request_id=request_id,
            outcome=self._outcome(outcome),
            settle_after=self.delay.draw(rng),
            amount=amount,
            callback_lost=lost < self.lost_share,
        )

    def _outcome(self, drawn: float) -> Outcome:
        if drawn < self.failed_share:
            return Outcome.FAILED
        return Outcome.STUCK if drawn < self.failed_share + self.stuck_share else Outcome.RECHARGED
