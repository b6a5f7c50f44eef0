"""Counts rows into the totals of the metrics, a bounded number in each transaction.

Any number of processes may do so at once: the one that holds the cursor of a stream counts its next rows, and the
others go on without waiting.
"""

from datetime import datetime

from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.records.accounts import Rules
from worker.domain.records.metrics import Counted, Cursor, Stream
from worker.domain.watching import metric_counting
from worker.stores import metric_totals

ROWS_AT_ONCE = 2_000


def count_further(database: Database, stream: Stream, rules: Rules, *, most: int = ROWS_AT_ONCE) -> bool:
    """Count the next rows of a stream, at most so many; whether it has caught up: no row that is ready is left.

    Raises what a transaction raises that lost too many races, or whose database is away.
    """
    # Without a row to count nothing is locked and nothing written: SQLite has one writer.
    with database.read() as connection:
        cursor = metric_totals.read_cursors(connection).get(stream)
        now = database.now(connection)
        if cursor is not None and not _next(connection, stream, cursor, now, rules, most=1).rows:
            return True
    if cursor is None:
        _begin(database, stream)
    return _count(database, stream, rules, most)


@retry_contention
def _begin(database: Database, stream: Stream) -> None:
    with database.write() as connection:
        if stream not in metric_totals.read_cursors(connection):
            metric_totals.add_cursor(connection, stream)


@retry_contention
def _count(database: Database, stream: Stream, rules: Rules, most: int) -> bool:
    with database.write() as connection:
        cursor = metric_totals.lock_cursor(connection, stream)
        if cursor is None:
            return False
        counted = _next(connection, stream, cursor, database.now(connection), rules, most)
        if counted.rows:
            metric_totals.add_to_totals(connection, counted.added, counted.replaced)
            metric_totals.save_cursor(connection, stream, counted.cursor)
    return counted.rows < most


def _next(connection: Connection, stream: Stream, cursor: Cursor, now: datetime, rules: Rules, most: int) -> Counted:
    match stream:
        case Stream.QUERIES:
            queries = metric_totals.next_queries(connection, cursor, most)
            return metric_counting.count_queries(queries, cursor, now, rules)
        case Stream.EVENTS:
            return metric_counting.count_events(metric_totals.next_events(connection, cursor, most), cursor, now)
        case Stream.REJECTED:
            return metric_counting.count_rejected(metric_totals.next_rejected(connection, cursor, most), cursor, now)
