"""Maintain the rows of slots: add missing rows, read them in ticks without a lock, raise and lower their windows.

Every worker raises windows that are shorter than its own. Only an operator lowers them. If another database wrote the
row of a slot, as after a restore, the slot is closed, and its row then names the present database. Such a row may be
older than the last query, and nothing in the row tells by how much.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace

import structlog

from worker.adapters.clock import Clock
from worker.database.identity import identity_beside, identity_of
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
    """Close the slots of those locked rows that another database wrote, for a full reservation from now. Write into all
    rows which database they are in. Return the rows as they are then. `now` must be read under the rows' locks."""
    present = identity_beside(connection, [row.provenance.identity for row in rows])
    after = [_noted_in(connection, row, present, now, rules) for row in rows]
    closed = [old for old, new in zip(rows, after, strict=True) if old.slot is not new.slot]
    if closed:
        # Logged before the commit: if the commit fails, the line comes again with the next try.
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
    """Read both clocks. A decision may depend on them only if the slot's row was locked before."""
    boot = clock.boot()
    return Reading(boot_id=clock.boot_id, boot=boot, database=database.now(connection))


def raise_window_of(connection: Connection, row: SlotRow, now: Reading, rules: Rules) -> SlotRow:
    """Raise a locked row's window to ours, if ours is longer, and write it. Return the row as it is then."""
    raised = raise_window(row.slot, rules)
    if raised is row.slot:
        return row
    save_slot(connection, row.id, raised, now.database)
    return replace(row, slot=raised)


class SlotMaintenance:
    """Adds the rows of slots, keeps their windows up to date, and finds those that open soon."""

    def __init__(self, database: Database, clock: Clock, rules: Rules) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules
        self.longer_windows: Sequence[LongerWindow] = ()
        """The slots that this worker does not use because their windows are longer, as of the last `openings` call."""

    @retry_contention
    def prepare(self, slots: Sequence[SlotKey]) -> None:
        """Add the missing rows of slots and their accounts."""
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
        """Raise the windows of these SIDs' rows that are shorter than ours, and close slots whose rows another database
        wrote. This includes the slots of other deployments.

        With `waits`, wait for locked rows; otherwise leave them for the next call.
        """
        with self._database.write() as connection:
            outdated = self._outdated(connection, read_rows(connection, sids))
            rows = lock_rows(connection, outdated, waits=waits) if outdated else []
            now = read_clocks(self._database, connection, self._clock)
            raised = [raise_window_of(connection, row, now, self._rules) for row in rows]
            if raised:
                note_database(connection, raised, now, self._rules)

    def openings(self, slots: Sequence[SlotKey], *, within_seconds: float = 0.0) -> list[Opening]:
        """Return the slots that may carry a query within `within_seconds`, as a read without a lock shows.

        A slot without a row gets one and waits: it is new, or its row was lost in a restore. A window that is shorter
        than ours is raised: the row may come from a worker with that window, or from a backup. A slot whose row another
        database wrote is closed, whether or not an order is due.
        """
        sids = {slot.account_sid for slot in slots}
        with self._database.read() as connection:
            rows = read_rows(connection, sids)
            outdated = self._outdated(connection, rows)
            now = read_clocks(self._database, connection, self._clock)
        own = self._rules.window_seconds
        if outdated:
            # This does not wait, because a locked row must not delay other slots.
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
    """Return each SID's longest window, in seconds, of the slots in use, without SIDs whose rows have none yet; None if
    the table cannot be read. The database is at head."""
    try:
        with database.read() as connection:
            return read_longest_windows(connection, slots_per_sid)
    except DatabaseError:
        # The role has no right to read the table, for instance. If the server went away, other checks report it.
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

    Each lowered slot begins with one full reservation of its longer window. Return the lowered rows as they were and as
    they are now.
    """
    with database.write() as connection:
        ids = [row.id for row in read_rows(connection, sids)]
        rows = lock_rows(connection, ids, waits=True)
        # Both clocks are read after the locks, as in a grant: the reservation counts from then.
        now = read_clocks(database, connection, clock)
        lowered = []
        for row in rows:
            slot = lower_window(row.slot, now, rules, window_seconds)
            if slot is not row.slot:
                save_slot(connection, row.id, slot, now.database)
                lowered.append((row, replace(row, slot=slot)))
        return lowered
