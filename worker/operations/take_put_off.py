"""Items that wait for orders which somebody else holds locked: taken in once these are free, in one transaction with
their row."""

from collections.abc import Callable, Mapping

import structlog

from worker.adapters.clock import Throttle
from worker.database.error_kinds import OUTAGES
from worker.database.transactions import Database, retry_races
from worker.domain.orders.submissions import InputKind, Retried, read_refused, refused_texts
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import HeldName, HeldOrders
from worker.domain.records.orders import OrderKey
from worker.operations.retry_rejected import take_in
from worker.stores.put_off_items import PutOffRow, leave_put_off, lock_put_off, next_put_off
from worker.stores.rejected_and_unmatched import close_refused_of, keep_refused, keep_refused_once

_SECONDS = 0.5
"""How long a tick takes in what was put off."""
_DEFECT_LINES = Throttle(60.0)

log = structlog.stdlib.get_logger(__name__)


class PutOffItems:
    """Takes in what was put off, in the order in which it came, as far as its orders are free: for ticks."""

    def __init__(self, database: Database, rules: Rules, app_ids: Mapping[str, str]) -> None:
        self._database, self._rules, self._app_ids = database, rules, app_ids
        self._after = 0
        """The row that was tried last; 0 at the start of the table."""
        self._left: set[HeldName] = set()
        """The ids for which the rows up to there still wait. Later items that name one are left, too: their order may
        have come free since, and what concerns one order is done as it came."""

    def take_some(self, clock: Callable[[], float]) -> list[OrderKey]:
        """Try rows for half a second, by a clock of seconds, and go on from there the next time. Errors are logged.

        Kept callbacks may wait for the keys that are returned.
        """
        until, keys, is_well = clock() + _SECONDS, list[OrderKey](), True
        while is_well and clock() < until:
            row = taken = None
            try:
                with self._database.read() as connection:
                    row = next_put_off(connection, self._after)
                taken = None if row is None else self._take(row)
            except Exception as error:
                is_well = not OUTAGES.explains(error, "what was put off waits on")
                if is_well and _DEFECT_LINES.passes():
                    log.exception("what was put off could not be taken in", action="put_off_failed", row=row and row.id)
            if row is None:
                self._after, self._left = 0, set()
                break
            self._after = row.id
            if taken is None:
                read = read_refused(row.source, row.payload, "")
                HeldOrders(self._left).hold_unread([] if isinstance(read, str) else read.parts[0])
            elif taken.done or taken.rejections:
                done, refused = taken.done, len(taken.rejections)
                log.info("what was put off is taken in", action="put_off_taken_in", count=done, rejected=refused)
                keys += taken.keys
        return keys

    @retry_races
    def _take(self, row: PutOffRow) -> Retried | None:
        """Take in what a row holds, by the decisions of its task; what still waits is left there. None: another process
        is at it. Raises ValueError if the row cannot be read: it stays, as a worker of a later release may read it."""
        read, held, result = read_refused(row.source, row.payload, ""), HeldOrders(self._left), Retried()
        if isinstance(read, str):
            raise ValueError(f"the row {read}")
        (items,), are_orders = read.parts, read.kind is InputKind.ORDERS
        with self._database.write() as connection:
            if not lock_put_off(connection, row):
                return None
            now, came = self._database.now(connection), row.received_at
            take_in(connection, self._rules, self._app_ids, read.kind, items, came, now, result, held, rank=None)
            keep = keep_refused_once if read.kind is InputKind.CALLBACKS else keep_refused
            keep(connection, refused_texts(result.rejections, are_orders=are_orders), row.source, now)
            if are_orders:
                close_refused_of(connection, result.keys)
            if len(held.put_off) < len(items):
                leave_put_off(connection, row.id, [items[index] for index in sorted(held.put_off)])
            return result
