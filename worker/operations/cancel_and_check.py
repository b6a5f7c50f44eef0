"""Cancel orders and request checks of orders. References name the orders."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from worker.database.transactions import Database, retry_until
from worker.domain.notifications.events import rank_of
from worker.domain.orders.billing_requests import Reference, ReferenceResult, cancel_all, check_all
from worker.domain.orders.check_fields import read_items, read_reference, refused_texts
from worker.domain.records.orders import Order
from worker.operations.enqueue import PATIENCE_SECONDS
from worker.operations.save_orders import save_orders
from worker.stores.recharge_orders import lock_by_keys
from worker.stores.rejected_and_unmatched import keep_refused

Decision = Callable[[Sequence[Reference], Sequence[Order], datetime], ReferenceResult]


def cancel(
    database: Database, app_ids: Mapping[str, str], references: object, source: str, *, waits: bool = True
) -> ReferenceResult:
    """Stop polling orders that the billing system has dealt with. Final and cancelled orders do not change.

    `references` is the argument of a task, of any type. `app_ids` are the configured accounts. Raise RowsHeld if
    `waits` is false and another transaction has locked one of the orders. Nothing has changed then.
    """
    return _decide_all(database, app_ids, references, source, cancel_all, waits=waits)


def check(
    database: Database, app_ids: Mapping[str, str], references: object, source: str, *, waits: bool = True
) -> ReferenceResult:
    """Get pending orders polled as soon as possible. References to orders in other states are refused. The arguments
    and errors are those of `cancel`."""
    return _decide_all(database, app_ids, references, source, check_all, waits=waits)


@retry_until(seconds=PATIENCE_SECONDS)
def _decide_all(
    database: Database, app_ids: Mapping[str, str], references: object, source: str, decide: Decision, *, waits: bool
) -> ReferenceResult:
    with database.write() as connection:
        now = database.now(connection)
        read, refused = read_items(references, "orders", lambda item: read_reference(item, app_ids))
        orders = lock_by_keys(connection, [key for _, _, key in read], waits=waits)
        result = decide(read, orders, now)
        save_orders(connection, result.changes.values(), now, rank=rank_of(len(read)))
        result.rejections = [*refused, *result.rejections]
        keep_refused(connection, refused_texts(result.rejections), source, now)
        return result
