"""Reads what the gauges of a scrape show, without locks and by indexes alone."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from worker.database.transactions import Connection, Database
from worker.domain.back_off import restart_stepped_backoff
from worker.domain.records.metrics import Count, CountedRows, Gauges, PendingOrders, Stream
from worker.domain.records.overview import NotificationCounts
from worker.stores import metric_reads
from worker.stores.metric_counting import read_cursors
from worker.stores.overview_counts import bound_statements
from worker.stores.slots_and_accounts import read_states
from worker.stores.todo_reads import accounts_with_pending, accounts_with_unreceived
from worker.stores.worker_processes import read_workers

MOST_COUNTED = 10_000
"""A scrape counts so many rows of each kind. Where there are more, they are counted apart from it."""

Figures = Mapping[Any, Any]


def read_gauges(
    database: Database, accounts: Collection[str], left_out: Collection[Count], *, seconds: float
) -> Gauges:
    """The gauges of these accounts, and of those that a worker has known. Counts that are `left_out`, and those with
    more than 10,000 rows, are missing. A statement that takes longer than so many `seconds` ends with an error."""
    with database.read() as connection:
        bound_statements(connection, seconds)
        now = database.now(connection)
        states = [restart_stepped_backoff(state, now) for state in read_states(connection)]
        workers = read_workers(connection)
        served = {account for row in workers for account in row.accounts or ()}
        known = sorted({*accounts, *served, *(state.account for state in states)})
        found: dict[str, Any] = {}
        for count in Count:
            if count not in left_out:
                figures = _count(connection, count, known, now, MOST_COUNTED + 1)
                found |= {count.value: figures} if is_all(figures) else {}
        counted = read_cursors(connection).get(Stream.QUERIES)
        return Gauges(
            now=now,
            accounts=known,
            counts=CountedRows(**found),
            states=states,
            workers=workers,
            last_queries=metric_reads.queries_since(connection, 0 if counted is None else counted.counted_id),
        )


def read_accounts(database: Database, *, seconds: float) -> list[str]:
    """The accounts that have pending orders, or notifications that were not received: among them may be one that
    neither we nor any worker has."""
    with database.read() as connection:
        bound_statements(connection, seconds)
        return [*accounts_with_pending(connection), *accounts_with_unreceived(connection)]


def count_all(database: Database, count: Count, accounts: Collection[str], *, seconds: float) -> Figures:
    """A count of all rows, however many. A statement that takes longer than so many `seconds` ends with an error."""
    with database.read() as connection:
        bound_statements(connection, seconds)
        return _count(connection, count, accounts, database.now(connection), None)


def is_all(figures: Figures) -> bool:
    """Whether a count that ends after 10,001 rows holds all of them."""
    sizes = [_sizes(figure) for figure in figures.values()]
    return all(sum(rows) <= MOST_COUNTED for rows in zip(*sizes, strict=True))


def _sizes(figure: PendingOrders | NotificationCounts | int) -> tuple[int, ...]:
    if isinstance(figure, NotificationCounts):
        return figure.pending, figure.gave_up
    return (figure.pending if isinstance(figure, PendingOrders) else figure,)


def _count(connection: Connection, count: Count, accounts: Collection[str], now: datetime, most: int | None) -> Figures:
    match count:
        case Count.PENDING:
            return metric_reads.pending_orders(connection, accounts, now, most)
        case Count.ATTENTION:
            return metric_reads.attention_orders(connection, most)
        case Count.UNRESOLVED:
            return metric_reads.unresolved_orders(connection, most)
        case Count.UNMATCHED:
            return metric_reads.unmatched_callbacks(connection, most)
        case Count.NOTIFICATIONS:
            return metric_reads.waiting_notifications(connection, accounts, most)
