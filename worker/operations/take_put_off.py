"""Items that wait for orders which somebody else holds locked: taken in once these are free, in one transaction with
their row."""

from collections.abc import Mapping

import structlog

from worker.adapters.safe_text import first_words
from worker.database.error_kinds import OUTAGES
from worker.database.transactions import Database, is_transient, is_unavailable, retry_races
from worker.domain.orders.submissions import InputKind, Retried, read_refused, refused_texts
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import HeldOrders, Rejection, Unread
from worker.operations.retry_rejected import take_in
from worker.stores.put_off_items import find_put_off, leave_put_off, lock_put_off
from worker.stores.rejected_and_unmatched import close_refused_of, keep_refused

log = structlog.stdlib.get_logger(__name__)


def next_put_off(database: Database, after: int, most: int) -> list[int]:
    """The ids of up to `most` rows after an id, in the order in which they came."""
    with database.read() as connection:
        return find_put_off(connection, after, most)


def take_put_off(database: Database, rules: Rules, app_ids: Mapping[str, str], row_id: int) -> Retried | None:
    """Take in what a row holds, by the decisions of its task; what still waits is left there.

    None: another process takes the row in, or has done so. What fails by a mistake of ours or of the row is refused,
    for a person to retry: it would fail at each tick. Raises if the database is away.
    """
    try:
        return _take(database, rules, app_ids, row_id)
    except Exception as error:
        if is_unavailable(error):
            raise
        if is_transient(error):
            OUTAGES.explains(error, "what was put off waits on")
            return Retried(left=1)
        _refuse(database, row_id, f"put off: could not be taken in ({first_words(error)})")
        log.exception("what was put off could not be taken in, and is refused", action="put_off_refused")
        return Retried()


@retry_races
def _take(database: Database, rules: Rules, app_ids: Mapping[str, str], row_id: int) -> Retried | None:
    with database.write() as connection:
        row, held, result = lock_put_off(connection, row_id), HeldOrders(), Retried()
        if row is None:
            return None
        read, now = read_refused(row.source, row.payload, ""), database.now(connection)
        if isinstance(read, str):
            raise ValueError(f"the row {read}")
        (items,) = read.parts
        take_in(connection, rules, app_ids, read.kind, items, now, now, result, held)
        are_orders = read.kind is InputKind.ORDERS
        keep_refused(connection, refused_texts(result.rejections, are_orders=are_orders), row.source, now)
        if are_orders:
            close_refused_of(connection, result.keys)
        leave_put_off(connection, row_id, [items[index] for index in held.put_off])
        result.left = len(held.put_off)
        return result


@retry_races
def _refuse(database: Database, row_id: int, why: str) -> None:
    with database.write() as connection:
        if row := lock_put_off(connection, row_id):
            refused = Rejection(index=None, payload=Unread(text=row.payload, errors=()), errors=(why,))
            keep_refused(connection, refused_texts([refused]), row.source, database.now(connection))
            leave_put_off(connection, row_id, [])
