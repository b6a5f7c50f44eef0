"""Serve `/metrics` for Prometheus.

A scrape only reads: the workers' ticks add up the totals (`worker.operations.upkeep`), and a separate thread counts
rows. All scrapes within 15 seconds share one reading of the gauges. Each scrape reads the current totals.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import structlog
from flask import Blueprint, Response, request
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from worker.adapters.safe_text import first_words
from worker.database.error_kinds import is_of_another_revision, kind_of
from worker.database.transactions import Database
from worker.domain.monitoring import metric_counting as totals
from worker.domain.records.metrics import Count, CountedRows, Gauges, TotalKey
from worker.views.metrics import Figures, Totals, count_all, read_gauges, read_totals
from worker.web.access import Access, refuse_to_watch
from worker.web.metric_catalogue import CATALOGUE, Counter, Gauge, Histogram, Last, Samples
from worker.web.shared_readings import Apart, SharedReading

log = structlog.stdlib.get_logger(__name__)

_NOT_KEPT = {"Cache-Control": "no-store"}
_KEPT_SECONDS = 15.0
_OLDEST_SECONDS = 60.0
"""The greatest age of the gauges that a scrape shows while another thread reads newer gauges."""
_LONGEST_STATEMENT_SECONDS = 5.0
_WAIT_SECONDS = 5.0
"""How long a scrape waits for a reading by another thread. Without a limit, all threads would wait while the database
is silent."""

# A separate thread counts rows. Each kind of count may use at most a tenth of the time of one connection.
_LONGEST_COUNT_SECONDS = 20.0
_SHARE = 10.0
_PATIENCE_SECONDS = 1.0
"""How long a scrape waits for new counts. After that, it shows the last counts."""
_OLDEST_COUNT_SECONDS = 300.0
"""The greatest age of a count that is shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The values that one scrape shows."""

    gauges: Gauges
    totals: Totals


class MetricSource:
    """Reads the database for all scrapes of this process."""

    def __init__(
        self,
        database: Database,
        accounts: Collection[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`accounts` are those of the settings; `clock` counts seconds."""
        self._database = database
        self._apart = Apart("metrics-refresh")
        self._gauges = SharedReading[Gauges | None](
            partial(read_gauges, database, accounts, seconds=_LONGEST_STATEMENT_SECONDS),
            otherwise=None,
            kept_seconds=_KEPT_SECONDS,
            oldest_seconds=_OLDEST_SECONDS,
            clock=clock,
        )
        self._reading_totals = threading.Lock()
        self._totals = Totals(values={}, cursors={})
        shared = partial(
            self._apart.shared, kept_seconds=_KEPT_SECONDS, oldest_seconds=_OLDEST_COUNT_SECONDS, share=_SHARE
        )
        count_one = partial(count_all, database, accounts, seconds=_LONGEST_COUNT_SECONDS)
        # With `report`, an error of a count is only logged, and the last count is shown.
        self._counts: Mapping[Count, SharedReading[Figures | None]] = {
            count: shared(partial(count_one, count), report=_log_failure, clock=clock) for count in Count
        }

    def read(self) -> Reading:
        """The values to show now. Raises SQLAlchemy's errors if the database is unavailable or takes too long, and
        TimeoutError if another thread is already waiting for the database."""
        gauges = self._gauges.latest(_WAIT_SECONDS)
        if gauges is None:
            raise TimeoutError("another thread waits for the database")
        for shared in self._counts.values():
            # This starts every count before the first wait, so that the waits for them end together.
            shared.latest(0)
        figures = {
            count: shared.latest(_WAIT_SECONDS) if (known := shared.latest(_PATIENCE_SECONDS)) is None else known
            for count, shared in self._counts.items()
        }
        return Reading(gauges=replace(gauges, counts=CountedRows(**figures)), totals=self._fresh_totals())

    def close(self) -> None:
        """End the readings under way. Must be called before the database is closed."""
        self._apart.close()

    def _fresh_totals(self) -> Totals:
        """The totals of this moment. They are read anew for each scrape because several processes answer the same
        scraper in turn: if one process showed older totals than another, the counters would seem to have restarted."""
        # Only one thread at a time reads totals, so that the other connections are left for the pages while the
        # database is silent.
        if not self._reading_totals.acquire(timeout=_WAIT_SECONDS):
            raise TimeoutError("another thread waits for the database")
        try:
            self._totals = read_totals(self._database, self._totals)
            return self._totals
        finally:
            self._reading_totals.release()


