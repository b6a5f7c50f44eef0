"""What keeps the tables small, a batch in each transaction, beside the worker.

What is old and what nothing refers to any more is deleted, and what was delivered is deleted, some at a tick.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from worker.adapters.clock import Throttle
from worker.database.transactions import Connection, Database, retry_contention
from worker.operations.act_by_hand import LongAct, part_of
from worker.stores.notifications import delete_notifications, delivered_before
from worker.stores.purging import (
    RECEIVED,
    Position,
    deletable_orders,
    delete_orders,
    delete_queries,
    delete_received,
    ids_in_use,
    note_deleted,
    old_orders,
    old_queries,
    old_received,
    queries_named_by,
)

MOST_AT_ONCE = 1_000
"""Rows that one transaction deletes."""
_ORDERS_AT_ONCE = 200
PURGED_FROM = timedelta(days=30)
"""Nothing younger is deleted: an order that is sent again after it was deleted is new, and is polled again."""
# Each names up to a hundred orders, and all of these are looked up.
_QUERIES_AT_ONCE = 100
# An order may be submitted a few minutes ahead of the clock.
_AHEAD = timedelta(minutes=10)
_PERIOD_SECONDS = 60.0


class Purged(NamedTuple):
    """So many rows of a table were deleted by one transaction, or would be."""

    table: str
    rows: int


def purge(database: Database, before: datetime, *, dry_run: bool, act: LongAct | None = None) -> Iterator[Purged]:
    """Delete refused input, unmatched callbacks and queries of before a time; tells what each transaction has deleted.
    `dry_run` deletes nothing and counts the same rows; `act` records what was deleted.

    Several at once do no harm, and a run that was interrupted is repeated. Raises what a transaction raises that lost
    too many races, or whose database is away; what was told of is committed.
    """
    for name in RECEIVED:
        for rows in _purge_received(database, name, before, dry_run, act):
            yield Purged(name, rows)
    for rows in _purge_queries(database, before, dry_run, act):
        yield Purged("platform_queries", rows)


def purge_orders(
    database: Database, before: datetime, *, dry_run: bool, act: LongAct | None = None
) -> Iterator[Purged]:
    """Delete settled orders that were submitted and changed last before a time, with their events and notifications;
    tells, repeats and raises as `purge` does.

    Orders that are pending, unresolved or for a person to look at stay, and those with an undelivered notification.
    """
    last: Position | None = None
    while True:
        with database.read() as connection:
            found = old_orders(connection, before, last, _ORDERS_AT_ONCE)
            ids = deletable_orders(connection, [order_id for _, order_id in found], before)
        if not found:
            return
        last = found[-1]

        def delete(connection: Connection, ids: Sequence[int] = ids) -> int:
            deleted = delete_orders(connection, ids, before)
            if deleted:
                note_deleted(connection, before)
            return deleted

        yield Purged("recharge_orders", len(ids) if dry_run else _delete(database, "orders", act, delete))


def _purge_received(
    database: Database, name: str, before: datetime, dry_run: bool, act: LongAct | None
) -> Iterator[int]:
    last: Position | None = None
    while True:
        with database.read() as connection:
            found = old_received(connection, RECEIVED[name], before, last, MOST_AT_ONCE)
        if not found:
            return
        last, ids = found[-1], [row_id for _, row_id in found]
        delete = partial(delete_received, table=RECEIVED[name], ids=ids)
        yield len(ids) if dry_run else _delete(database, name, act, delete)


def _purge_queries(database: Database, before: datetime, dry_run: bool, act: LongAct | None) -> Iterator[int]:
    named = _named_by_old_orders(database, before + _AHEAD)
    last = 0
    while True:
        # What an order of these ids has to do with an old query was so before: one that is sent again meanwhile is new.
        with database.read() as connection:
            found = old_queries(connection, before, last, _QUERIES_AT_ONCE)
            ids = {one for query in found for one in query.ids}
            in_use = ids_in_use(connection, ids)
        if not found:
            return
        last = found[-1].id
        gone = [query.id for query in found if query.id not in named and in_use.isdisjoint(query.ids)]
        yield len(gone) if dry_run else _delete(database, "platform_queries", act, partial(delete_queries, ids=gone))


def _named_by_old_orders(database: Database, before: datetime) -> set[int]:
    """The queries that the histories of old orders name. Younger ones name no old query."""
    named: set[int] = set()
    last: Position | None = None
    while True:
        with database.read() as connection:
            found = old_orders(connection, before, last, MOST_AT_ONCE)
            named |= queries_named_by(connection, [order_id for _, order_id in found])
        if not found:
            return named
        last = found[-1]


@retry_contention
def _delete(database: Database, table: str, act: LongAct | None, delete: Callable[[Connection], int]) -> int:
    with part_of(act, database) as (connection, rows):
        rows[table] = delete(connection)
    return rows[table]


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
