"""Slots whose rows another database wrote, as after a restore: they are closed, and their rows say the present one.

Such a row may be older than the last query, and nothing in it tells by how much.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace

import structlog

from worker.database.identity import identity_beside
from worker.database.transactions import Connection
from worker.domain.queries.budget import hold, is_another, noted
from worker.domain.records.parameters import Rules
from worker.domain.records.slots import DatabaseIdentity, Reading, SlotRow
from worker.stores.slots_and_accounts import save_provenance, save_slot

log = structlog.stdlib.get_logger(__name__)


def note_database(connection: Connection, rows: Sequence[SlotRow], now: Reading, rules: Rules) -> list[SlotRow]:
    """Close those of these locked rows that another database wrote, for a full reservation from now, and have all of
    them say in which one they are; returns them as they are then. `now` was read under their locks."""
    present = identity_beside(connection, [row.provenance.identity for row in rows])
    after = [_noted_in(connection, row, present, now, rules) for row in rows]
    closed = [old for old, new in zip(rows, after, strict=True) if old.slot is not new.slot]
    if closed:
        # Before the commit: where that fails, the line comes again with the next try.
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