def _log_failure(error: Exception) -> None:
    log.warning(
        "metrics were not refreshed; a later scrape tries again",
        action="metrics_refresh_failed",
        error=first_words(error),
    )


class _Collected:
    """The metric families of one scrape, in the form that prometheus_client needs."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = list(found)

    def collect(self) -> Iterator[Metric]:
        yield from self._found


def metric_routes(access: Access, source: MetricSource) -> Blueprint:
    """The route of `/metrics`."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        if not access.may_watch():
            return refuse_to_watch()
        try:
            found = _Collected(families(source.read()))
        except Exception as error:
            if (words := _fault(error)) is None:
                raise
            return Response(f"{words}\n", 503, mimetype="text/plain", headers=_NOT_KEPT)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(found), headers={"Content-Type": content_type, **_NOT_KEPT})

    return routes


def _fault(error: Exception) -> str | None:
    """The fault of the database in words; None if the error is a defect of ours. The error is not quoted, because it
    may name hosts and users."""
    if isinstance(error, TimeoutError):
        return "the database has not answered yet"
    if is_of_another_revision(error):
        return "the database is not at a revision that this release can read"
    kind = kind_of(error)
    return None if kind is None else kind.words


def families(reading: Reading) -> Iterator[Metric]:
    """All metrics with their samples. A metric without samples is still written with its help and type."""
    by_name: dict[str, dict[TotalKey, float]] = {}
    for key, value in reading.totals.values.items():
        by_name.setdefault(key[0], {})[key] = value
    for described in CATALOGUE:
        match described:
            case Gauge():
                yield _gauge(described, described.samples(reading.gauges))
            case Last():
                yield _gauge(described, _last(described, reading))
            case Counter():
                yield _counter(described, reading, by_name.get(described.name, {}))
            case Histogram():
                yield _histogram(described, reading, by_name)


def _gauge(described: Gauge | Last, samples: Samples) -> Metric:
    family = GaugeMetricFamily(described.name, described.help, labels=described.labels)
    for labels, value in samples:
        if value is not None:
            family.add_metric(labels, value)
    return family


def _last(described: Last, reading: Reading) -> Samples:
    for account in reading.gauges.accounts:
        query = reading.gauges.last_queries.get(account)
        newest = None if query is None else described.newest(query)
        counted = reading.totals.values.get((described.name, totals.labels_of(account=account)))
        yield [account], counted if newest is None else newest.timestamp()


def _counter(described: Counter, reading: Reading, values: Mapping[TotalKey, float]) -> Metric:
    family = CounterMetricFamily(described.name, described.help, labels=described.labels)
    if described.stream in reading.totals.cursors:
        counts = {tuple(map(str, labels)): 0.0 for labels in described.from_start(reading.gauges)}
        for (_, labels), value in values.items():
            counts[tuple(dict(labels)[name] for name in described.labels)] = value
        for labels_of_sample, value in sorted(counts.items()):
            family.add_metric(labels_of_sample, value)
    return family


def _histogram(described: Histogram, reading: Reading, by_name: Mapping[str, Mapping[TotalKey, float]]) -> Metric:
    family = HistogramMetricFamily(described.name, described.help, labels=described.labels)
    if described.stream in reading.totals.cursors:
        buckets: dict[str, dict[str, float]] = {}
        for (_, labels), value in by_name.get(f"{described.name}_bucket", {}).items():
            of = dict(labels)
            buckets.setdefault(of["account"], {})[of["le"]] = value
        sums = by_name.get(f"{described.name}_sum", {})
        for account, counts in sorted(buckets.items()):
            total = sums.get((f"{described.name}_sum", totals.labels_of(account=account)), 0.0)
            family.add_metric([account], totals.cumulated(described.name, counts), total)
    return family
