"""All metrics with their help and the source of their samples. docs/metrics.md lists them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import TypeVar

from worker.broker.celery_settings import ORDERS_QUEUE, TICKS_QUEUE
from worker.domain.monitoring import metric_counting as totals
from worker.domain.monitoring.worker_processes import heard_beat_at, heard_broker_at, intake_findings, queue_reading
from worker.domain.records.metrics import Count, Gauges, LastQuery, Stream
from worker.domain.records.monitoring import NOT_CONNECTED, FindingKind, NotificationCounts, PendingOrders, WorkerRow
from worker.domain.records.orders import Attention

T = TypeVar("T")

Samples = Iterable[tuple[Sequence[str], float | None]]
"""For each sample, the values of its labels and its own value. A sample with the value None is left out."""
_WORKER = ("worker",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """A metric. It is shown even if it has no samples."""

    name: str
    labels: tuple[str, ...] = ("account",)
    help: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauge(Described):
    """A metric of the present state."""

    samples: Callable[[Gauges], Samples]


@dataclass(frozen=True, kw_only=True, slots=True)
class Last(Described):
    """A gauge of the time of an account's last query or last answer. The time is taken from the newest rows of the
    query log; if these rows have no such time, from the totals."""

    newest: Callable[[LastQuery], datetime | None]
    """Takes the time from the newest queries of an account."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counter(Described):
    """A metric that only grows. `from_start` returns the labels of the samples that are shown as 0 before anything is
    counted."""

    stream: Stream
    from_start: Callable[[Gauges], Iterable[Sequence[str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram(Described):
    """A distribution of values by account."""

    stream: Stream


def _by_account(count: Count, none: T, value: Callable[[T], float | None]) -> Callable[[Gauges], Samples]:
    """Makes the function that returns a sample for each account. `none` is the count of an account without rows."""

    def samples(gauges: Gauges) -> Samples:
        counts: Mapping[str, T] | None = getattr(gauges.counts, count)
        if counts is not None:
            for account in sorted({*gauges.accounts, *counts}):
                yield [account], value(counts.get(account, none))

    return samples


def _pending(value: Callable[[PendingOrders], float | None]) -> Callable[[Gauges], Samples]:
    return _by_account(Count.PENDING, PendingOrders(), value)


def _notifications(value: Callable[[NotificationCounts], float | None]) -> Callable[[Gauges], Samples]:
    return _by_account(Count.NOTIFICATIONS, NotificationCounts(), value)


def _attention(gauges: Gauges) -> Samples:
    if (counts := gauges.counts.attention) is not None:
        accounts = {*gauges.accounts, *(account for account, _ in counts)}
        for account, reason in product(sorted(accounts), Attention):
            yield [account, reason.value], counts.get((account, reason.value), 0)


def _backoff(gauges: Gauges) -> Samples:
    for state in gauges.states:
        yield [state.account], _seconds(state.backoff_until) if state.is_backed_off(gauges.now) else None


def _paused(gauges: Gauges) -> Samples:
    paused = {state.account for state in gauges.states if state.is_paused(gauges.now)}
    for account in gauges.accounts:
        yield [account], float(account in paused)


def _workers(
    value: Callable[[WorkerRow], float | None], more_labels: Callable[[WorkerRow], Sequence[str]] = lambda _: ()
) -> Callable[[Gauges], Samples]:
    def samples(gauges: Gauges) -> Samples:
        # Two rows may have the same host and process id, if one of them is of a killed process. Only the row that was
        # written last is used.
        rows = {f"{row.host}:{row.pid}": row for row in sorted(gauges.workers, key=lambda row: row.written_at)}
        for worker, row in sorted(rows.items()):
            yield [worker, *more_labels(row)], value(row)

    return samples


def _queues(gauges: Gauges) -> Samples:
    if (reading := queue_reading(gauges.workers, gauges.now)) is not None:
        yield from (([ORDERS_QUEUE], reading.orders_waiting), ([TICKS_QUEUE], reading.ticks_waiting))


def _findings(gauges: Gauges) -> Samples:
    found = {finding.kind for finding in intake_findings(gauges.workers, gauges.now)}
    for kind in (FindingKind.NOTHING_TAKEN_IN, FindingKind.SHARED_QUEUES):
        yield [kind.value], float(kind in found)


def _cut_off(gauges: Gauges) -> Samples:
    running = {row.host for row in gauges.workers}
    for row in gauges.cut_off:
        if row.host not in running:
            continue
        reason = "not_connected" if row.account == NOT_CONNECTED else "refused"
        yield [row.host, row.account, reason], _seconds(row.since)


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


CATALOGUE: tuple[Described, ...] = (
    Gauge(
        name="reconciler_orders_pending",
        help="Orders that are polled until they are settled.",
        samples=_pending(lambda one: one.pending),
    ),
    Gauge(
        name="reconciler_orders_due",
        help="Pending orders that the next query may poll.",
        samples=_pending(lambda one: one.due),
    ),
    Gauge(
        name="reconciler_oldest_due_timestamp_seconds",
        help="Since when the order is due that has been due for longest. No sample where none is due.",
        samples=_pending(lambda one: _seconds(one.oldest_due_at)),
    ),
    Last(
        name=totals.LAST_QUERY,
        help="When the last query was sent, however it ended.",
        newest=lambda query: query.sent_at,
    ),
    Last(
        name=totals.LAST_ANSWER,
        help="When the last query that the platform answered was answered.",
        newest=lambda query: query.answered_at,
    ),
    Counter(
        name=totals.QUERIES,
        labels=("account", "outcome"),
        help="Queries that have ended, by outcome.",
        stream=Stream.QUERIES,
        from_start=lambda gauges: product(gauges.accounts, totals.OUTCOMES),
    ),
    Counter(
        name=totals.TOO_FREQUENT,
        help="Queries that the platform refused because they come too often.",
        stream=Stream.QUERIES,
        from_start=lambda gauges: ([account] for account in gauges.accounts),
    ),
    Histogram(
        name=totals.QUERY_DURATION,
        help="From the grant of a query to the end of its answer, of those that had one.",
        stream=Stream.QUERIES,
    ),
    Histogram(
        name=totals.QUERY_ORDERS,
        help="How many orders a query polled.",
        stream=Stream.QUERIES,
    ),
    Counter(
        name=totals.SETTLEMENTS,
        labels=("account", "state", "source"),
        help="Orders that became final, by state and by what settled them.",
        stream=Stream.EVENTS,
        from_start=lambda gauges: product(gauges.accounts, totals.FINAL_STATES, totals.SETTLING_SOURCES),
    ),
    Histogram(
        name=totals.SETTLEMENT_DELAY,
        help="From the submission of an order to its final state.",
        stream=Stream.EVENTS,
    ),
    Gauge(
        name="reconciler_attention_orders",
        labels=("account", "reason"),
        help="Orders that a person should look at, by reason.",
        samples=_attention,
    ),
    Gauge(
        name="reconciler_unresolved_orders",
        help="Orders that are not polled any more and wait for a person's decision.",
        samples=_by_account(Count.UNRESOLVED, 0, float),
    ),
    Counter(
        name=totals.REJECTED,
        labels=("source",),
        help="Input that was refused, by the task or command that brought it.",
        stream=Stream.REJECTED,
        from_start=lambda _: ([source] for source in totals.REJECTING_SOURCES),
    ),
    Gauge(
        name="reconciler_unmatched_callbacks",
        help="Callbacks whose order is not known.",
        samples=_by_account(Count.UNMATCHED, 0, float),
    ),
    Gauge(
        name="reconciler_account_backoff_until_timestamp_seconds",
        help="When the back-off of an account ends. No sample where it does not back off.",
        samples=_backoff,
    ),
    Gauge(
        name="reconciler_account_paused",
        help="1 while an operator's pause holds, otherwise 0.",
        samples=_paused,
    ),
    Gauge(
        name="reconciler_notifications_pending",
        help="Notifications that were not received yet.",
        samples=_notifications(lambda one: one.pending),
    ),
    Gauge(
        name="reconciler_notifications_gave_up",
        help="Notifications that are not tried any more, until somebody resends them.",
        samples=_notifications(lambda one: one.gave_up),
    ),
    Gauge(
        name="reconciler_oldest_notification_timestamp_seconds",
        help="When the order changed that the oldest pending notification is about. No sample where none is pending.",
        samples=_notifications(lambda one: _seconds(one.oldest_changed_at)),
    ),
    Gauge(
        name="reconciler_worker_last_tick_timestamp_seconds",
        labels=_WORKER,
        help="When the last tick of a worker process ended. No sample before its first, nor while its work hangs.",
        samples=_workers(lambda row: _seconds(row.last_tick_at if row.hanging_since is None else None)),
    ),
    Gauge(
        name="reconciler_worker_last_broker_answer_timestamp_seconds",
        labels=_WORKER,
        help="When the broker last answered a worker process; before its first answer, the start of the process.",
        samples=_workers(lambda row: _seconds(heard_broker_at(row))),
    ),
    Gauge(
        name="reconciler_last_beat_timestamp_seconds",
        labels=(),
        help="When a worker last received a tick of beat; before the first, the start of the oldest worker.",
        samples=lambda gauges: [([], _seconds(heard_beat_at(gauges.workers)))],
    ),
    Gauge(
        name="reconciler_queue_messages",
        labels=("queue",),
        help="Messages that wait in a queue at the broker. No sample where a worker may not ask.",
        samples=_queues,
    ),
    Gauge(
        name="reconciler_finding",
        labels=("name",),
        help="1 while `reconciler status` reports this of what comes in by tasks, otherwise 0.",
        samples=_findings,
    ),
    Gauge(
        name="reconciler_worker_clock_offset_seconds",
        labels=_WORKER,
        help="The clock of a worker's host minus that of the database.",
        samples=_workers(lambda row: row.clock_offset_seconds),
    ),
    Gauge(
        name="reconciler_build_info",
        labels=("worker", "version"),
        help="1, with the version that a worker process runs.",
        samples=_workers(lambda row: 1.0 if row.version else None, lambda row: [row.version or ""]),
    ),
    Gauge(
        name="reconciler_host_cut_off_timestamp_seconds",
        labels=("host", "account", "reason"),
        help="Since when a host of workers is not connected to the platform, or refused for an account.",
        samples=_cut_off,
    ),
)
"""All metrics, in the order of docs/metrics.md."""
