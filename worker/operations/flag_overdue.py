"""Orders that are still pending long past the age limit: found by an index of their own, and flagged for a person.

Whatever keeps them pending (an account that is paused or no longer configured, a platform that never answers), a person
has to know. So the orders of all accounts are searched, not only of those that this worker serves.
"""

import structlog

from worker.adapters.clock import Throttle
from worker.database.transactions import Database, retry_contention
from worker.domain.orders.settlement import flag_overdue, overdue_before
from worker.domain.records.accounts import Rules
from worker.domain.records.notifications import Rank
from worker.domain.records.order_changes import Change
from worker.operations.save_orders import save_orders
from worker.stores.pending_orders import has_overdue, lock_overdue

log = structlog.stdlib.get_logger(__name__)

MOST_AT_ONCE = 200
"""How many orders one transaction flags. Where there are more, the next tick continues."""


class OverdueOrders:
    """Flags overdue orders, at most 200 at a time; safe to share between threads and processes."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._rest = Throttle(rules.window_seconds)

    def flag_some(self) -> int:
        """Flag up to 200 overdue orders; returns how many. Where fewer were left, it waits for the next window."""
        if not self._rest.is_open():
            return 0
        changes = self.flag()
        if len(changes) < MOST_AT_ONCE:
            self._rest.close()
        return len(changes)

    @retry_contention
    def flag(self) -> list[Change]:
        """Flag up to 200 overdue orders now."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            before = overdue_before(now, self._rules)
            if not has_overdue(connection, before):
                return []
        with self._database.write() as connection:
            orders = lock_overdue(connection, before, MOST_AT_ONCE)
            changes = [flag_overdue(order, now, self._rules) for order in orders]
            # Many at once, and none of them is a result.
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
