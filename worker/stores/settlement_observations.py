"""The notes of what happened to orders: written by the transaction in which it happens, kept until they are learned."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from worker.database.bulk_statements import insert_rows
from worker.database.tables import SettlementNote, table_of
from worker.domain.pricing.learning import Notes
from worker.domain.rules import Rules
from worker.stores.learning_json import notes_text

NOTES = table_of(SettlementNote)


def add_notes(connection: Connection, notes: Mapping[str, Notes], now: datetime, rules: Rules) -> None:
    """Write what a transaction noted, by account: one insert, none where nothing was noted."""
    rows = [
        {"account": account, "noted_at": now, "notes": notes_text(noted, rules)}
        for account, noted in notes.items()
        if noted
    ]
    insert_rows(connection, NOTES, rows)
