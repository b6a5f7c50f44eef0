"""The files that the console makes in the background, by their rows."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from worker.database.tables import EXPORTS
from worker.domain.records.exports import Export, ExportState

_COLUMNS = [column for column in EXPORTS.c if column.name not in ("slot", "running_user")]
_RUNNING = EXPORTS.c.state == ExportState.RUNNING


def add_export(connection: Connection, export: Export, slot: int) -> None:
    """Begin one. Raises IntegrityError where another session has taken its slot, or has begun one of its user."""
    connection.execute(insert(EXPORTS).values(**asdict(export), slot=slot, running_user=export.user_name))


def read_exports(connection: Connection) -> list[Export]:
    """All that there are, the newest first."""
    statement = select(*_COLUMNS).order_by(EXPORTS.c.asked_at.desc(), EXPORTS.c.id)
    return [Export(**row) for row in connection.execute(statement).mappings()]


def taken_slots(connection: Connection) -> set[int]:
    """The slots of those that run."""
    return set(connection.scalars(select(EXPORTS.c.slot).where(EXPORTS.c.slot.is_not(None))))


def note_progress(connection: Connection, export_id: str, row_count: int, now: datetime) -> bool:
    """Write how far one has come; whether it still runs."""
    its = update(EXPORTS).where(EXPORTS.c.id == export_id, _RUNNING)
    return connection.execute(its.values(row_count=row_count, seen_at=now)).rowcount > 0


def end_exports(
    connection: Connection, export_ids: Sequence[str], state: ExportState, now: datetime, row_count: int | None = None
) -> None:
    """End these, as far as they run, and free their slots."""
    counted = {} if row_count is None else {"row_count": row_count}
    for export_id in export_ids:
        its = update(EXPORTS).where(EXPORTS.c.id == export_id, _RUNNING)
        connection.execute(its.values(state=state, ended_at=now, slot=None, running_user=None, **counted))


def delete_exports(connection: Connection, export_ids: Sequence[str]) -> None:
    """Forget these."""
    for export_id in export_ids:
        connection.execute(delete(EXPORTS).where(EXPORTS.c.id == export_id))
