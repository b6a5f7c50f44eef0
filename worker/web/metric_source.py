"""What a scrape shows: gauges that all who ask within 15 seconds share, totals as they are now, and what takes so long
that it is counted apart from scrapes."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import structlog

from worker.adapters.error_text import first_words
from worker.database.transactions import Database
from worker.domain.records.metrics import Count, Gauges, Stream, TotalKey
from worker.domain.records.parameters import Rules
from worker.operations.count_metrics import count_further
from worker.views.metrics import Figures, Totals, count_all, is_all, read_accounts, read_gauges, read_totals
from worker.web.shared_readings import SharedReading

log = structlog.stdlib.get_logger(__name__)

_KEPT_SECONDS = 15.0
_OLDEST_SECONDS = 60.0
"""So old are the gauges at most that are shown while another thread reads newer ones."""
_LONGEST_STATEMENT_SECONDS = 5.0
_WAIT_SECONDS = 5.0
"""So long a scrape waits for the reading of another: while the database keeps silent, all threads would be waiting."""

_PERIOD_SECONDS = 60.0
_LONGEST_COUNT_SECONDS = 20.0
_CATCH_UP_SECONDS = 30.0
_FIRST_WAIT_SECONDS = 5.0
_CLOSE_SECONDS = 5.0
_FORGOTTEN_SECONDS = 300.0
"""A count that was not refreshed for so long is not shown any more."""


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
        self._refresh = _Refresh(database, accounts, rules, clock)
        self._reading_totals = threading.Lock()
        self._gauges = SharedReading[Gauges | None](
            self._read_gauges, otherwise=None, kept_seconds=_KEPT_SECONDS, oldest_seconds=_OLDEST_SECONDS, clock=clock
        )
        self._totals = Totals(values={}, cursors={})

    def read(self) -> Reading:
        """What to show now. Raises SQLAlchemy's errors where the database is away or takes too long, and TimeoutError
        where another thread waits for it."""
        gauges = self._gauges.latest(_WAIT_SECONDS)
        if gauges is None:
            raise TimeoutError("another thread waits for the database")
        figures = self._refresh.figures()
        large = {count.value: figures[count] for count in figures if getattr(gauges.counts, count) is None}
        counts = replace(gauges.counts, **large)
        # Before the totals: a stream that catches up in between is shown by the next scrape.
        caught_up = self._refresh.caught_up
        return Reading(gauges=replace(gauges, counts=counts), totals=self._fresh_totals(), caught_up=caught_up)

    def close(self) -> None:
        """Start no thread any more, and let the one that is at work end. The database is still open."""
        self._refresh.close()

    def _read_gauges(self) -> Gauges:
        large = self._refresh.large
        self._refresh.count_step()
        gauges = read_gauges(self._database, self._refresh.accounts, large, seconds=_LONGEST_STATEMENT_SECONDS)
        found = [count for count in Count if count not in large and getattr(gauges.counts, count) is None]
        self._refresh.begin(found)
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


class _Refresh:
    """What a thread counts that a scrape starts and does not wait for: what is large, which accounts have orders, and
    rows that are to go into the totals."""

    def __init__(self, database: Database, accounts: Collection[str], rules: Rules, clock: Callable[[], float]) -> None:
        """`accounts` are those of the settings; `clock` counts seconds."""
        self._database = database
        self._configured = frozenset(accounts)
        self._rules = rules
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._has_counted = threading.Event()
        self._began_at: float | None = None
        self._figures: Mapping[Count, tuple[float, Figures]] = {}
        self.accounts = self._configured
        """Those of the settings, and those that had pending orders or unreceived notifications a minute ago."""
        self.large: frozenset[Count] = frozenset()
        """What scrapes leave to this thread."""
        self.caught_up: frozenset[Stream] = frozenset()
        """The streams of which all rows that were ready have been counted."""

    def figures(self) -> dict[Count, Figures]:
        """What was counted here, for scrapes that have not counted it themselves."""
        now = self._clock()
        return {count: figures for count, (at, figures) in self._figures.items() if now - at < _FORGOTTEN_SECONDS}

    def count_step(self) -> None:
        """Count the next rows of each stream into the totals."""
        for stream in Stream:
            self._count_further(stream)

    def begin(self, found: Collection[Count]) -> None:
        """Start the thread where it is time. What a scrape has just `found` to be large is waited for, some seconds."""
        with self._lock:
            self.large |= frozenset(found)
            self._figures = {count: one for count, one in self._figures.items() if count not in found}
            wanted = bool(found) or self._is_due() or len(self.caught_up) < len(Stream)
            if wanted and not self._is_closed and (self._thread is None or not self._thread.is_alive()):
                self._has_counted.clear()
                self._thread = threading.Thread(target=self._run, name="metrics-refresh", daemon=True)
                self._thread.start()
        if found:
            self._has_counted.wait(_FIRST_WAIT_SECONDS)

    def close(self) -> None:
        """Have the thread end after the statement or transaction that is under way, and wait a few seconds for it."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
        if thread is not None:
            thread.join(_CLOSE_SECONDS)

    def _is_due(self) -> bool:
        return self._began_at is None or self._clock() - self._began_at >= _PERIOD_SECONDS

    def _run(self) -> None:
        try:
            wanted = self.large - self._figures.keys()
            if self._is_due():
                self._began_at = self._clock()
                found = read_accounts(self._database, seconds=_LONGEST_COUNT_SECONDS)
                self.accounts = self._configured.union(found)
                wanted = self.large
            for count in sorted(wanted):
                if not self._is_closed:
                    self._count(count)
            self._has_counted.set()
            self._catch_up()
        except Exception as error:  # whatever it is, it has to be logged: nobody waits for this
            log.warning(
                "metrics were not refreshed; a later scrape tries again",
                action="metrics_refresh_failed",
                error=first_words(error),
            )
        finally:
            self._has_counted.set()

    def _count(self, count: Count) -> None:
        figures = count_all(self._database, count, self.accounts, seconds=_LONGEST_COUNT_SECONDS)
        with self._lock:
            self._figures = {**self._figures, count: (self._clock(), figures)}
            if is_all(figures):
                # From the next one on scrapes count it again.
                self.large -= {count}

    def _catch_up(self) -> None:
        until = self._clock() + _CATCH_UP_SECONDS
        for stream in Stream:
            while not self._is_closed and self._clock() < until:
                if self._count_further(stream):
                    break

    def _count_further(self, stream: Stream) -> bool:
        is_done = count_further(self._database, stream, self._rules)
        if is_done:
            with self._lock:
                self.caught_up |= {stream}
        return is_done
