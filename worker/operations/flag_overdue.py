"""Orders that are still pending long past the age limit: found by an index of their own, and shown to a person.

Whatever keeps them pending (an account that is paused or no longer configured, a platform that never answers), somebody
has to know. So all accounts of the table are looked through, not only those that this worker serves.
"""

import time
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Select, select

from worker.database.engine import Database
from worker.domain.giving_up import flag_overdue, overdue_before
from worker.domain.orders import Change
from worker.domain.rules import Rules
from worker.stores.recharge_orders import ORDER_COLUMNS, ORDERS, PENDING, save_changes, to_order

log = structlog.stdlib.get_logger(__name__)

MOST_AT_ONCE = 200
"""How many orders one transaction flags. Where there are more, the next tick goes on."""


class OverdueOrders:
    """Flags overdue orders, so many at a time; safe to share between threads and processes."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._next_read = 0.0

    def flag_some(self) -> int:
        """Flag up to 200 overdue orders; returns how many. Where fewer were left, the next window is waited for."""
        if time.monotonic() < self._next_read:
            return 0
        changes = self.flag()
        if len(changes) < MOST_AT_ONCE:
            self._next_read = time.monotonic() + self._rules.window_seconds
        return len(changes)

    def flag(self) -> list[Change]:
        """Flag up to 200 overdue orders now."""
        changes = self._database.retrying(self._flag)
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

    def _flag(self) -> list[Change]:
        with self._database.read() as connection:
            now = self._database.now(connection)
            if connection.scalar(overdue_orders(ORDERS.c.id, now=now, most=1, rules=self._rules)) is None:
                return []
        with self._database.write() as connection:
            statement = overdue_orders(*ORDER_COLUMNS, now=now, most=MOST_AT_ONCE, rules=self._rules)
            orders = [to_order(row) for row in connection.execute(statement.with_for_update(skip_locked=True))]
            flagged = [flag_overdue(order, now, self._rules) for order in orders]
            save_changes(connection, flagged, now)
            return flagged


def overdue_orders(*columns: Any, now: datetime, most: int, rules: Rules) -> Select[Any]:
    """The statement that reads these columns of the orders to flag, the longest pending first."""
    overdue = (
        (ORDERS.c.state == PENDING)
        & ORDERS.c.attention.is_(None)
        & (ORDERS.c.submitted_at < overdue_before(now, rules))
    )
    # By the index's own columns: PostgreSQL would not know that all these rows have the same `attention`, and sort.
    return select(*columns).where(overdue).order_by(ORDERS.c.attention, ORDERS.c.submitted_at).limit(most)
