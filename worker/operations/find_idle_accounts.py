"""Which accounts need not be tried now, in one statement for all of them.

An account without a due order has an open slot all the time. To try for it takes a transaction with locks; a thousand
such accounts, once a second each, would keep a machine busy for nothing.
"""

from collections.abc import Collection

from worker.database.transactions import Database
from worker.domain.back_off import waits
from worker.domain.index_ranges import INDEX_RANGES
from worker.stores.due_orders import read_dueness


def read_resting(database: Database, accounts: Collection[str]) -> set[str]:
    """Those of these accounts that have nothing due, back off or are paused, as one look without a lock can tell.

    A hint to save work. An account of which nothing is known yet is not among them.
    """
    if not accounts:
        return set()
    with database.read() as connection:
        now = database.now(connection)
        known = read_dueness(connection, accounts, now, INDEX_RANGES)
    return {state.account for state, has_due in known if not has_due or waits(state, now)}
