"""Notifications that were delivered some days ago are deleted, so many at a tick."""

from datetime import timedelta

from worker.adapters.clock import Throttle
from worker.database.transactions import Database, retry_contention
from worker.stores.notifications import delete_notifications, delivered_before

MOST_AT_ONCE = 1_000
_PERIOD_SECONDS = 60.0


class OldDeliveries:
    """Deletes what was delivered long ago, at most 1,000 rows at a time; safe to share between processes."""

    def __init__(self, database: Database, keep_days: int) -> None:
        self._database = database
        self._keep = timedelta(days=keep_days)
        self._rest = Throttle(_PERIOD_SECONDS)

    def delete_some(self) -> int:
        """Delete up to 1,000 of them; returns how many. Where fewer were left, it waits for a minute."""
        if not self._rest.is_open():
            return 0
        deleted = self.delete()
        if deleted < MOST_AT_ONCE:
            self._rest.close()
        return deleted

    @retry_contention
    def delete(self) -> int:
        """Delete up to 1,000 of them now."""
        with self._database.read() as connection:
            old = delivered_before(connection, self._database.now(connection) - self._keep, MOST_AT_ONCE)
        if not old:
            return 0
        with self._database.write() as connection:
            return delete_notifications(connection, old, delivered_only=True)
