"""The windows of the budget's slots, as an operator reads and lowers them."""

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from worker.adapters.clock import Clock
from worker.database.engine import Database
from worker.domain.budget import Reading, lower_window
from worker.domain.rules import Rules
from worker.stores.query_budgets import (
    BUDGETS,
    MICROSECONDS,
    SlotRow,
    lock_rows,
    read_clocks,
    read_rows,
    save_slot,
)

_ANSWER_SECONDS = 5.0


def read_windows(database: Database, clock: Clock, sids: Collection[str]) -> tuple[list[SlotRow], Reading]:
    """All rows of these SIDs, by SID and slot, and both clocks. Locks nothing."""
    with database.read() as connection:
        rows = read_rows(connection, sids)
        return sorted(rows, key=lambda row: (row.account_sid, row.number)), read_clocks(database, connection, clock)


def longest_windows(url: str, *, slots_per_sid: int) -> dict[str, float] | None:
    """Each SID's longest window, in seconds, of the slots in use; without those whose rows hold none yet. None where
    the table cannot be read. Leaves no connection open; the database is at head."""
    longest = select(BUDGETS.c.account_sid, func.max(BUDGETS.c.window_us)).where(BUDGETS.c.slot < slots_per_sid)
    database = Database(url, answer_seconds=_ANSWER_SECONDS, pool_size=1)
    try:
        with database.read() as connection:
            rows = connection.execute(longest.group_by(BUDGETS.c.account_sid)).all()
    except DBAPIError:
        # A role that may not look. Where the server went away, the checks beside this one say so.
        return None
    finally:
        database.close()
    return {sid: window_us / MICROSECONDS for sid, window_us in rows if window_us is not None}


def lower_windows(
    database: Database, clock: Clock, rules: Rules, sids: Collection[str], window_seconds: float
) -> list[tuple[SlotRow, SlotRow]]:
    """Lower the windows of these SIDs' rows, all of them in one transaction; those that are no longer stay.

    Each lowered slot begins with one full reservation of its longer window. Returns those rows as they were and as they
    are now.
    """
    return database.retrying(lambda: _lower(database, clock, rules, sids, window_seconds))


def _lower(
    database: Database, clock: Clock, rules: Rules, sids: Collection[str], window_seconds: float
) -> list[tuple[SlotRow, SlotRow]]:
    lowered = []
    with database.write() as connection:
        ids = [row.id for row in read_rows(connection, sids)]
        rows = lock_rows(connection, ids, waits=True)
        # Both clocks after the locks, as in a grant: the reservation counts from here.
        now = read_clocks(database, connection, clock)
        for row in rows:
            slot = lower_window(row.slot, now, rules, window_seconds)
            if slot is not row.slot:
                save_slot(connection, row.id, slot, now.database)
                lowered.append((row, replace(row, slot=slot)))
    return lowered
