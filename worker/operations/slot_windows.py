"""The windows of the budget's slots: raised by every worker whose own is longer, lowered by an operator alone."""

from collections.abc import Collection
from dataclasses import replace

from worker.adapters.clock import Clock
from worker.database.transactions import Connection, Database, DatabaseError, retry_contention
from worker.domain.budget import lower_window, raise_window
from worker.domain.records.parameters import Rules
from worker.domain.records.slots import Reading
from worker.stores.query_budgets import SlotRow, lock_rows, read_longest_windows, read_rows, save_slot

_ANSWER_SECONDS = 5.0


def read_clocks(database: Database, connection: Connection, clock: Clock) -> Reading:
    """Both clocks at this moment. A decision may rest on them only where the slot's row was locked before."""
    boot = clock.boot()
    return Reading(boot_id=clock.boot_id, boot=boot, database=database.now(connection))


def raise_window_of(connection: Connection, row: SlotRow, now: Reading, rules: Rules) -> SlotRow:
    """Raise a locked row's window to ours, if that is longer, and write it; returns the row as it is then."""
    raised = raise_window(row.slot, rules)
    if raised is row.slot:
        return row
    save_slot(connection, row.id, raised, now.database)
    return replace(row, slot=raised)


def read_windows(database: Database, clock: Clock, sids: Collection[str]) -> tuple[list[SlotRow], Reading]:
    """All rows of these SIDs, by SID and slot, and both clocks. Locks nothing."""
    with database.read() as connection:
        rows = read_rows(connection, sids)
        return sorted(rows, key=lambda row: (row.account_sid, row.number)), read_clocks(database, connection, clock)


def longest_windows(url: str, *, slots_per_sid: int) -> dict[str, float] | None:
    """Each SID's longest window, in seconds, of the slots in use; without those whose rows hold none yet. None where
    the table cannot be read. Leaves no connection open; the database is at head."""
    database = Database(url, answer_seconds=_ANSWER_SECONDS, pool_size=1)
    try:
        with database.read() as connection:
            return read_longest_windows(connection, slots_per_sid)
    except DatabaseError:
        # A role that may not look. Where the server went away, the checks beside this one say so.
        return None
    finally:
        database.close()


@retry_contention
def lower_windows(
    database: Database, clock: Clock, rules: Rules, sids: Collection[str], window_seconds: float
) -> list[tuple[SlotRow, SlotRow]]:
    """Lower the windows of these SIDs' rows, all of them in one transaction; those that are no longer stay.

    Each lowered slot begins with one full reservation of its longer window. Returns those rows as they were and as they
    are now.
    """
    with database.write() as connection:
        ids = [row.id for row in read_rows(connection, sids)]
        rows = lock_rows(connection, ids, waits=True)
        # Both clocks after the locks, as in a grant: the reservation counts from here.
        now = read_clocks(database, connection, clock)
        lowered = []
        for row in rows:
            slot = lower_window(row.slot, now, rules, window_seconds)
            if slot is not row.slot:
                save_slot(connection, row.id, slot, now.database)
                lowered.append((row, replace(row, slot=slot)))
        return lowered
