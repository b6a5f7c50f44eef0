"""What operators did."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, insert, update

from worker.database.bulk_statements import insert_rows
from worker.database.tables import ACTS
from worker.domain.records.acts import ActEntry
from worker.domain.records.coded_texts import to_columns


def add_acts(connection: Connection, entries: Iterable[ActEntry]) -> None:
    """Append the records of acts."""
    insert_rows(connection, ACTS, [_row(entry) for entry in entries])


def add_act(connection: Connection, entry: ActEntry) -> int:
    """Append the record of an act; returns its id."""
    key = connection.execute(insert(ACTS).values(_row(entry))).inserted_primary_key
    assert key is not None
    return int(key.id)


def set_detail(connection: Connection, act_id: int, detail: str) -> None:
    """Say what an act has done by now."""
    connection.execute(update(ACTS).where(ACTS.c.id == act_id).values(to_columns(detail)))


def _row(entry: ActEntry) -> dict[str, Any]:
    return {field.name: getattr(entry, field.name) for field in fields(entry)} | to_columns(entry.detail)
