"""Delete old rows that nothing refers to any more, one batch in each transaction. The worker may run meanwhile."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from worker.database.transactions import Connection, Database, retry_contention
from worker.operations.act_by_hand import LongAct
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
)

MOST_AT_ONCE = 1_000
"""The most rows that one transaction deletes."""
_ORDERS_AT_ONCE = 200
PURGED_FROM = timedelta(days=30)
"""Rows must be at least this old to be deleted. If an order is deleted and then sent again, it counts as a new order
and is polled again."""
# The number is small because each query names up to a hundred orders, and all of these are searched.
_QUERIES_AT_ONCE = 100


class Purged(NamedTuple):
    """How many rows of a table one transaction deleted, or would delete."""

    table: str
    rows: int


def purge(database: Database, before: datetime, act: LongAct | None) -> Iterator[Purged]:
    """Delete refused input, unmatched callbacks and queries from before a time. Yield what each transaction has
    deleted.

    `act` records what was deleted. If `act` is None, nothing is deleted, and the rows that would be deleted are
    counted. Several runs at once do no harm, and an interrupted run may be repeated. Raise the error of a transaction
    that lost too many races, or whose database is away. Everything that was yielded before the error is committed.
    """
    for name in RECEIVED:
        for rows in _purge_received(database, name, before, act):
            yield Purged(name, rows)
    for rows in _purge_queries(database, before, act):
        yield Purged("platform_queries", rows)


def purge_orders(database: Database, before: datetime, act: LongAct | None) -> Iterator[Purged]:
    """Delete settled and cancelled orders that were submitted and last changed before a time, with their events and
    notifications. The results, the errors and `act` are as for `purge`.

    Orders stay if they are pending or unresolved, if a person must look at them, or if a notification of theirs is
    undelivered.
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

        yield Purged("recharge_orders", len(ids) if act is None else _delete(database, "orders", act, delete))


def _purge_received(database: Database, name: str, before: datetime, act: LongAct | None) -> Iterator[int]:
    last: Position | None = None
    while True:
        with database.read() as connection:
            found = old_received(connection, RECEIVED[name], before, last, MOST_AT_ONCE)
        if not found:
            return
        last, ids = found[-1], [row_id for _, row_id in found]
        delete = partial(delete_received, table=RECEIVED[name], ids=ids)
        yield len(ids) if act is None else _delete(database, name, act, delete)


def _purge_queries(database: Database, before: datetime, act: LongAct | None) -> Iterator[int]:
    last = 0
    while True:
        # The orders need no lock. An order that an old query polled exists already, and an order that is sent in the
        # meantime is a new one.
        with database.read() as connection:
            found = old_queries(connection, before, last, _QUERIES_AT_ONCE)
            ids = {one for query in found for one in query.ids}
            in_use = ids_in_use(connection, ids)
        if not found:
            return
        last = found[-1].id
        gone = [query.id for query in found if in_use.isdisjoint(query.ids)]
        delete = partial(delete_queries, ids=gone)
        yield len(gone) if act is None else _delete(database, "platform_queries", act, delete)


@retry_contention
def _delete(database: Database, table: str, act: LongAct, delete: Callable[[Connection], int]) -> int:
    with act.part(database) as (connection, rows):
        rows[table] = delete(connection)
    return rows[table]
