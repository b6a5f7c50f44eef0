"""Refused input, tried once more after a correction: the same intake, in one transaction with its row."""

from collections.abc import Mapping
from datetime import datetime

from worker.database.transactions import Connection, Database, retry_until
from worker.domain.orders.billing_requests import cancel_all, check_all
from worker.domain.orders.submissions import InputKind, RefusedInput, Retried, gone, read_refused, refused_texts
from worker.domain.records.accounts import Rules
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.notifications import Rank
from worker.domain.records.operators import ActEntry, ActKind
from worker.domain.records.sentences import Sentence
from worker.operations.cancel_and_check import decide_within
from worker.operations.enqueue import PATIENCE_SECONDS, enqueue_within
from worker.operations.record_callbacks import record_callbacks_within
from worker.stores.recorded_acts import add_acts
from worker.stores.rejected_and_unmatched import (
    close_refused_of,
    drop_refused,
    keep_refused,
    lock_refused,
    rewrite_refused,
)

_MOST_RECORDED = 10_000
"""Characters of a payload that the record of a retry keeps."""


@retry_until(seconds=PATIENCE_SECONDS)
def retry_rejected(
    database: Database, rules: Rules, app_ids: Mapping[str, str], rejected_id: int, *, actor: str
) -> Retried:
    """Take in what a refused row holds. Its row goes with the same commit, so that nothing is taken in twice by it;
    what it held stays in the record of the act.

    What is refused once more stays, with the new errors. Once this has returned, kept callbacks may wait for the keys.
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
            # Read as of then: what lay in the future is refused still, and an order without a time came in then.
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
    elif held.kind is InputKind.CALLBACKS:
        callbacks = record_callbacks_within(connection, rules, app_ids, part, now, rank=Rank.BULK)
        rejections, keys = callbacks.rejections, list(callbacks.keys)
    else:
        decide = cancel_all if held.kind is InputKind.CANCELLATIONS else check_all
        rejections, keys = decide_within(connection, app_ids, part, now, decide, Rank.BULK).rejections, []
    result.rejections += rejections
    result.keys += keys
    result.done += len(part) - len(rejections)
