"""Moving settled orders to the archive, and restoring them all: a batch in each transaction.

`worker.stores.archived_orders` says how an order is found in whichever table it is.
"""

from collections.abc import Iterator
from datetime import datetime

from worker.database.transactions import Database, retry_contention
from worker.domain.orders.retention import ARCHIVED_STATES
from worker.operations.long_acts import LongAct, part_of
from worker.stores.archived_orders import (
    Position,
    find_settled,
    first_archived,
    lock_settled,
    move_locked,
    restore,
)

_AT_ONCE = 200


def move_settled(
    database: Database, before: datetime, limit: int | None = None, act: LongAct | None = None
) -> Iterator[int]:
    """Move final orders that nothing has happened to since `before`, a batch in each transaction; yields how many.
    `act` records them.

    Several at once share the work. Rows that somebody else holds locked are passed over. Raises the error of a
    transaction that lost too many races, or whose database is away; batches that were yielded are committed.
    """
    last: Position | None = None
    left = _AT_ONCE if limit is None else limit
    while left > 0:
        last, moved = _move_batch(database, before, last, min(left, _AT_ONCE), act)
        if last is None:
            return
        yield moved
        left -= 0 if limit is None else moved


def count_settled(database: Database, before: datetime, limit: int | None = None) -> Iterator[int]:
    """Count what `move_settled` would move, a batch at a time; yields how many."""
    last: Position | None = None
    left = _AT_ONCE if limit is None else limit
    while left > 0:
        with database.read() as connection:
            found = find_settled(connection, before, ARCHIVED_STATES, last, min(left, _AT_ONCE))
        if not found:
            return
        yield len(found)
        last = found[-1]
        left -= 0 if limit is None else len(found)


def restore_all(database: Database, limit: int | None = None, act: LongAct | None = None) -> Iterator[int]:
    """Restore archived orders, a batch in each transaction; yields how many. Raises as `move_settled` does."""
    left = _AT_ONCE if limit is None else limit
    while left > 0:
        found, restored = _restore_batch(database, min(left, _AT_ONCE), act)
        if not found:
            return
        # 0 where somebody else has just restored all that were found.
        yield restored
        left -= 0 if limit is None else restored


@retry_contention
def _move_batch(
    database: Database, before: datetime, after: Position | None, most: int, act: LongAct | None
) -> tuple[Position | None, int]:
    """Move a batch; returns where it ended, None where none was left, and how many orders were moved."""
    with part_of(act, database) as (connection, rows):
        # Found without a lock: the conditions are tested again when the rows are locked.
        found = find_settled(connection, before, ARCHIVED_STATES, after, most)
        if not found:
            return None, 0
        locked = lock_settled(connection, found, before, ARCHIVED_STATES)
        rows["orders"] = move_locked(connection, locked, database.now(connection)) if locked else 0
    return found[-1], rows["orders"]


@retry_contention
def _restore_batch(database: Database, most: int, act: LongAct | None) -> tuple[int, int]:
    with part_of(act, database) as (connection, rows):
        ids = first_archived(connection, most)
        rows["orders"] = restore(connection, ids)
    return len(ids), rows["orders"]
