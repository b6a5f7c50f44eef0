"""Deleting what is old and what nothing refers to any more, a batch in each transaction, beside the worker."""

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
"""Rows that one transaction deletes."""
_ORDERS_AT_ONCE = 200
PURGED_FROM = timedelta(days=30)
"""Nothing younger is deleted: an order that is sent again after it was deleted is new, and is polled again."""
# Each names up to a hundred orders, and all of these are looked up.
_QUERIES_AT_ONCE = 100


class Purged(NamedTuple):
    """So many rows of a table were deleted by one transaction, or would be."""

    table: str
    rows: int


def purge(database: Database, before: datetime, act: LongAct | None) -> Iterator[Purged]:
    """Delete refused input, unmatched callbacks and queries of before a time; tells what each transaction has deleted.
    `act` records what was deleted; None deletes nothing and counts the same rows.

    Several at once do no harm, and a run that was interrupted is repeated. Raises what a transaction raises that lost
    too many races, or whose database is away; what was told of is committed.
    """
    for name in RECEIVED:
        for rows in _purge_received(database, name, before, act):
            yield Purged(name, rows)
    for rows in _purge_queries(database, before, act):
        yield Purged("platform_queries", rows)


def purge_orders(database: Database, before: datetime, act: LongAct | None) -> Iterator[Purged]:
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
        # What an order of these ids has to do with an old query was so before: one that is sent again meanwhile is new.
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
