"""Enqueueing orders: one list is one transaction with a handful of statements, however long it is."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from worker.database.bulk_statements import inserts_what_is_new
from worker.database.transactions import Connection, Database, RaceLost, retry_until
from worker.domain.orders.billing_requests import (
    EnqueueResult,
    Listed,
    after_insertion,
    enqueue_submissions,
    insertion_order,
    names_an_id_twice,
    new_order,
)
from worker.domain.orders.submissions import read_items, read_order, refused_texts
from worker.domain.records.accounts import Rules
from worker.domain.records.notifications import Rank
from worker.domain.records.orders import Order, OrderKey
from worker.domain.scheduling.ages_and_observations import observe_arrivals
from worker.domain.scheduling.poll_schedule import first_due
from worker.operations.learn import add_observations
from worker.operations.save_orders import save_orders
from worker.stores.recharge_orders import find_ids, insert_orders, insert_unknown, lock_by_ids, read_orders
from worker.stores.rejected_and_unmatched import close_refused_of, keep_refused

PATIENCE_SECONDS = 20.0
"""How long a task waits for a database that is away.

This wait keeps the rest of the queue at the broker. A task that gives up at once is held in memory as a retry: in a
long outage that would become the whole queue.
"""


@retry_until(seconds=PATIENCE_SECONDS)
def enqueue(
    database: Database, rules: Rules, app_ids: Mapping[str, str], orders: object, source: str, *, waits: bool = True
) -> EnqueueResult:
    """Insert what is new, fill in what was missing, refuse what differs or cannot be read.

    `orders` is what a task was given, whatever it is; `app_ids` are the configured accounts. Where somebody else
    inserts one of the orders at the same moment, the transaction is repeated, and then finds it. After the return
    kept callbacks may wait for `result.keys`.

    Raises RowsHeld if it does not wait, and somebody else holds an order locked that is to be filled in, or a row or a
    gap that an insertion waits for.
    """
    with database.write() as connection:
        now = database.now(connection)
        result = enqueue_within(connection, rules, app_ids, orders, now, waits=waits)
        keep_refused(connection, refused_texts(result.rejections, are_orders=True), source, now)
        # Afterwards: the same list may hold an order once refused and once right.
        close_refused_of(connection, result.keys)
        return result


@retry_until(seconds=PATIENCE_SECONDS)
def insert_new(database: Database, rules: Rules, app_ids: Mapping[str, str], orders: object) -> EnqueueResult:
    """Insert what is new in a list, and nothing else: `enqueue` has to follow. The arguments are as there.

    After the return kept callbacks may wait for `result.keys`. Raises RowsHeld if somebody else's transaction holds up
    even the new orders.
    """
    with database.write() as connection:
        now = database.now(connection)
        result = enqueue_within(connection, rules, app_ids, orders, now, fills_in=False, waits=False)
        close_refused_of(connection, result.keys)
        return result


def enqueue_within(
    connection: Connection,
    rules: Rules,
    app_ids: Mapping[str, str],
    orders: object,
    now: datetime,
    *,
    received_at: datetime | None = None,
    rank: Rank = Rank.RESULT,
    fills_in: bool = True,
    waits: bool = True,
) -> EnqueueResult:
    """The same within a transaction of the caller's, who keeps what was refused. `received_at`: where not now.
    `rank` is that of the notifications."""
    submissions, refused = read_items(orders, "orders", lambda item: read_order(item, app_ids, received_at or now))
    # It would wait for a known order that somebody else changes.
    inserted = _insert_unknown(connection, submissions, now, rules, waits=waits) if fills_in else set[OrderKey]()
    result, rest = after_insertion(submissions, inserted)
    if rest:
        # Without a lock: an order that a submission repeats is not changed, and somebody else may hold it for long.
        known = read_orders(connection, find_ids(connection, [submission.key for _, _, submission in rest]))
        enqueue_submissions(rest, known, now, rules, result)
    accepted = set(result.accepted)
    arrived = [one for index, _, one in submissions if index in accepted]
    if fills_in:
        _lock_as_read(connection, [change.before for change in result.changes], waits=waits)
    else:
        result.changes, result.keys = [], [one.key for one in arrived]
    insert_orders(connection, result.new, now, waits=waits)
    arrivals = [(one.key.account, one.submitted_at) for one in arrived]
    add_observations(connection, observe_arrivals(arrivals, now, rules), now, rules)
    save_orders(connection, result.changes, now, rank=rank)
    result.rejections.extend(refused)
    return result


def _lock_as_read(connection: Connection, orders: Sequence[Order], *, waits: bool) -> None:
    """Lock orders. Raises RaceLost if one of them was changed since it was read."""
    locked = lock_by_ids(connection, [order.id for order in orders], waits=waits)
    if {order.id: order for order in locked} != {order.id: order for order in orders}:
        raise RaceLost("an order was changed before it was locked")


def _insert_unknown(
    connection: Connection, submissions: Listed, now: datetime, rules: Rules, *, waits: bool
) -> set[OrderKey]:
    """Insert the new orders in one statement without a search before it, where the database can; returns their keys.

    Only where no id is named twice.
    """
    if not submissions or not inserts_what_is_new(connection) or names_an_id_twice(submissions):
        return set()
    ordered = sorted([one for _, _, one in submissions], key=lambda one: insertion_order(one.key))
    due = [first_due(one.submitted_at, rules) for one in ordered]
    alike = new_order(ordered[0], now, rules, order_id=-1)
    return insert_unknown(connection, ordered, due, alike, now, waits=waits)
