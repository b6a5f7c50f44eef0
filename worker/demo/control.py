"""A client of the simulated platform's control endpoint."""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.demo.plan import PlannedOrder

_TIMEOUT_SECONDS = 10.0
_NO_ARRIVALS = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What is true of one order at the platform."""

    request_id: str
    outcome: str
    """`1` recharged, `-1` failed, `stuck`."""
    settled: bool
    amount: str
    """Charged, in yuan."""
    unknown: bool
    """The platform does not know it."""
    callback: str
    """`sent`, `lost`, `waiting`, `failed` or `none`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformRecord:
    """What the platform recorded of the queries that reached it."""

    queries: tuple[tuple[str, ...], ...]
    """The ids that each query polled, in the order of arrival."""
    violations: tuple[str, ...]
    smallest_spacing: float | None
    """Seconds; None where fewer than two queries arrived."""
    callbacks: Mapping[str, int]
    """How many are in each state."""


class PlatformControl:
    """A client of the control endpoint of a simulated platform on this machine. Raises OSError where it is gone."""

    def __init__(self, url: str) -> None:
        self._url = url
        # A proxy of the environment must not stand between two processes of one machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def place(self, orders: Sequence[PlannedOrder]) -> None:
        """Place orders at the platform: their times begin to count."""
        self._call("/simulator/orders", {"orders": [order.placing() for order in orders]})

    def callbacks(self) -> Mapping[str, int]:
        """How many callbacks are in each state."""
        counts: Mapping[str, int] = self._call(f"/simulator/record?after={_NO_ARRIVALS}")["callbacks"]
        return counts

    def record(self) -> PlatformRecord:
        """Everything that the platform recorded."""
        record = self._call("/simulator/record")
        spacings = [spacing for spacing in record["smallest_spacing"].values() if spacing is not None]
        return PlatformRecord(
            queries=tuple(tuple(arrival["ids"]) for arrival in record["arrivals"]),
            violations=tuple(violation["kind"] for violation in record["violations"]),
            smallest_spacing=min(spacings, default=None),
            callbacks=record["callbacks"],
        )

    def truth(self) -> list[Truth]:
        """Every order as it truly stands."""
        names = Truth.__dataclass_fields__
        return [Truth(**{name: one[name] for name in names}) for one in self._call("/simulator/truth")["orders"]]

    def _call(self, path: str, sent: object = None) -> Any:
        data = None if sent is None else json.dumps(sent).encode()
        with self._opener.open(self._url + path, data, _TIMEOUT_SECONDS) as answer:
            return json.load(answer)
