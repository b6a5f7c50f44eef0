"""Carry out the acts of operators on input that was kept because it could not be applied.

Refused input is retried after a correction, or dismissed. An unmatched callback is linked to an order, or dismissed.
The same transaction closes or deletes the row and records the act. So even if an operator sends an act twice, it is
done only once.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from worker.database.transactions import Connection, Database, retry_contention, retry_until
from worker.domain.callbacks.match_to_orders import key_in, link_callback
from worker.domain.orders.check_fields import InputKind, RefusedInput, Retried, gone, read_refused, refused_texts
from worker.domain.orders.operator_acts import Decided
from worker.domain.records.accounts import Rules
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Directory
from worker.domain.records.notifications import Rank
from worker.domain.records.operators import ActEntry, ActKind
from worker.domain.records.order_changes import Change
from worker.domain.records.sentences import Sentence
from worker.operations.act_by_hand import MOST_AT_ONCE, LongAct, Operator, entries_of, writing
from worker.operations.enqueue import PATIENCE_SECONDS, enqueue_within
from worker.operations.record_callbacks import lock_readable, record_callbacks_within
from worker.operations.save_orders import save_orders
from worker.stores.operators import add_acts
from worker.stores.recharge_orders import lock_by_keys
from worker.stores.rejected_and_unmatched import (
    close_refused,
    close_refused_of,
    drop_kept,
    drop_refused,
    keep_refused,
    lock_kept,
    lock_refused,
    rewrite_refused,
)

_MOST_RECORDED = 10_000
"""The most characters of a payload that the record of a retry keeps."""


@retry_until(seconds=PATIENCE_SECONDS)
def retry_rejected(
    database: Database, rules: Rules, app_ids: Mapping[str, str], rejected_id: int, *, actor: str
) -> Retried:
    """Try again to accept the input of a refused row. The same commit deletes the row, so that nothing is accepted from
    the row twice. The record of the act keeps the input.

    Input that is refused again is stored with its new errors. After the return, the caller must match `keys` of the
    result with the kept callbacks.
    """
    with database.write() as connection:
        row = lock_refused(connection, rejected_id)
        if row is None:
            return gone()
        held = read_refused(row.source, row.payload, row.errors)
        if isinstance(held, Sentence):
            return Retried(fault=held)
        now = database.now(connection)
        result = Retried()
        for part in held.parts:
            # The input is read as if the time were still `received_at`. Later submission times are still refused, and
            # an order without a submission time gets `received_at`.
            _take_in(connection, rules, app_ids, held, part, row.received_at, now, result)
        refused = refused_texts(result.rejections, are_orders=held.kind is InputKind.ORDERS)
        if refused and not held.is_list:
            rewrite_refused(connection, rejected_id, refused[0])
        else:
            keep_refused(connection, refused, row.source, now)
            drop_refused(connection, rejected_id)
        if held.kind is InputKind.ORDERS:
            close_refused_of(connection, result.keys)
        said = row.payload[:_MOST_RECORDED]
        detail = CodedText(TextCode.RETRIED, row=rejected_id, origin=row.source, count=result.done, said=said)
        entry = ActEntry(at=now, actor=actor, act=ActKind.RETRY, account=None, reason=None, detail=detail)
        add_acts(connection, [entry])
        return result


def _take_in(
    connection: Connection,
    rules: Rules,
    app_ids: Mapping[str, str],
    held: RefusedInput,
    part: list[object],
    received_at: datetime,
    now: datetime,
    result: Retried,
) -> None:
    if held.kind is InputKind.ORDERS:
        orders = enqueue_within(connection, rules, app_ids, part, now, received_at=received_at, rank=Rank.BULK)
        rejections, keys = orders.rejections, orders.keys
    else:
        callbacks = record_callbacks_within(connection, rules, app_ids, part, now, rank=Rank.BULK)
        rejections, keys = callbacks.rejections, list(callbacks.keys)
    result.rejections += rejections
    result.keys += keys
    result.done += len(part) - len(rejections)


def dismiss_rejected(database: Database, operator: Operator, ids: Sequence[int], which: str) -> int:
    """Dismiss these rows of refused input, 1,000 in a transaction. Return how many of them were open. `which` describes
    the rows in the record of the act."""
    act = LongAct(operator, ActKind.DISMISS_REJECTED, TextCode.DONE_WITH, which=which)
    done = sum(_dismiss(database, act, ids[start : start + MOST_AT_ONCE]) for start in range(0, len(ids), MOST_AT_ONCE))
    act.log_end()
    return done


@retry_contention
def _dismiss(database: Database, act: LongAct, ids: Sequence[int]) -> int:
    with act.part(database) as (connection, done):
        done["rejected_orders"] = close_refused(connection, ids)
    return done["rejected_orders"]


@retry_contention
def link_kept_callback(
    database: Database, rules: Rules, app_ids: Mapping[str, str], operator: Operator, kept_id: int, order_id: int
) -> Decided:
    """Apply a kept callback to the order that an operator names, or return why this is impossible. After the return,
    the caller must match the order's key with other kept callbacks."""
    with writing(database, operator) as connection:
        kept = [(account, callback) for _, account, callback in lock_readable(connection, [kept_id])]
        keys = [key_in(account, callback) for account, callback in kept]
        orders = {order.id: order for order in lock_by_keys(connection, keys, besides=[order_id])}
        if not kept or order_id not in orders:
            return CodedText(TextCode.NO_CALLBACK)
        act, named = operator.act(database.now(connection)), Directory(orders.values()).holders(keys[0])
        done = link_callback(orders[order_id], kept[0], named, act, app_ids, rules)
        if isinstance(done, Change):
            save_orders(connection, [done], act.now)
            drop_kept(connection, [kept_id])
            add_acts(connection, entries_of([done.after], act, ActKind.LINK))
    return done


@retry_contention
def dismiss_kept_callback(database: Database, operator: Operator, kept_id: int) -> CodedText | None:
    """Delete a kept callback, and keep its text in the record of the act. Return None if this was done, else why
    not."""
    with writing(database, operator) as connection:
        kept, act = lock_kept(connection, [kept_id]), operator.act(database.now(connection))
        drop_kept(connection, [row.id for row in kept])
        said = [CodedText(TextCode.UNMATCHED_CALLBACK, callback=row.payload) for row in kept]
        entries = [act.entry(ActKind.DISMISS_CALLBACK, row.account, what) for row, what in zip(kept, said, strict=True)]
        add_acts(connection, entries)
    if kept:
        operator.log(ActKind.DISMISS_CALLBACK, row=kept_id)
    return None if kept else CodedText(TextCode.NO_CALLBACK)
