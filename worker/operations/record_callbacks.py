"""Callbacks: matched to their orders, or kept until the order is known."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, delete, select

from worker.database.bulk_statements import ids_of, insert_rows
from worker.database.tables import UnmatchedCallback, table_of
from worker.domain.callbacks import Callback, account_of, key_in, read_callback
from worker.domain.identity import Directory, OrderKey
from worker.domain.orders import Change, Order, Source, learned_keys
from worker.domain.pricing.noting import note_callbacks
from worker.domain.rules import Rules
from worker.domain.settlement import settle
from worker.domain.submissions import Rejection
from worker.domain.verdicts import judge
from worker.stores.archived_orders import ARCHIVED
from worker.stores.recharge_orders import ORDERS, by_account_and_column, lock_by_keys, save_changes
from worker.stores.settlement_observations import add_notes

UNMATCHED = table_of(UnmatchedCallback)

# The others are found by a later tick.
_MOST_FOR_ONE_ORDER = 100
_TWO_ORDERS = "its requestId and customParm belong to different orders"


@dataclass(kw_only=True, slots=True)
class Recorded:
    """What became of a list of callbacks."""

    settled: int = 0
    unchanged: int = 0
    kept: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    keys: list[OrderKey] = field(default_factory=list)
    """Of the callbacks that were kept, and of orders that learned an id: to be matched again after the commit."""


def record(
    connection: Connection,
    callbacks: Sequence[tuple[int, Callback]],
    app_ids: Mapping[str, str],
    now: datetime,
    rules: Rules,
) -> Recorded:
    """Settle what the callbacks settle, keep those whose order is not known yet.

    `callbacks` are (place in the list, callback); `app_ids` are the configured accounts.
    """
    keys = [key_in(account, callback) for _, callback in callbacks for account in callback.accounts(app_ids)]
    desk = _Desk(lock_by_keys(connection, keys), app_ids)
    recorded, unmatched = Recorded(), []
    for index, callback in callbacks:
        account = desk.account_of(callback)
        if account is None:
            error = (
                "appid: is missing or unknown, and no single account can be told from the ids; send it with its appid"
            )
            recorded.rejections.append(Rejection(index=index, payload=callback.payload, errors=(error,)))
            continue
        key = key_in(account, callback)
        rows = desk.orders_of(key)
        if not rows:
            unmatched.append(_unmatched_row(account, callback, now))
            recorded.kept += 1
            recorded.keys.append(key)
        elif desk.apply(rows, callback, now):
            recorded.settled += 1
        else:
            recorded.unchanged += 1
    _save(connection, desk, now, rules)
    insert_rows(connection, UNMATCHED, unmatched)
    recorded.keys.extend(learned_keys(desk.changes.values()))
    return recorded


def waiting_for(connection: Connection, keys: Sequence[OrderKey]) -> list[int]:
    """The kept callbacks that name any of these orders."""
    found: set[int] = set()
    for account, column, ids in by_account_and_column(keys):
        statement = ids_of(connection, UNMATCHED, column, ids, account=account, most=_MOST_FOR_ONE_ORDER)
        found.update(connection.scalars(statement))
    return sorted(found)


def matching_after(connection: Connection, last_id: int, limit: int) -> tuple[list[int], int]:
    """Of the next `limit` kept callbacks after `last_id`: those whose order is known by now, and where to go on from.

    The place to go on from is 0 where the end of the table was reached.
    """
    page = select(UNMATCHED).where(UNMATCHED.c.id > last_id).order_by(UNMATCHED.c.id).limit(limit).subquery()
    ids = list(connection.scalars(select(page.c.id).order_by(page.c.id)))
    if not ids:
        return [], 0
    found: set[int] = set()
    for table in (ORDERS, ARCHIVED):
        same_account = table.c.account == page.c.account
        for names in (table.c.request_id == page.c.request_id, table.c.custom_parm == page.c.custom_parm):
            found.update(connection.scalars(select(page.c.id).join(table, same_account & names)))
    return sorted(found), ids[-1] if len(ids) == limit else 0


def match_kept(
    connection: Connection, unmatched_ids: Sequence[int], app_ids: Mapping[str, str], now: datetime, rules: Rules
) -> list[OrderKey]:
    """Settle orders from callbacks that came before them; returns the keys of orders that learned an id by this."""
    chosen = select(UNMATCHED).where(UNMATCHED.c.id.in_(unmatched_ids)).order_by(UNMATCHED.c.id)
    rows = connection.execute(chosen.with_for_update(skip_locked=True)).mappings().all()
    kept = [(row, read_callback(json.loads(row["payload"]))) for row in rows]
    readable = [(row, callback) for row, callback in kept if isinstance(callback, Callback)]
    desk = _Desk(lock_by_keys(connection, [key_in(row["account"], callback) for row, callback in readable]), app_ids)
    done = []
    for row, callback in readable:
        orders = desk.orders_of(key_in(row["account"], callback))
        if orders and row["account"] in app_ids:
            desk.apply(orders, callback, now)
            done.append(row["id"])
    _save(connection, desk, now, rules)
    if done:
        connection.execute(delete(UNMATCHED).where(UNMATCHED.c.id.in_(done)))
    return learned_keys(desk.changes.values())


class _Desk:
    """The locked orders that a list of callbacks can touch, as the list is worked through."""

    def __init__(self, orders: Sequence[Order], app_ids: Mapping[str, str]) -> None:
        self.changes = {order.id: Change(before=order, after=order) for order in orders}
        self._app_ids = app_ids
        self._directory = Directory()
        for order in orders:
            self._directory.enter(order.key, order.id)

    def account_of(self, callback: Callback) -> str | None:
        """The account of a callback, None where that cannot be told."""
        possible = callback.accounts(self._app_ids)
        # Who knows the order is looked up only where that decides.
        known = {a for a in possible if self.orders_of(key_in(a, callback))} if len(possible) > 1 else ()
        return account_of(callback, self._app_ids, known)

    def orders_of(self, key: OrderKey) -> list[Order]:
        """The orders that a key names: one, none, or two that its ids confuse."""
        return [self.changes[order_id].after for order_id in self._directory.holders(key)]

    def apply(self, orders: Sequence[Order], callback: Callback, now: datetime) -> bool:
        """Judge the callback and change the orders; returns whether one was settled by it."""
        contradiction = _TWO_ORDERS if len(orders) > 1 else None
        settled = False
        for order in orders:
            app_id = self._app_ids[order.account]
            verdict = judge(order, [callback.report], app_id=app_id, asked_by=None, contradiction=contradiction)
            change = settle(order, verdict, source=Source.CALLBACK, now=now)
            settled = settled or change.settles
            self.changes[order.id] = self.changes[order.id].then(change.after, change.events)
            if change.after.request_id != order.request_id:
                self._directory.enter(change.after.key, order.id)
        return settled


def _save(connection: Connection, desk: _Desk, now: datetime, rules: Rules) -> None:
    changes = desk.changes.values()
    add_notes(connection, note_callbacks(changes, now, rules), now, rules)
    save_changes(connection, changes, now)


def _unmatched_row(account: str, callback: Callback, now: datetime) -> dict[str, object]:
    return {
        "account": account,
        "request_id": callback.report.request_id,
        "custom_parm": callback.report.custom_parm,
        "received_at": now,
        "payload": callback.payload_text,
    }
