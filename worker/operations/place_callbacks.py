"""What operators do with an unmatched callback: they link it to an order, or dismiss it. Either way its row goes, in
one transaction with the record of the act; so what is done twice is done once."""

from collections.abc import Mapping

from worker.database.transactions import Database, retry_contention
from worker.domain.callbacks.matching import key_in, link_callback
from worker.domain.orders.operator_acts import Decided
from worker.domain.records.accounts import Rules
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Directory
from worker.domain.records.operators import ActKind
from worker.domain.records.order_changes import Change
from worker.operations.act_by_hand import Operator, entries_of, writing
from worker.operations.record_callbacks import lock_readable
from worker.operations.save_orders import save_orders
from worker.stores.recharge_orders import lock_by_keys
from worker.stores.recorded_acts import add_acts
from worker.stores.rejected_and_unmatched import drop_kept, lock_kept


@retry_contention
def link_kept_callback(
    database: Database, rules: Rules, app_ids: Mapping[str, str], operator: Operator, kept_id: int, order_id: int
) -> Decided:
    """Record a kept callback for an order, as an operator says; or why not. After that the caller matches its key."""
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
    """Delete a kept callback, and record what it said; why not, or None where it is done."""
    with writing(database, operator) as connection:
        kept, act = lock_kept(connection, [kept_id]), operator.act(database.now(connection))
        drop_kept(connection, [row.id for row in kept])
        said = [CodedText(TextCode.UNMATCHED_CALLBACK, callback=row.payload) for row in kept]
        entries = [act.entry(ActKind.DISMISS_CALLBACK, row.account, what) for row, what in zip(kept, said, strict=True)]
        add_acts(connection, entries)
    if kept:
        operator.log(ActKind.DISMISS_CALLBACK, row=kept_id)
    return None if kept else CodedText(TextCode.NO_CALLBACK)
