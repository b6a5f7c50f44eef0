"""Maintain the rows of slots: add missing rows, read the rows without a lock in each tick, raise and lower windows.

Every worker raises windows that are shorter than its own. Only an operator lowers windows. If another database wrote
the row of a slot, as after a restore, the slot is closed for a reservation, and its row then names the present
database. This is needed because a restored row may be older than the slot's last query, and nothing in the row shows by
how much.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace

import structlog

from worker.adapters.clock import Clock
from worker.database.read_identity import identity_beside, identity_of
from worker.database.transactions import Connection, Database, DatabaseError, retry_contention
from worker.domain.queries.slots_and_clocks import (
    begin,
    hold,
    is_another,
    is_longer,
    is_noted,
    lower_window,
    noted,
    opens_in,
    raise_window,
)
from worker.domain.records.accounts import (
    DatabaseIdentity,
    LongerWindow,
    Opening,
    Provenance,
    Reading,
    Rules,
    SlotKey,
    SlotRow,
)
from worker.domain.records.sentences import Sentence, _
from worker.stores.accounts import (
    add_slot,
    lock_rows,
    lock_states,
    read_longest_windows,
    read_rows,
    save_provenance,
    save_slot,
)

log = structlog.stdlib.get_logger(__name__)


def note_database(connection: Connection, rows: Sequence[SlotRow], now: Reading, rules: Rules) -> list[SlotRow]:
    """If another database wrote a locked row, close the slot of that row for a full reservation from now. Write into
    all rows which database they are in, and return the new rows. `now` must have been read after the rows were
    locked."""
    present = identity_beside(connection, [row.provenance.identity for row in rows])
    after = [_noted_in(connection, row, present, now, rules) for row in rows]
    closed = [old for old, new in zip(rows, after, strict=True) if old.slot is not new.slot]
    if closed:
        # This is logged before the commit. If the commit fails, the next try logs it again.
        log.warning(
            "the database is another one than wrote the budget: its slots wait for one reservation",
            action="database_changed",
            slots=len(closed),
            was=closed[0].provenance.identity.text,
            found=present.text,
        )
    return after


def _noted_in(connection: Connection, row: SlotRow, present: DatabaseIdentity, now: Reading, rules: Rules) -> SlotRow:
    provenance = noted(row.provenance, present, now.database)
    if provenance == row.provenance:
        return row
    save_provenance(connection, row.id, provenance)
    if not is_another(row.provenance, present):
        return replace(row, provenance=provenance)
    held = hold(row.slot, now, rules, uuid.uuid4().hex)
    save_slot(connection, row.id, held, now.database)
    return replace(row, slot=held, provenance=provenance)


def read_clocks(database: Database, connection: Connection, clock: Clock) -> Reading:
    """Read the boot clock and the database's clock. A decision about a slot may use these times only if the slot's row
    was locked before."""
    boot = clock.boot()
    return Reading(boot_id=clock.boot_id, boot=boot, database=database.now(connection))


def raise_window_of(connection: Connection, row: SlotRow, now: Reading, rules: Rules) -> SlotRow:
    """If this worker's window is longer than that of a locked row, write the longer window into the row. Return the row
    with its present window."""
    raised = raise_window(row.slot, rules)
    if raised is row.slot:
        return row
    save_slot(connection, row.id, raised, now.database)
    return replace(row, slot=raised)


class SlotMaintenance:
    """Adds the rows of slots, keeps their windows up to date, and finds the slots that open soon."""

    def __init__(self, database: Database, clock: Clock, rules: Rules) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules
        self.longer_windows: Sequence[LongerWindow] = ()
        """The slots that this worker does not use, because their windows are longer than its own. Each call of
        `openings` sets this."""

    @retry_contention
    def prepare(self, slots: Sequence[SlotKey]) -> None:
        """Add the missing rows of these slots and of their accounts."""
        sids = {slot.account_sid for slot in slots}
        with self._database.write() as connection:
            known = read_rows(connection, sids)
            known_slots = {(row.account_sid, row.number) for row in known}
            now = read_clocks(self._database, connection, self._clock)
            for slot in slots:
                if slot.key not in known_slots:
                    windows = [row.slot.window_seconds for row in known if row.account_sid == slot.account_sid]
                    begun = begin(now, self._rules, longest_window_seconds=max(windows, default=0.0))
                    here = Provenance(identity=identity_of(connection))
                    add_slot(connection, slot.account_sid, slot.number, begun, here, now.database)
            lock_states(connection, {account for slot in slots for account in slot.app_ids})

    @retry_contention
    def bring_up_to_date(self, sids: Collection[str], *, waits: bool = True) -> None:
        """Raise the windows in these SIDs' rows that are shorter than this worker's. Close slots whose rows another
        database wrote. The slots of other deployments are included.

        With `waits`, wait for rows that are locked; otherwise leave these rows to the next call.
        """
        with self._database.write() as connection:
            outdated = self._outdated(connection, read_rows(connection, sids))
            rows = lock_rows(connection, outdated, waits=waits) if outdated else []
            now = read_clocks(self._database, connection, self._clock)
            raised = [raise_window_of(connection, row, now, self._rules) for row in rows]
            if raised:
                note_database(connection, raised, now, self._rules)

    def openings(self, slots: Sequence[SlotKey], *, within_seconds: float = 0.0) -> list[Opening]:
        """Return the slots that may carry a query within `within_seconds`. The rows are read without a lock.

        A slot without a row is new, or its row was lost in a restore. It gets a row, and waits. A window that is
        shorter than this worker's comes from another worker or from a backup, and is raised. A slot whose row another
        database wrote is closed, even if no order is due.
        """
        sids = {slot.account_sid for slot in slots}
        with self._database.read() as connection:
            rows = read_rows(connection, sids)
            outdated = self._outdated(connection, rows)
            now = read_clocks(self._database, connection, self._clock)
        own = self._rules.window_seconds
        if outdated:
            # The call does not wait for locked rows, because one locked row must not delay the other slots.
            self.bring_up_to_date(sids, waits=False)
        found = {(row.account_sid, row.number): row.slot for row in rows}
        self.longer_windows = [
            LongerWindow(slot=slot, its_window=its.window_seconds, our_window=own)
            for slot in slots
            if (its := found.get(slot.key)) and is_longer(its.window_seconds, own)
        ]
        if any(slot.key not in found for slot in slots):
            self.prepare(slots)
        return [
            Opening(slot=slot, in_seconds=in_seconds, last_token=its.token)
            for slot in slots
            if (its := found.get(slot.key)) and (in_seconds := opens_in(its, now, self._rules)) <= within_seconds
        ]

    def _outdated(self, connection: Connection, rows: Sequence[SlotRow]) -> list[int]:
        present, own = (
            identity_beside(connection, [row.provenance.identity for row in rows]),
            self._rules.window_seconds,
        )
        return [
            row.id for row in rows if is_longer(own, row.slot.window_seconds) or not is_noted(row.provenance, present)
        ]


def longest_windows(database: Database, *, slots_per_sid: int) -> dict[str, float] | None:
    """Return the longest window, in seconds, among the first `slots_per_sid` slots of each SID. Leave out a SID if none
    of these slots has a window yet. Return None if the table cannot be read. The database's schema must be the
    newest."""
    try:
        with database.read() as connection:
            return read_longest_windows(connection, slots_per_sid)
    except DatabaseError:
        # For instance, the database role has no right to read the table. If the database cannot be reached, other
        # checks report that.
        return None


def longer_window_remedy(our_window: float, their_window: float) -> Sentence:
    """Say what a person must do if a slot's row has a longer window than this worker. Both windows are in seconds."""
    return _(
        "set RECONCILER_QUERY_WINDOW_SECONDS to %(theirs)s; or, once no worker with that window runs any"
        " more, lower it with `reconciler limit --window %(own)s`",
        f"{their_window:g}",
        f"{our_window:g}",
    )


@retry_contention
def lower_windows(
    database: Database, clock: Clock, rules: Rules, sids: Collection[str], window_seconds: float
) -> list[tuple[SlotRow, SlotRow]]:
    """Lower the windows of all rows of these SIDs in one transaction. Windows that are not longer than `window_seconds`
    do not change.

    Each lowered slot first waits for one full reservation of its former, longer window. Return the lowered rows as they
    were before and as they are now.
    """
    with database.write() as connection:
        ids = [row.id for row in read_rows(connection, sids)]
        rows = lock_rows(connection, ids, waits=True)
        # As in a grant, both clocks are read once the rows are locked, because the reservation begins at the time read.
        now = read_clocks(database, connection, clock)
        lowered = []
        for row in rows:
            slot = lower_window(row.slot, now, rules, window_seconds)
            if slot is not row.slot:
                save_slot(connection, row.id, slot, now.database)
                lowered.append((row, replace(row, slot=slot)))
        return lowered
