"""Enqueue orders. Each list takes one transaction with a few statements, however long the list is."""

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
from worker.domain.orders.check_fields import read_items, read_order, refused_texts
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

While the task waits, the rest of the queue stays at the broker. If the task gave up at once, it would be held in memory
for a retry, and the next task would start. In a long outage, the whole queue would come into memory.
"""


@retry_until(seconds=PATIENCE_SECONDS)
def enqueue(
    database: Database, rules: Rules, app_ids: Mapping[str, str], orders: object, source: str, *, waits: bool = True
) -> EnqueueResult:
    """Insert new orders, and fill in what known orders lack. Refuse orders that contradict a known order or cannot be
    read.

    `orders` is the argument of a task, of any type. `app_ids` are the configured accounts. If somebody else inserts one
    of the orders at the same moment, the transaction is repeated, and then finds that order. After the return, the
    caller must match `result.keys` with the kept callbacks.

    Raise RowsHeld if `waits` is false and another transaction has locked an order that must be filled in. Also raise it
    if another transaction holds a lock (of a row, or of a gap between rows) for which an insertion must wait.
    """
    with database.write() as connection:
        now = database.now(connection)
        result = enqueue_within(connection, rules, app_ids, orders, now, waits=waits)
        keep_refused(connection, refused_texts(result.rejections, are_orders=True), source, now)
        # Refused rows are closed after the refusals of this list are stored: the list may contain an order twice, once
        # refused and once right.
        close_refused_of(connection, result.keys)
        return result


@retry_until(seconds=PATIENCE_SECONDS)
def insert_new(database: Database, rules: Rules, app_ids: Mapping[str, str], orders: object) -> EnqueueResult:
    """Insert the new orders of a list, and do nothing else. The caller must call `enqueue` with the same list
    afterwards.

    After the return, the caller must match `result.keys` with the kept callbacks. Raise RowsHeld if another transaction
    holds up even the insertion of the new orders.
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
    """Enqueue orders within a transaction of the caller, who must store the refused ones. `received_at` is when the
    orders were received, if not now. `rank` is the rank of the notifications that are written."""
    submissions, refused = read_items(orders, "orders", lambda item: read_order(item, app_ids, received_at or now))
    # Without `fills_in`, this statement is skipped: it would wait for a known order that another transaction changes.
    inserted = _insert_unknown(connection, submissions, now, rules, waits=waits) if fills_in else set[OrderKey]()
    result, rest = after_insertion(submissions, inserted)
    if rest:
        # The known orders are read without a lock. If a submission only repeats an order, that order does not change,
        # and another transaction may have it locked for long.
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
    """Lock orders. Raise RaceLost if one of them was changed since it was read."""
    locked = lock_by_ids(connection, [order.id for order in orders], waits=waits)
    if {order.id: order for order in locked} != {order.id: order for order in orders}:
        raise RaceLost("an order was changed before it was locked")


def _insert_unknown(
    connection: Connection, submissions: Listed, now: datetime, rules: Rules, *, waits: bool
) -> set[OrderKey]:
    """Insert the new orders in one statement, without searching for known orders first. Return the keys of the inserted
    orders.

    Insert nothing if the database has no such statement, or if two submissions name the same id.
    """
    if not submissions or not inserts_what_is_new(connection) or names_an_id_twice(submissions):
        return set()
    ordered = sorted([one for _, _, one in submissions], key=lambda one: insertion_order(one.key))
    due = [first_due(one.submitted_at, rules) for one in ordered]
    alike = new_order(ordered[0], now, rules, order_id=-1)
    return insert_unknown(connection, ordered, due, alike, now, waits=waits)
