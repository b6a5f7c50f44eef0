"""Record callbacks: apply those whose order is known. Keep those that name an unknown order, and match them later.

If a callback that is refused comes again, it is only counted. The same is true if the callback's order is unknown, or
no longer pending.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from worker.database.transactions import Connection, Database, retry_races, retry_until
from worker.domain.callbacks.bodies import Callback, read_callback
from worker.domain.callbacks.match_to_orders import (
    CallbackResult,
    apply_callbacks,
    apply_kept_callbacks,
    key_in,
    sayings_of,
    shown_sayings_of,
)
from worker.domain.orders.check_fields import read_items, refused_texts
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import Rejection
from worker.domain.records.notifications import Rank
from worker.domain.records.order_changes import Change, Saying
from worker.domain.records.orders import OrderKey
from worker.domain.scheduling.ages_and_observations import observe_callbacks
from worker.operations.enqueue import PATIENCE_SECONDS
from worker.operations.learn import add_observations
from worker.operations.save_orders import save_orders
from worker.stores.recharge_orders import count_repeats, find_ids_in, find_said, lock_by_keys
from worker.stores.rejected_and_unmatched import (
    drop_kept,
    find_kept,
    find_kept_of_known_orders,
    keep_callbacks,
    keep_refused_once,
    lock_kept,
)


@retry_until(seconds=PATIENCE_SECONDS)
def record_callbacks(
    database: Database, rules: Rules, app_ids: Mapping[str, str], callbacks: object, source: str, *, waits: bool = True
) -> CallbackResult:
    """Apply a list of callback bodies, keep those whose order is unknown, and refuse those that cannot be read.

    `callbacks` is the argument of a task, of any type. After the return, the caller must match `result.keys` with the
    kept callbacks. This is needed because an order and its callback may be committed at the same moment, and then
    neither transaction sees the other's row. Raise RowsHeld if `waits` is false and another transaction has locked one
    of the orders. Nothing has changed then.
    """
    with database.write() as connection:
        now = database.now(connection)
        result = record_callbacks_within(connection, rules, app_ids, callbacks, now, waits=waits)
        keep_refused_once(connection, refused_texts(result.rejections), source, now)
        return result


def record_callbacks_within(
    connection: Connection,
    rules: Rules,
    app_ids: Mapping[str, str],
    callbacks: object,
    now: datetime,
    *,
    rank: Rank = Rank.RESULT,
    waits: bool = True,
) -> CallbackResult:
    """Record callbacks within a transaction of the caller, who must store the refused ones.

    `rank` is the rank of the notifications that are written.
    """
    read, refused = read_items(callbacks, "callbacks", read_callback)
    indexed = [(index, callback) for index, _, callback in read]
    result = decide_within(connection, rules, app_ids, indexed, now, waits=waits)
    result.rejections = [*refused, *result.rejections]
    save_within(connection, rules, result, now, rank=rank)
    return result


def decide_within(
    connection: Connection,
    rules: Rules,
    app_ids: Mapping[str, str],
    callbacks: Sequence[tuple[int, Callback]],
    now: datetime,
    *,
    waits: bool = True,
) -> CallbackResult:
    """Lock the orders that callbacks name, and decide what the callbacks change. Each item of `callbacks` is (index in
    the list received, callback)."""
    possible = [(callback, callback.accounts(app_ids)) for _, callback in callbacks]
    # A callback may be about any account. A key for each account would be too many, because there may be thousands of
    # accounts. So these callbacks are searched in all accounts at once.
    of_any = [key_in("", callback) for callback, accounts in possible if 1 < len(accounts) == len(app_ids)]
    named = [one for one in possible if not 1 < len(one[1]) == len(app_ids)]
    keys = [key_in(account, callback) for callback, accounts in named for account in accounts]
    orders = lock_by_keys(connection, keys, besides=find_ids_in(connection, app_ids, of_any), waits=waits)
    result = apply_callbacks(callbacks, orders, app_ids, now, rules)
    said = _said_before(connection, result.changes)
    return apply_callbacks(callbacks, orders, app_ids, now, rules, said) if said else result


def _said_before(connection: Connection, changes: Sequence[Change]) -> Mapping[Saying, int]:
    """Return the ids of stored events that say the same as the events of these changes. The orders must be locked."""
    sayings = sayings_of(changes)
    return find_said(connection, sayings, shown_sayings_of(changes)) if sayings else {}


def save_within(
    connection: Connection, rules: Rules, result: CallbackResult, now: datetime, *, rank: Rank = Rank.RESULT
) -> None:
    """Save the changes of callbacks, and keep callbacks whose order is unknown. `rank` is the rank of the notifications
    that are written."""
    add_observations(connection, observe_callbacks(result.changes, now, rules), now, rules)
    save_orders(connection, result.changes, now, rank=rank)
    count_repeats(connection, result.repeated)
    kept = [(key, callback.payload_text, callback.trust) for key, callback in result.unmatched]
    keep_callbacks(connection, kept, now)


@retry_until(seconds=PATIENCE_SECONDS)
def match_kept_callbacks(
    database: Database, rules: Rules, app_ids: Mapping[str, str], kept_ids: Sequence[int], *, waits: bool = True
) -> tuple[int, list[OrderKey]]:
    """Apply the kept callbacks with these ids.

    Return how many callbacks found their orders, and the keys of orders that learned an id from these callbacks. Raise
    RowsHeld if `waits` is false and another transaction has locked one of the orders.
    """
    with database.write() as connection:
        now = database.now(connection)
        readable = lock_readable(connection, kept_ids)
        keys = [key_in(account, callback) for _, account, callback in readable]
        orders = lock_by_keys(connection, keys, waits=waits)
        matched, result = apply_kept_callbacks(readable, orders, app_ids, now, rules)
        said = _said_before(connection, result.changes)
        if said:
            matched, result = apply_kept_callbacks(readable, orders, app_ids, now, rules, said)
        save_within(connection, rules, result, now)
        drop_kept(connection, matched)
        return len(matched), result.keys


def lock_readable(connection: Connection, kept_ids: Sequence[int]) -> list[tuple[int, str, Callback]]:
    """Lock and read these kept callbacks. Each is returned as (id, account, callback). Leave out callbacks that another
    transaction has locked."""
    kept = [(row, read_callback(json.loads(row.payload))) for row in lock_kept(connection, kept_ids)]
    return [
        (row.id, row.account, replace(one, trust=row.trust, repeats=row.repeats))
        for row, one in kept
        if isinstance(one, Callback)
    ]


def find_callbacks_for(database: Database, keys: Sequence[OrderKey]) -> list[int]:
    """Return the ids of the kept callbacks that name any of these orders."""
    with database.read() as connection:
        return find_kept(connection, keys)


def find_callbacks_of_known_orders(database: Database, last_id: int, limit: int) -> tuple[list[int], int]:
    """Read the next `limit` kept callbacks after `last_id`. Return the ids of those whose order is known, and the
    `last_id` for the next call."""
    with database.read() as connection:
        return find_kept_of_known_orders(connection, last_id, limit)


SOURCE = "reconciler serve"
"""The `source` in `rejected_orders` of the callbacks that `receive_callbacks` refuses."""


@retry_races
def receive_callbacks(
    database: Database, rules: Rules, app_ids: Mapping[str, str], received: Sequence[Callback | Rejection]
) -> CallbackResult:
    """Apply, keep or refuse callbacks, each of which came to the address of its account.

    After the return, the caller must match `result.keys` with the kept callbacks. If another transaction has locked one
    of the orders, the caller tries the other callbacks without the one about that order.
    """
    callbacks = [(index, one) for index, one in enumerate(received) if isinstance(one, Callback)]
    with database.write() as connection:
        now = database.now(connection)
        result = decide_within(connection, rules, app_ids, callbacks, now)
        result.rejections += [one for one in received if isinstance(one, Rejection)]
        save_within(connection, rules, result, now)
        keep_refused_once(connection, refused_texts(result.rejections), SOURCE, now)
        return result
