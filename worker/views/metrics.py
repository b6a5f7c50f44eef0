"""Read the values that a scrape of `/metrics` shows. All are read through indexes alone."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select

from worker.database.bounded_statements import bounded
from worker.database.bulk_statements import one_of
from worker.database.tables import QUERIES
from worker.database.transactions import Connection, Database
from worker.domain.accounts.waits import restart_stepped_backoff
from worker.domain.records.metrics import Count, Cursor, Gauges, LastQuery, Stream, TotalKey
from worker.domain.records.monitoring import PendingOrders
from worker.stores.accounts import read_cut_off
from worker.stores.metric_totals import read_cursors, read_values
from worker.views import counts
from worker.views.accounts import known_accounts, read_states, read_workers

_MOST_UNCOUNTED = 10_000

Figures = Mapping[Any, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """All totals, and a cursor for each stream of rows, which tells how far the stream was counted. A stream without a
    cursor was never counted."""

    values: Mapping[TotalKey, float]
    cursors: Mapping[Stream, Cursor]


def read_gauges(database: Database, accounts: Collection[str], *, seconds: float) -> Gauges:
    """The gauges of these accounts, and of all accounts that a worker has known. The counts of rows are not among them.
    A statement that takes longer than `seconds` ends with an error."""
    with database.read() as connection, bounded(connection, seconds):
        now = database.now(connection)
        states = [restart_stepped_backoff(state, now) for state in read_states(connection)]
        workers = read_workers(connection)
        served = {account for row in workers for account in row.accounts or ()}
        known = sorted({*accounts, *served, *(state.account for state in states)})
        counted = read_cursors(connection).get(Stream.QUERIES)
        return Gauges(
            now=now,
            accounts=known,
            states=states,
            workers=workers,
            cut_off=read_cut_off(connection),
            last_queries=last_queries(connection, 0 if counted is None else counted.counted_id),
        )


def count_all(database: Database, accounts: Collection[str], count: Count, *, seconds: float) -> Figures:
    """Count all rows of a kind, for these accounts and for all other accounts that have such rows. A statement that
    takes longer than `seconds` ends with an error."""
    with database.read() as connection, bounded(connection, seconds):
        match count:
            case Count.PENDING:
                # An account with pending orders may be missing from our settings and from those of all workers.
                known = {*accounts, *known_accounts(connection)}
                pending = counts.pending(connection, known, database.now(connection))
                return {account: PendingOrders(counts=by_lane) for account, by_lane in pending.items() if by_lane}
            case Count.ATTENTION:
                return counts.attention(connection, None)
            case Count.UNRESOLVED:
                return {account: orders for (account, _), orders in counts.unresolved(connection, None).items()}
            case Count.UNMATCHED:
                return counts.unmatched(connection)
            case Count.NOTIFICATIONS:
                return counts.notifications(connection)


def read_totals(database: Database, known: Totals) -> Totals:
    """The present totals, all of one moment; `known` itself if nothing was counted since `known` was read."""
    with database.snapshot() as connection:
        cursors = read_cursors(connection)
        return known if cursors == known.cursors else Totals(values=read_values(connection), cursors=cursors)


def last_queries(connection: Connection, counted_id: int) -> dict[str, LastQuery]:
    """The newest query and the newest answered query of each account, among the queries after `counted_id`. At most the
    last 10,000 queries are searched."""
    latest_id = connection.scalar(select(func.max(QUERIES.c.id))) or 0
    behind = QUERIES.c.id > max(counted_id, latest_id - _MOST_UNCOUNTED)
    answered = func.max(case((QUERIES.c.outcome == "answered", QUERIES.c.id)))
    found = select(QUERIES.c.account, func.max(QUERIES.c.id), answered).where(behind).group_by(QUERIES.c.account)
    newest = connection.execute(found).all()
    ids = sorted({row_id for row in newest for row_id in row[1:] if row_id is not None})
    if not ids:
        return {}
    columns = (QUERIES.c.id, QUERIES.c.sent_at, QUERIES.c.answered_at)
    rows = {row.id: row for row in connection.execute(select(*columns).where(one_of(connection, QUERIES.c.id, ids)))}
    return {
        account: LastQuery(
            sent_at=rows[last].sent_at if last in rows else None,
            answered_at=rows[answer].answered_at if answer in rows else None,
        )
        for account, last, answer in newest
    }
