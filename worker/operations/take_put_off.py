"""Items that wait for orders which somebody else holds locked: taken in once these are free, in one transaction with
their row."""

from collections.abc import Mapping

from worker.database.transactions import Database, retry_races
from worker.domain.orders.submissions import InputKind, RefusedInput, Retried, read_refused, refused_texts
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import HeldName, HeldOrders
from worker.operations.retry_rejected import take_in
from worker.stores.put_off_items import PutOffRow, leave_put_off, lock_put_off, next_put_off
from worker.stores.rejected_and_unmatched import close_refused_of, keep_refused, keep_refused_once


def read_next_put_off(database: Database, after: int) -> PutOffRow | None:
    """The first row after an id: rows are tried in the order in which they came."""
    with database.read() as connection:
        return next_put_off(connection, after)


def take_put_off(
    database: Database, rules: Rules, app_ids: Mapping[str, str], row: PutOffRow, left: set[HeldName]
) -> Retried:
    """Take in what a row holds, by the decisions of its task; what still waits is left there.

    `left` are the ids for which earlier rows wait: items with one of them are left, too, so that all that concerns one
    order is done as it came. The ids of what is left are added, and those of a row that fails or that another process
    is at. Raises ValueError if the row cannot be read; it stays, as a worker of a later release may read it.
    """
    read = read_refused(row.source, row.payload, "")
    if isinstance(read, str):
        raise ValueError(f"the row {read}")
    taken = None
    try:
        taken = _take(database, rules, app_ids, row, read, left)
    finally:
        if taken is None:
            HeldOrders(left).hold_texts(read.parts[0])
    return taken or Retried()


@retry_races
def _take(
    database: Database,
    rules: Rules,
    app_ids: Mapping[str, str],
    row: PutOffRow,
    read: RefusedInput,
    left: set[HeldName],
) -> Retried | None:
    result, held, (items,), are_orders = Retried(), HeldOrders(left), read.parts, read.kind is InputKind.ORDERS
    with database.write() as connection:
        if not lock_put_off(connection, row):
            return None
        now = database.now(connection)
        # An order without a time came in when the row did.
        take_in(connection, rules, app_ids, read.kind, items, row.received_at, now, result, held, rank=None)
        keep = keep_refused_once if read.kind is InputKind.CALLBACKS else keep_refused
        keep(connection, refused_texts(result.rejections, are_orders=are_orders), row.source, now)
        if are_orders:
            close_refused_of(connection, result.keys)
        if len(held.put_off) < len(items):
            leave_put_off(connection, row.id, [items[index] for index in sorted(held.put_off)])
        return result
