"""The samples that a reading gives to each metric, as prometheus_client writes them."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from worker.domain import metric_totals as totals
from worker.domain.records.metrics import Stream, TotalKey
from worker.web.metric_catalogue import CATALOGUE, Counter, Gauge, Histogram, Last, Samples
from worker.web.metric_source import Reading


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
        newest = described.newest(reading.gauges, account)
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
