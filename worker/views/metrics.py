"""What the gauges of a scrape show, by indexes alone."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select

from worker.database.bounded_statements import bounded
from worker.database.bulk_statements import one_of
from worker.database.tables import QUERIES
from worker.database.transactions import Connection, Database
from worker.domain.accounts.waits import restart_stepped_backoff
from worker.domain.records.metrics import Count, CountedRows, Cursor, Gauges, LastQuery, Stream, TotalKey
from worker.domain.records.watching import NotificationCounts, PendingOrders
from worker.stores.accounts import read_cut_off
from worker.stores.metric_totals import read_cursors, read_values
from worker.views import counts
from worker.views.accounts import known_accounts, read_states, read_workers

_MOST_UNCOUNTED = 10_000
MOST_COUNTED = 10_000
"""A scrape counts so many rows of each kind. Where there are more, they are counted apart from it."""

Figures = Mapping[Any, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """All totals, with how far they were counted. A stream without a cursor was never counted."""

    values: Mapping[TotalKey, float]
    cursors: Mapping[Stream, Cursor]


def read_gauges(
    database: Database, accounts: Collection[str], left_out: Collection[Count], *, seconds: float
) -> Gauges:
    """The gauges of these accounts, and of those that a worker has known. Counts that are `left_out`, and those with
    more than 10,000 rows, are missing. A statement that takes longer than so many `seconds` ends with an error."""
    with database.read() as connection, bounded(connection, seconds):
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
            cut_off=read_cut_off(connection),
            last_queries=last_queries(connection, 0 if counted is None else counted.counted_id),
        )


def read_accounts(database: Database, *, seconds: float) -> list[str]:
    """All known accounts, and those with notifications that were not received: among them may be one that neither we
    nor any worker has."""
    with database.read() as connection, bounded(connection, seconds):
        return known_accounts(connection, with_unreceived=True)


def count_all(database: Database, count: Count, accounts: Collection[str], *, seconds: float) -> Figures:
    """A count of all rows, however many. A statement that takes longer than so many `seconds` ends with an error."""
    with database.read() as connection, bounded(connection, seconds):
        return _count(connection, count, accounts, database.now(connection), None)


def read_totals(database: Database, known: Totals) -> Totals:
    """The totals of one moment; those that are known where nothing was counted since."""
    with database.snapshot() as connection:
        cursors = read_cursors(connection)
        return known if cursors == known.cursors else Totals(values=read_values(connection), cursors=cursors)


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
            pending = counts.pending(connection, accounts, now, most)
            return {account: PendingOrders(counts=by_lane) for account, by_lane in pending.items() if by_lane}
        case Count.ATTENTION:
            return counts.attention(connection, most)
        case Count.UNRESOLVED:
            return {account: orders for (account, _), orders in counts.unresolved(connection, most).items()}
        case Count.UNMATCHED:
            return counts.unmatched(connection, most)
        case Count.NOTIFICATIONS:
            return counts.notifications(connection, accounts, most)


def last_queries(connection: Connection, counted_id: int) -> dict[str, LastQuery]:
    """By account, the newest query behind this one, and the newest answered one; of the last 10,000 queries at most."""
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
