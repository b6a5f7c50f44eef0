"""`/metrics`: what Prometheus scrapes."""

from collections.abc import Iterable, Iterator, Mapping

from flask import Blueprint, Response, request
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from worker.database.error_kinds import is_of_another_revision, kind_of
from worker.domain.records.metrics import Stream, TotalKey
from worker.domain.watching import metric_counting as totals
from worker.web.access import Access, refuse_to_watch
from worker.web.metric_catalogue import CATALOGUE, Counter, Gauge, Histogram, Last, Samples
from worker.web.metric_source import MetricSource, Reading

_NOT_KEPT = {"Cache-Control": "no-store"}


class _Collected:
    """The families of one scrape, as prometheus_client asks for them."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = list(found)

    def collect(self) -> Iterator[Metric]:
        yield from self._found


def metric_routes(access: Access, source: MetricSource) -> Blueprint:
    """The route."""
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
    """What is wrong with the database, not in the error's own words: they name hosts and users. None for a defect."""
    if isinstance(error, TimeoutError):
        return "the database has not answered yet"
    if is_of_another_revision(error):
        return "the database is not at a revision that this release can read"
    kind = kind_of(error)
    return None if kind is None else kind.words


def families(reading: Reading) -> Iterator[Metric]:
    """All metrics with their samples. One without samples is written with its help and its type all the same."""
    by_name: dict[str, dict[TotalKey, float]] = {}
    for key, value in reading.totals.items():
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
    is_whole = Stream.QUERIES in reading.caught_up
    for account in reading.gauges.accounts:
        query = reading.gauges.last_queries.get(account)
        newest = None if query is None else described.newest(query)
        counted = reading.totals.get((described.name, totals.labels_of(account=account))) if is_whole else None
        yield [account], counted if newest is None else newest.timestamp()


def _counter(described: Counter, reading: Reading, values: Mapping[TotalKey, float]) -> Metric:
    family = CounterMetricFamily(described.name, described.help, labels=described.labels)
    if described.stream in reading.caught_up:
        counts = {tuple(map(str, labels)): 0.0 for labels in described.from_start(reading.gauges)}
        for (_, labels), value in values.items():
            counts[tuple(dict(labels)[name] for name in described.labels)] = value
        for labels_of_sample, value in sorted(counts.items()):
            family.add_metric(labels_of_sample, value)
    return family


def _histogram(described: Histogram, reading: Reading, by_name: Mapping[str, Mapping[TotalKey, float]]) -> Metric:
    family = HistogramMetricFamily(described.name, described.help, labels=described.labels)
    if described.stream in reading.caught_up:
        buckets: dict[str, dict[str, float]] = {}
        for (_, labels), value in by_name.get(f"{described.name}_bucket", {}).items():
            of = dict(labels)
            buckets.setdefault(of["account"], {})[of["le"]] = value
        sums = by_name.get(f"{described.name}_sum", {})
        for account, counts in sorted(buckets.items()):
            total = sums.get((f"{described.name}_sum", totals.labels_of(account=account)), 0.0)
            family.add_metric([account], totals.cumulated(described.name, counts), total)
    return family
