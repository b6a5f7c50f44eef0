"""Do the work of ticks other than queries, a limited amount in each tick. Flag overdue orders, delete notifications
that were delivered long ago, and count rows into the totals of the metrics. Any number of processes may do this at
once.

A person must know if an order stays pending long past the age limit, whatever the cause. For instance, its account may
be paused or no longer configured, or the platform may never answer. So overdue orders are searched in all accounts, and
not only in the accounts that this worker serves.
"""

from datetime import datetime, timedelta

import structlog

from worker.adapters.clock import Throttle
from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.monitoring import metric_counting
from worker.domain.orders.settlement import flag_overdue, overdue_before
from worker.domain.records.accounts import Rules
from worker.domain.records.metrics import Counted, Cursor, Stream
from worker.domain.records.notifications import Rank
from worker.domain.records.order_changes import Change
from worker.operations.save_orders import save_orders
from worker.stores import metric_totals
from worker.stores.notifications import delete_notifications, delivered_before
from worker.stores.pending_orders import has_overdue, lock_overdue

log = structlog.stdlib.get_logger(__name__)

MOST_FLAGGED = 200
"""The most orders that one transaction flags. If more orders are overdue, the next tick continues with them."""
_MOST_DELETED = 1_000
_DELETING_SECONDS = 60.0
MOST_COUNTED = 2_000
_COUNTING_SECONDS = 15.0


class OverdueOrders:
    """Flags overdue orders, at most 200 at a time; safe to share between threads and processes."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._rest = Throttle(rules.window_seconds)

    def flag_some(self) -> int:
        """Flag up to 200 overdue orders, and return how many were flagged. If there were fewer than 200, the next calls
        do nothing until a window has passed."""
        if not self._rest.is_open():
            return 0
        changes = self.flag()
        if len(changes) < MOST_FLAGGED:
            self._rest.close()
        return len(changes)

    @retry_contention
    def flag(self) -> list[Change]:
        """Flag up to 200 overdue orders now, and return the changes."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            before = overdue_before(now, self._rules)
            if not has_overdue(connection, before):
                return []
        with self._database.write() as connection:
            orders = lock_overdue(connection, before, MOST_FLAGGED)
            changes = [flag_overdue(order, now, self._rules) for order in orders]
            # The notifications get the rank BULK, because they may be many at once, and none of them reports a result.
            save_orders(connection, changes, now, rank=Rank.BULK)
        for change in changes:
            log.warning(
                "an order is still pending long past its age limit: a person should look at it",
                action="attention",
                order=str(change.after.key),
                order_id=change.after.id,
                reason=change.after.attention,
                state=change.after.state.value,
            )
        return changes


class OldDeliveries:
    """Deletes notifications that were delivered long ago, at most 1,000 at a time; safe to share between processes."""

    def __init__(self, database: Database, keep_days: int) -> None:
        self._database = database
        self._keep = timedelta(days=keep_days)
        self._rest = Throttle(_DELETING_SECONDS)

    def delete_some(self) -> int:
        """Delete up to 1,000 notifications that were delivered long ago, and return how many were deleted. If there
        were fewer than 1,000, the next calls do nothing for a minute."""
        if not self._rest.is_open():
            return 0
        deleted = self.delete()
        if deleted < _MOST_DELETED:
            self._rest.close()
        return deleted

    @retry_contention
    def delete(self) -> int:
        """Delete up to 1,000 notifications that were delivered long ago, now. Return how many were deleted."""
        with self._database.read() as connection:
            old = delivered_before(connection, self._database.now(connection) - self._keep, _MOST_DELETED)
        if not old:
            return 0
        with self._database.write() as connection:
            return delete_notifications(connection, old, delivered_only=True)


class MetricCounting:
    """Counts up to 2,000 rows of each stream at a time; safe to share between processes."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._rest = Throttle(_COUNTING_SECONDS)

    def count_some(self) -> None:
        """Count the next rows of each stream. If no stream has further rows to count, the next calls do nothing for 15
        seconds."""
        if self._rest.is_open():
            done = [count_further(self._database, stream, self._rules) for stream in Stream]
            if all(done):
                self._rest.close()


@retry_contention
def count_further(database: Database, stream: Stream, rules: Rules, *, most: int = MOST_COUNTED) -> bool:
    """Count the next rows of a stream, at most `most`. Return whether the stream has caught up, so that no row is left
    that can be counted already.

    The counting of a stream begins with the newest 2,000 rows of its table. Older rows are never counted, because the
    first totals would look like a sudden high rate. Raise the error of a transaction that lost too many races, or whose
    database is away.
    """
    # A read comes first. If it shows no row to count, nothing is locked or written, because SQLite allows only one
    # writer at a time.
    with database.read() as connection:
        cursor = metric_totals.read_cursors(connection).get(stream)
        now = database.now(connection)
        if cursor is not None and not _next(connection, stream, cursor, now, rules, most=1).rows:
            return True
    with database.write() as connection:
        if cursor is None:
            metric_totals.begin(connection, stream, MOST_COUNTED)
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
