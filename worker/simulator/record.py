"""Record every arrival at the simulated platform, and whether it kept the limit.

A request arrives when its line and headers have been read completely, before its body. A request that is cut off
earlier has not arrived. The clock is read under the record's lock, so arrivals are in the order of their times.

The limit is at most N arrivals of a SID in any window. Every request with the SID in its path counts, even if its
signature is wrong, it is refused or its body never comes. A window is half open: two arrivals exactly a window apart
keep the limit.
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
    """A request and its outcome."""

    number: int
    """The arrival's number among all arrivals, from 1."""
    sid: str
    monotonic: float
    """Seconds on the platform's monotonic clock."""
    wall: str
    """The time in ISO 8601, UTC. Only for people: no check uses it."""
    method: str
    window_spacing: float | None
    """Seconds since the SID's N-th arrival before this one; None if there is none. N is the limit of a window."""
    id_kind: str | None = None
    ids: tuple[str, ...] = ()
    outcome: str = "open"
    """`open`, `answered`, `refused`, `fault` or `broken` (the body never came completely)."""
    detail: str = ""
    """The reason of a refusal, or the fault's name. Not sent."""
    status_code: str | None = None
    """The error code in the answer."""
    items: tuple[tuple[str, str, str | None, str | None], ...] = ()
    """The items in the answer: polled id, `trafficSts`, `oriAmount`, `remark`."""
    spoiled: tuple[tuple[str, str], ...] = ()
    """The items of this answer that a fault changed: polled id, and the fault's name."""
    violations: tuple[str, ...] = ()
    """The broken rules: `limit`, `over_100_ids`, `doubled_ids`, `no_ids`."""


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
            # Only its owner may read the file, because it names orders.
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
        """All arrivals, in order."""
        with self._lock:
            return list(self._arrivals)

    def violations(self) -> list[dict[str, object]]:
        """Every violation, in order: the arrival's number, its SID, and the `kind` of the broken rule."""
        return [
            {"number": one.number, "sid": one.sid, "kind": kind} for one in self.arrivals() for kind in one.violations
        ]

    def smallest_spacings(self) -> dict[str, float | None]:
        """The smallest `window_spacing` of each SID; None after too few arrivals.

        The limit was kept if the spacing is not smaller than a window.
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
