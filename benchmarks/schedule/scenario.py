"""A workload: when each order was submitted, settled by the platform, and reported by a callback."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Order(NamedTuple):
    """One order of a scenario; all times in seconds from its start."""

    submitted: float
    settled: float | None
    """When the platform settles it; None for one that is stuck for good."""
    callback: float | None
    """When its callback comes; None for one that is lost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """A workload and the limits of its queries. An order is named by its index in `orders`."""

    horizon_seconds: float
    grace_seconds: float
    """How long an order waits for its callback before it may be polled."""
    window_seconds: float
    """One query may be sent in each window."""
    batch_size: int
    """How many orders one query polls at most."""
    orders: Sequence[Order]
