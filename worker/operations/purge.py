"""Deleting what is old and what nothing refers to any more: a batch in a transaction, beside the worker; and what was
delivered, some at a tick."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from worker.adapters.clock import Throttle
from worker.database.transactions import Database, retry_contention
from worker.operations.long_acts import LongAct, part_of
from worker.stores.notifications import delete_notifications, delivered_before
from worker.stores.purging import (
    RECEIVED,
    Position,
    delete_archived,
    delete_queries,
    delete_received,
    ids_in_use,
    old_archived,
    old_live,
    old_queries,
    old_received,
    queries_named_by,
)

_AT_ONCE = 1000
# Each names up to a hundred orders, and all of these are looked up.
_QUERIES_AT_ONCE = 100
# An order may be submitted a few minutes ahead of the clock.
_AHEAD = timedelta(minutes=10)


class Purged(NamedTuple):
    """So many rows of a table were deleted by one transaction, or would be."""

    table: str
    rows: int


def purge(database: Database, before: datetime, *, dry_run: bool, act: LongAct | None = None) -> Iterator[Purged]:
    """Delete archived orders, refused input, unmatched callbacks and queries of before a time; tells what each
    transaction has deleted. `dry_run` deletes nothing and counts the same rows; `act` records what was deleted.

    Several at once do no harm, and a run that was interrupted is repeated. Raises what a transaction raises that lost
    too many races, or whose database is away; what was told of is committed.
    """
    for rows in _purge_archived(database, before, dry_run, act):
        yield Purged("archived_orders", rows)
    for name in RECEIVED:
        for rows in _purge_received(database, name, before, dry_run, act):
            yield Purged(name, rows)
    for rows in _purge_queries(database, before, dry_run, act):
        yield Purged("platform_queries", rows)


def _purge_archived(database: Database, before: datetime, dry_run: bool, act: LongAct | None) -> Iterator[int]:
    last: Position | None = None
    while True:
        with database.read() as connection:
            found = old_archived(connection, before, last, _AT_ONCE)
        if not found:
            return
        last = found[-1][0]
        ids = [position[1] for position, may_go in found if may_go]
        yield len(ids) if dry_run else _delete_archived(database, ids, before, act)


def _purge_received(
    database: Database, name: str, before: datetime, dry_run: bool, act: LongAct | None
) -> Iterator[int]:
    last: Position | None = None
    while True:
        with database.read() as connection:
            found = old_received(connection, RECEIVED[name], before, last, _AT_ONCE)
        if not found:
            return
        last = found[-1]
        yield len(found) if dry_run else _delete_received(database, name, [row_id for _, row_id in found], act)


def _purge_queries(database: Database, before: datetime, dry_run: bool, act: LongAct | None) -> Iterator[int]:
    named = _named_by_old_orders(database, before + _AHEAD, dry_run)
    last = 0
    while True:
        # What an order of these ids has to do with an old query was so before: one that is sent again meanwhile is new.
        with database.read() as connection:
            found = old_queries(connection, before, last, _QUERIES_AT_ONCE)
            ids = {one for query in found for one in query.ids}
            in_use = ids_in_use(connection, ids, but_archived_before=before if dry_run else None)
        if not found:
            return
        last = found[-1].id
        gone = [query.id for query in found if query.id not in named and in_use.isdisjoint(query.ids)]
        yield len(gone) if dry_run else _delete_queries(database, gone, act)


def _named_by_old_orders(database: Database, before: datetime, dry_run: bool) -> set[int]:
    """The queries that the histories of old orders name which are still there. Younger ones name no old query."""
    # An order that is archived or restored meanwhile is in one of these.
    return (
        _named_by_archived(database, before, dry_run)
        | _named_by_live(database, before)
        | _named_by_archived(database, before, dry_run)
    )


def _named_by_live(database: Database, before: datetime) -> set[int]:
    named: set[int] = set()
    last: Position | None = None
    while True:
        with database.read() as connection:
            live = old_live(connection, before, last, _AT_ONCE)
            named |= queries_named_by(connection, [order_id for _, order_id in live], [])
        if not live:
            return named
        last = live[-1]


def _named_by_archived(database: Database, before: datetime, dry_run: bool) -> set[int]:
    named: set[int] = set()
    last: Position | None = None
    while True:
        with database.read() as connection:
            found = old_archived(connection, before, last, _AT_ONCE)
            stay = [position[1] for position, may_go in found if not (may_go and dry_run)]
            named |= queries_named_by(connection, [], stay)
        if not found:
            return named
        last = found[-1][0]


@retry_contention
def _delete_archived(database: Database, ids: list[int], before: datetime, act: LongAct | None) -> int:
    with part_of(act, database) as (connection, rows):
        rows["archived_orders"] = delete_archived(connection, ids, before)
    return rows["archived_orders"]


@retry_contention
def _delete_received(database: Database, name: str, ids: list[int], act: LongAct | None) -> int:
    with part_of(act, database) as (connection, rows):
        rows[name] = delete_received(connection, RECEIVED[name], ids)
    return rows[name]


@retry_contention
def _delete_queries(database: Database, ids: list[int], act: LongAct | None) -> int:
    with part_of(act, database) as (connection, rows):
        rows["platform_queries"] = delete_queries(connection, ids)
    return rows["platform_queries"]


MOST_AT_ONCE = 1_000
_PERIOD_SECONDS = 60.0


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
