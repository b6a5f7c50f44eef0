"""The exports of all processes that serve the console: their rows, by the database's clock."""

from dataclasses import asdict

from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.records.exports import KEPT, MOST_RUNNING, AskedExport, Export, ExportState
from worker.stores import console_exports as store


class Exports:
    """Begins, follows and ends them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retry_contention
    def begin(self, asked: AskedExport) -> bool:
        """Whether it may begin: not while the user has one that runs, nor while two run."""
        with self._database.write() as connection:
            running = [one for one in self._current(connection) if one.state is ExportState.RUNNING]
            free = set(range(MOST_RUNNING)) - store.taken_slots(connection)
            if not free or any(one.user_name == asked.user_name for one in running):
                return False
            now = self._database.now(connection)
            export = Export(**asdict(asked), state=ExportState.RUNNING, row_count=0, asked_at=now, seen_at=now)
            store.add_export(connection, export, min(free))
            return True

    @retry_contention
    def current(self) -> list[Export]:
        """Those that run or ended within the hour, newest first; what is older is forgotten, what is lost has ended."""
        with self._database.write() as connection:
            return self._current(connection)

    @retry_contention
    def note_progress(self, export_id: str, row_count: int) -> bool:
        """Give a sign; whether it is to go on."""
        with self._database.write() as connection:
            return store.note_progress(connection, export_id, row_count, self._database.now(connection))

    @retry_contention
    def end(self, export_id: str, state: ExportState, row_count: int | None = None) -> None:
        """End one, unless it has ended."""
        with self._database.write() as connection:
            store.end_exports(connection, [export_id], state, self._database.now(connection), row_count)

    def _current(self, connection: Connection) -> list[Export]:
        found, now = store.read_exports(connection), self._database.now(connection)
        lost = [one.id for one in found if one.state is not one.state_at(now)]
        old = [one.id for one in found if one.ended_at is not None and now - one.ended_at > KEPT]
        store.end_exports(connection, lost, ExportState.LOST, now)
        store.delete_exports(connection, old)
        return [one for one in (store.read_exports(connection) if lost else found) if one.id not in old]
