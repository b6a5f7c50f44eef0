"""Counts rows into the totals of the metrics, on ticks, a bounded number in each transaction.

Any number of processes may do so at once: the one that holds the cursor of a stream counts its next rows, and the
others continue without waiting.
"""

from datetime import datetime

from worker.adapters.clock import Throttle
from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.records.accounts import Rules
from worker.domain.records.metrics import Counted, Cursor, Stream
from worker.domain.watching import metric_counting
from worker.stores import metric_totals

ROWS_AT_ONCE = 2_000
_PERIOD_SECONDS = 15.0


class MetricCounting:
    """Counts up to 2,000 rows of each stream at a time; safe to share between processes."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._rest = Throttle(_PERIOD_SECONDS)

    def count_some(self) -> None:
        """Count the next rows of each stream. Where all have caught up, it waits for 15 seconds."""
        if self._rest.is_open():
            done = [count_further(self._database, stream, self._rules) for stream in Stream]
            if all(done):
                self._rest.close()


@retry_contention
def count_further(database: Database, stream: Stream, rules: Rules, *, most: int = ROWS_AT_ONCE) -> bool:
    """Count the next rows of a stream, at most so many; whether it has caught up: no row that is ready is left.

    A stream begins with the newest rows of its table, and its first totals are seen with all of these: older rows
    would look like a sudden rate. Raises what a transaction raises that lost too many races, or whose database is away.
    """
    # Without a row to count nothing is locked and nothing written: SQLite has one writer.
    with database.read() as connection:
        cursor = metric_totals.read_cursors(connection).get(stream)
        now = database.now(connection)
        if cursor is not None and not _next(connection, stream, cursor, now, rules, most=1).rows:
            return True
    with database.write() as connection:
        if cursor is None:
            metric_totals.begin(connection, stream, ROWS_AT_ONCE)
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
