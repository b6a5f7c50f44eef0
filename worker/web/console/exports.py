"""Lists as files that are made in the background, by threads of the process that was asked.

Of each list a page of rows is read at a time, in a transaction of its own; of all that a process makes, one at a time:
the other connections are left to the pages. All that needs a person is read in one transaction. The files lie in the
folder of the settings, named by random ids, and who has asked for one downloads it within an hour.
"""

import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from flask import (
    Blueprint,
    Response,
    abort,
    copy_current_request_context,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    send_file,
    url_for,
)
from xlsxwriter.exceptions import FileCreateError

from worker.adapters.safe_text import first_words
from worker.database.transactions import Database, is_transient, retry_until
from worker.domain.records.exports import AskedExport, Export, ExportState
from worker.operations.export import Exports
from worker.operations.write_heartbeat import host_name
from worker.views.page import Page, every_row
from worker.web.console.files import XLSX_TYPE, Chosen, ListFile, Load, Row, column_name, xlsx_file
from worker.web.xlsx import ROWS_OF_A_SHEET, XlsxFile, write_xlsx

log = structlog.stdlib.get_logger(__name__)

LISTS = frozenset({"orders", "attention", "notifications", "queries", "rejected", "unmatched", "acts"})
_BEAT_SECONDS = 5.0
_PART_SECONDS = 0.5
_ROWS_AT_ONCE = 1_000
_CLOSE_SECONDS = 5.0
# With a database that is away.
_PATIENCE_SECONDS = 60.0
_ID_BYTES = 16
_OURS = re.compile(r"([0-9a-f]{32})\.xlsx(\.parts)?")


class _Ended(Exception):
    """The export has ended already: it was cancelled, or its process stops."""


@dataclass(slots=True)
class _Job:
    """An export that this process makes."""

    row_count: int = 0
    ended: ExportState | None = None
    """How it has ended before it was done."""
    thread: threading.Thread = field(init=False)


