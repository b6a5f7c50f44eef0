"""What a scrape shows: gauges that all who ask within 15 seconds share, and totals as they are now."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from worker.database.transactions import Database
from worker.domain.records.metrics import Count, Gauges, Stream, TotalKey
from worker.domain.records.parameters import Rules
from worker.views.metrics import Totals, read_gauges, read_totals
from worker.web.metric_refresh import Refresh

_KEPT_SECONDS = 15.0
_OLDEST_SECONDS = 60.0
"""So old are the gauges at most that are shown while another thread reads newer ones."""
_LONGEST_STATEMENT_SECONDS = 5.0
_WAIT_SECONDS = 5.0
"""So long a scrape waits for the reading of another: while the database keeps silent, all threads would be waiting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What one scrape shows."""

    gauges: Gauges
    totals: Mapping[TotalKey, float]
    caught_up: Collection[Stream]
    """The streams whose totals may be shown. While those of another one catch up with its table, they would look like
    a sudden rate."""


class MetricSource:
    """Reads the database for all scrapes of this process."""

    def __init__(
        self,
        database: Database,
        accounts: Collection[str],
        rules: Rules,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`accounts` are those of the settings; `clock` counts seconds."""
        self._database = database
        self._clock = clock
        self._refresh = Refresh(database, accounts, rules, clock)
        self._reading = threading.Lock()
        self._reading_totals = threading.Lock()
        self._gauges: tuple[float, Gauges] | None = None
        self._totals = Totals(values={}, cursors={})

    def read(self) -> Reading:
        """What to show now. Raises SQLAlchemy's errors where the database is away or takes too long, and TimeoutError
        where another thread waits for it."""
        gauges = self._shared_gauges()
        figures = self._refresh.figures()
        large = {count.value: figures[count] for count in figures if getattr(gauges.counts, count) is None}
        counts = replace(gauges.counts, **large)
        # Before the totals: a stream that catches up in between is shown by the next scrape.
        caught_up = self._refresh.caught_up
        return Reading(gauges=replace(gauges, counts=counts), totals=self._fresh_totals(), caught_up=caught_up)

    def close(self) -> None:
        """Start no thread any more, and let the one that is at work end. The database is still open."""
        self._refresh.close()

    def _shared_gauges(self) -> Gauges:
        if (kept := self._kept(_KEPT_SECONDS)) is not None:
            return kept
        old = self._kept(_OLDEST_SECONDS)
        if not self._reading.acquire(timeout=0 if old is not None else _WAIT_SECONDS):
            if old is not None:
                return old
            raise TimeoutError("another thread waits for the database")
        try:
            return self._kept(_KEPT_SECONDS) or self._new_gauges()
        finally:
            self._reading.release()

    def _kept(self, seconds: float) -> Gauges | None:
        kept = self._gauges
        return kept[1] if kept is not None and self._clock() - kept[0] < seconds else None

    def _new_gauges(self) -> Gauges:
        began_at, large = self._clock(), self._refresh.large
        self._refresh.count_step()
        gauges = read_gauges(self._database, self._refresh.accounts, large, seconds=_LONGEST_STATEMENT_SECONDS)
        found = [count for count in Count if count not in large and getattr(gauges.counts, count) is None]
        self._refresh.begin(found)
        self._gauges = (began_at, gauges)
        return gauges

    def _fresh_totals(self) -> Mapping[TotalKey, float]:
        """The totals of this moment: two processes take turns to answer the same scraper, and one that shows older
        totals than the other looks as if it had started again."""
        # One at a time: the pages have the other connection, while the database keeps silent.
        if not self._reading_totals.acquire(timeout=_WAIT_SECONDS):
            raise TimeoutError("another thread waits for the database")
        try:
            self._totals = read_totals(self._database, self._totals)
            return self._totals.values
        finally:
            self._reading_totals.release()
