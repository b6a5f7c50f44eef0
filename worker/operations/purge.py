"""Delete old rows that nothing refers to any more, a batch in each transaction, while the worker runs."""

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
"""The least age of rows that are deleted. An order that is sent again after it was deleted is new, and is polled
again."""
# Each query names up to a hundred orders, and all of them are looked up.
_QUERIES_AT_ONCE = 100


class Purged(NamedTuple):
    """The number of rows of a table that one transaction deleted, or would delete."""

    table: str
    rows: int


def purge(database: Database, before: datetime, act: LongAct | None) -> Iterator[Purged]:
    """Delete refused input, unmatched callbacks and queries from before a time. Yield what each transaction deleted.

    `act` records what was deleted. If it is None, nothing is deleted, and the same rows are counted. Several runs at
    once do no harm, and an interrupted run may be repeated. Raise the error of a transaction that lost too many races,
    or whose database is away; what was yielded before is committed.
    """
    for name in RECEIVED:
        for rows in _purge_received(database, name, before, act):
            yield Purged(name, rows)
    for rows in _purge_queries(database, before, act):
        yield Purged("platform_queries", rows)


def purge_orders(database: Database, before: datetime, act: LongAct | None) -> Iterator[Purged]:
    """Delete settled and cancelled orders that were submitted and last changed before a time, with their events and
    notifications. Yield, repeat and raise as `purge` does.

    Orders stay if they are pending or unresolved, need a person, or have an undelivered notification.
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
        # No lock is needed: an order that an old query polled exists already, and one that is sent meanwhile is new.
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
