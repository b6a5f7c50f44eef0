"""The durations and sizes that decisions depend on. Everything that is given in windows scales with the window."""

import math
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class FailedAmount(StrEnum):
    """What the amount beside a failure means on a platform."""

    CHARGED = "charged"
    """What was charged, although the order failed."""
    ECHOED = "echoed"
    """The order's price, which the platform repeats, where it is the expected amount or none is expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The settings that decisions depend on. Durations are seconds; fractions count."""

    window_seconds: float = 60.0
    """In any window the platform may see `slots` queries of one account SID."""
    margin_seconds: float = 0.5
    """Added to the window, for what clocks and networks may disagree about."""
    deadline_seconds: float = 30.0
    """For one whole exchange, counted from before the grant."""
    slots: int = 1
    """Queries per window, per account SID; each has a row of its own."""
    batch_size: int = 100
    grace_seconds: float = 600.0
    """How long an order waits for its callback before the first query."""
    unresolved_after_seconds: float = 259_200.0
    """The age limit: the order age at which polling stops."""
    echoing_accounts: frozenset[str] = frozenset()
    """Those whose platform repeats the price of a failed order (`FailedAmount.ECHOED`)."""

    @property
    def reservation_seconds(self) -> float:
        """How long a slot is closed from its grant: no query of ours can reach the platform after the deadline."""
        return self.deadline_seconds + self.window_seconds + self.margin_seconds

    @property
    def spacing_seconds(self) -> float:
        """How long a slot is closed from a whole answer."""
        return self.window_seconds + self.margin_seconds

    def drain_seconds(self, queries: int) -> float:
        """How long it takes to send so many queries of a SID at its limit, until the next one may follow them."""
        return math.ceil(queries / self.slots) * self.spacing_seconds

    def windows(self, count: float) -> timedelta:
        """The duration of `count` windows."""
        return timedelta(seconds=count * self.window_seconds)
