from collections.abc import Collection, Iterable, Mapping, Sequence

from benchmarks.schedule.scenario import Order, Scenario

WINDOW = 60.0


def make_scenario(
    orders: Iterable[tuple[float, float | None, float | None]],
    *,
    windows: int = 300,
    grace_seconds: float = 600.0,
    batch_size: int = 2,
) -> Scenario:
    return Scenario(
        horizon_seconds=windows * WINDOW,
        grace_seconds=grace_seconds,
        window_seconds=WINDOW,
        batch_size=batch_size,
        orders=[Order(*order) for order in orders],
    )


class Script:
    """Polls named orders in named windows, and records every call."""

    def __init__(self, batches: Mapping[int, Sequence[int]]) -> None:
        self._batches = batches
        self.calls: list[tuple[str, object, float]] = []
        self.windows: list[float] = []

    def submitted(self, order: int, at: float) -> None:
        self.calls.append(("submitted", order, at))

    def called_back(self, order: int, at: float) -> None:
        self.calls.append(("called back", order, at))

    def choose(self, now: float, limit: int) -> Sequence[int]:
        self.windows.append(now)
        return self._batches.get(round(now / WINDOW), ())

    def answered(self, now: float, asked: Sequence[int], settled: Collection[int]) -> None:
        self.calls.append(("answered", (tuple(asked), tuple(settled)), now))
