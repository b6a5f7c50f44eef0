"""Receiving callbacks over HTTP: those that come together share a transaction, and repeats are counted."""

from collections.abc import Mapping, Sequence

from worker.database.transactions import Database, retry_races
from worker.domain.callbacks.bodies import Callback
from worker.domain.callbacks.matching import CallbackResult
from worker.domain.orders.submissions import refused_texts
from worker.domain.records.incoming import Rejection
from worker.domain.records.parameters import Rules
from worker.operations.record_callbacks import decide_within, save_within
from worker.stores.rejected_and_unmatched import keep_refused_once

SOURCE = "reconciler serve"
"""Of what is refused here, in `rejected_orders`."""


@retry_races
def receive_callbacks(
    database: Database, rules: Rules, app_ids: Mapping[str, str], received: Sequence[Callback | Rejection]
) -> CallbackResult:
    """Settle, keep or refuse callbacks, each of which came by the address of its account.

    After the return the caller matches `result.keys` with the kept callbacks. Where somebody holds one of the
    rows, the caller tries the others without it.
    """
    callbacks = [(index, one) for index, one in enumerate(received) if isinstance(one, Callback)]
    with database.write() as connection:
        now = database.now(connection)
        result = decide_within(connection, rules, app_ids, callbacks, now)
        result.rejections += [one for one in received if isinstance(one, Rejection)]
        save_within(connection, rules, result, now)
        keep_refused_once(connection, refused_texts(result.rejections), SOURCE, now)
        return result