class Exporter:
    """Makes the files of one process, and deletes those of the folder that are older than an hour."""

    def __init__(
        self,
        folder: Path | None,
        database: Database,
        *,
        rows_of_a_sheet: int = ROWS_OF_A_SHEET,
        beat_seconds: float = _BEAT_SECONDS,
    ) -> None:
        """Without a folder nothing is made. Every `beat_seconds` it is said how far each file has come."""
        self.folder = folder
        self.exports = Exports(database)
        self._rows_of_a_sheet = rows_of_a_sheet
        self._beat_seconds = beat_seconds
        self._turn = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, args=(folder,), name="exports", daemon=True)
        if folder is not None:
            self._watcher.start()

    def begin(self, file: ListFile, rows: Iterable[Row], filters: Chosen, zone: ZoneInfo) -> Response:
        """Begin to make the file of the list that the request is for, in its language; or say that others are made."""
        if self.folder is None:
            abort(404)
        export_id, job = secrets.token_hex(_ID_BYTES), _Job()
        asked = AskedExport(
            id=export_id,
            user_name=g.viewer.name,
            list_name=file.name,
            filters=request.query_string.decode("ascii", "replace"),
            host=host_name(),
        )
        if not self.exports.begin(asked):
            return make_response(self.shown(is_busy=True), 409)
        write = partial(self._write, self._path(export_id), *xlsx_file(file, _counted(rows, job), filters, zone))
        make = copy_current_request_context(partial(self._make, export_id, job, write))
        job.thread = threading.Thread(target=make, name="export", daemon=True)
        self._jobs[export_id] = job
        try:
            job.thread.start()
        except RuntimeError:  # no thread is left: without a sign its row is found to be lost
            del self._jobs[export_id]
            raise
        return make_response(redirect(url_for("console.exports"), 303))

    def every_row(self, load: Load, after: int | None, at_once: int) -> Iterator[Row]:
        """The rows of a list behind this one, read a page at a time, in turn with other files."""

        @retry_until(seconds=_PATIENCE_SECONDS)
        def read(*, after: int | None, most: int, seconds: float) -> Page[Row]:
            with self._turn:
                return load(after, most, min(seconds, _PART_SECONDS))

        return every_row(read, after, at_once=min(at_once, _ROWS_AT_ONCE))

    def shown(self, *, is_busy: bool = False) -> str:
        """The page of those that the viewer has asked for."""
        return render_template("console/exports.html", exports=self.own(), is_busy=is_busy, is_here=self.is_here)

    def own(self) -> list[Export]:
        """Those that the viewer has asked for."""
        return [one for one in self.exports.current() if one.user_name == g.viewer.name]

    def is_here(self, export: Export) -> bool:
        """Whether the file lies on this host, and is ready."""
        return self.folder is not None and export.state is ExportState.DONE and self._path(export.id).exists()

    def download(self, export: Export) -> Response:
        """The file."""
        name = f"{export.list_name}.xlsx"
        return send_file(self._path(export.id), mimetype=XLSX_TYPE, as_attachment=True, download_name=name)

    def close(self) -> None:
        """End what is being made, and the threads; before the database is closed, which they use."""
        self._closing.set()
        for export_id, job in list(self._jobs.items()):
            job.ended = ExportState.STOPPED
            self._end(export_id, ExportState.STOPPED, job)
            # One that is about to begin ends by itself at its first row.
            if job.thread.is_alive():
                job.thread.join(_CLOSE_SECONDS)
        if self.folder is not None:
            self._watcher.join(_CLOSE_SECONDS)

    def _make(self, export_id: str, job: _Job, write: partial[None]) -> None:
        state = ExportState.DONE
        try:
            write()
        except _Ended:
            state = job.ended or ExportState.CANCELLED
        except (OSError, FileCreateError) as error:
            state = ExportState.NOT_WRITTEN
            log.warning("a file was not written", action="export_not_written", error=first_words(error))
        except Exception as error:  # whatever it is, who waits for the file has to be told
            state = ExportState.DATABASE_AWAY if is_transient(error) else ExportState.FAILED
            log.error("a file was not made", action="export_failed", error=first_words(error))
        self._end(export_id, state, job, patience_seconds=_PATIENCE_SECONDS)
        del self._jobs[export_id]

    def _end(self, export_id: str, state: ExportState, job: _Job, *, patience_seconds: float = 0.0) -> None:
        try:
            retry_until(seconds=patience_seconds)(self.exports.end)(export_id, state, job.row_count)
        except Exception as error:  # without it the row is found to be lost, a minute later
            log.warning("an export was not ended", action="export_not_ended", error=first_words(error))

    def _write(self, path: Path, described: XlsxFile, rows: Iterable[Row]) -> None:
        parts = path.with_name(f"{path.name}.parts")
        # The watcher may not have made the folder yet.
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        parts.mkdir(0o700)
        try:
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                write_xlsx(file, described, rows, folder=str(parts), rows_of_a_sheet=self._rows_of_a_sheet)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            shutil.rmtree(parts, ignore_errors=True)

    def _path(self, export_id: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{export_id}.xlsx"

    def _watch(self, folder: Path) -> None:
        while True:
            try:
                self._give_signs()
                self._delete_old(folder)
            except Exception as error:  # it is tried again
                log.warning("exports were not watched", action="exports_unwatched", error=first_words(error))
            if self._closing.wait(self._beat_seconds):
                return

    def _give_signs(self) -> None:
        for export_id, job in list(self._jobs.items()):
            if not self.exports.note_progress(export_id, job.row_count):
                job.ended = ExportState.CANCELLED

    def _delete_old(self, folder: Path) -> None:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        # First the files: each has its row before.
        found = [(path, named[1]) for path in folder.iterdir() if (named := _OURS.fullmatch(path.name))]
        if not found:
            return
        kept = {one.id for one in self.exports.current() if one.state in (ExportState.RUNNING, ExportState.DONE)}
        for path, export_id in found:
            # What this process has just ended it deletes itself: a book that is being closed needs its parts.
            if export_id not in kept and export_id not in self._jobs:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _counted(rows: Iterable[Row], job: _Job) -> Iterator[Row]:
    for row in rows:
        if job.ended is not None:
            raise _Ended
        job.row_count += 1
        yield row


def add_routes(routes: Blueprint, exporter: Exporter) -> None:
    """`/exports`: to begin one, to see how it stands, to cancel it, to download its file."""

    routes.add_url_rule("/exports", "exports", exporter.shown)

    @routes.post("/exports/new/<name>")
    def export(name: str) -> Any:
        if name not in LISTS:
            abort(404)
        return current_app.view_functions[f"{routes.name}.{name}"]()

    @routes.post("/exports/<export_id>/cancel")
    def cancel_export(export_id: str) -> Response:
        exporter.exports.end(own(export_id).id, ExportState.CANCELLED)
        return make_response(redirect(url_for("console.exports"), 303))

    @routes.get("/exports/<export_id>")
    def exported(export_id: str) -> Response:
        found = own(export_id)
        return exporter.download(found) if exporter.is_here(found) else abort(404)

    def own(export_id: str) -> Export:
        return next((one for one in exporter.own() if one.id == export_id), None) or abort(404)

    routes.add_app_template_global(lambda name: column_name(name, "list"), "list_name")
