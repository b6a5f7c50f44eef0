"""Record every request that arrives at the simulated platform, and whether it kept the query limit.

A request arrives at the moment when its first line and its headers have been read completely. Its body is read later. A
request that is cut off earlier has not arrived. The clock is read under the record's lock, so arrivals are in the order
of their times.

The limit is at most N arrivals of a SID in any window; N is `queries_per_window`. Every request with the SID in its
path counts, even if the signature is wrong, the request is refused or the body never comes. A window is half open: with
N = 1, two arrivals exactly a window apart keep the limit.
"""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """A request that arrived, and its outcome."""

    number: int
    """The number of this arrival; the platform's first arrival has number 1."""
    sid: str
    monotonic: float
    """The time of the arrival, in seconds on the platform's monotonic clock."""
    wall: str
    """The time of the arrival in ISO 8601, UTC. It is only for people: no check uses it."""
    method: str
    window_spacing: float | None
    """Seconds since an earlier arrival of the SID; None if there were too few.

    If a window may have N arrivals, this is the N-th arrival before this one. With N = 1 it is the one just before.
    """
    id_kind: str | None = None
    ids: tuple[str, ...] = ()
    outcome: str = "open"
    """`open` (not decided yet), `answered`, `refused`, `fault` or `broken` (the body never came completely)."""
    detail: str = ""
    """The reason of a refusal, or the name of a fault. It is not part of the answer."""
    status_code: str | None = None
    """The error code in the answer; None if it has none."""
    items: tuple[tuple[str, str, str | None, str | None], ...] = ()
    """The items in the answer. Each has the polled id, `trafficSts`, `oriAmount` and `remark`."""
    spoiled: tuple[tuple[str, str], ...] = ()
    """The items that a fault changed or removed. Each has the polled id and the name of the fault."""
    violations: tuple[str, ...] = ()
    """The rules that the request broke: `limit`, `over_100_ids`, `doubled_ids`, `no_ids`."""


@dataclass(kw_only=True, eq=False)
class Record:
    """The arrivals so far. Safe to use from several threads."""

    window_seconds: float
    queries_per_window: int
    clock: Callable[[], float]
    path: Path | None = None
    """A file to which every arrival is appended, as one line of JSON, once its answer is decided."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        if self.path:
            # Create the file so that only its owner may read it, because it names orders.
            self.path.touch(0o600)
        self._arrivals: list[Arrival] = []
        self._recent: dict[str, deque[float]] = {}

    def arrive(self, sid: str, method: str = "POST") -> Arrival:
        """Record that a request for this SID arrives at this moment."""
        with self._lock:
            now = self.clock()
            recent = self._recent.setdefault(sid, deque(maxlen=self.queries_per_window))
            spacing = now - recent[0] if len(recent) == self.queries_per_window else None
            arrival = Arrival(
                number=len(self._arrivals) + 1,
                sid=sid,
                monotonic=now,
                wall=datetime.now(UTC).isoformat(),
                method=method,
                window_spacing=spacing,
                violations=() if spacing is None or spacing >= self.window_seconds else ("limit",),
            )
            recent.append(now)
            self._arrivals.append(arrival)
            return arrival

    def close(self, closed: Arrival) -> None:
        """Store the outcome of an arrival. `closed` is the arrival with its outcome filled in."""
        with self._lock:
            self._arrivals[closed.number - 1] = closed
            if self.path:
                with self.path.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(asdict(closed), ensure_ascii=False) + "\n")

    def arrivals(self) -> list[Arrival]:
        """All arrivals, in the order of their times."""
        with self._lock:
            return list(self._arrivals)

    def violations(self) -> list[dict[str, object]]:
        """Every violation, in the order of the arrivals.

        Each has the `number` and the `sid` of the arrival; its `kind` is the name of the broken rule.
        """
        return [
            {"number": one.number, "sid": one.sid, "kind": kind} for one in self.arrivals() for kind in one.violations
        ]

    def smallest_spacings(self) -> dict[str, float | None]:
        """The smallest `window_spacing` of each SID; None if the SID had too few arrivals.

        A SID kept the limit if its smallest spacing is not smaller than a window.
        """
        least: dict[str, float | None] = {}
        for one in self.arrivals():
            spacings = [one.window_spacing, least.get(one.sid)]
            least[one.sid] = min((spacing for spacing in spacings if spacing is not None), default=None)
        return least

    def summary(self) -> dict[str, object]:
        """The whole record as JSON values."""
        return {
            "window_seconds": self.window_seconds,
            "queries_per_window": self.queries_per_window,
            "arrivals": [asdict(one) for one in self.arrivals()],
            "violations": self.violations(),
            "smallest_spacing": self.smallest_spacings(),
        }
