"""Answer health checks. `/healthz` tells monitoring whether orders are being reconciled. For an orchestrator, `/livez`
tells whether this process answers, and `/readyz` whether this process can take in callbacks."""

from collections.abc import Callable

from flask import Blueprint, Response, jsonify

from worker.database.engine import missing_file
from worker.database.error_kinds import ErrorKind, is_of_another_revision, kind_of
from worker.database.revisions import revision_fault, revisions
from worker.database.server import missing_rights
from worker.database.transactions import Database, DatabaseError, is_contention
from worker.doctor.readings import reach_broker, start_reading
from worker.settings import Settings
from worker.settings.rules import thresholds_of
from worker.views.status import Liveness, read_liveness
from worker.web.access import Access, refuse_to_watch
from worker.web.shared_readings import SharedReading

_OK = "ok"
_UNKNOWN = "unknown, as the database does not answer"
_NO_DATABASE = "no answer"
_NOT_YET = "the database has not answered yet"
_OTHER_REVISION = "not at a revision that this release can read"
_HANGS = "what it does hangs"
_TAKES_NOTHING_IN = "takes nothing in, and messages wait"
_NO_BROKER = "cannot be reached"
_NOT_BY_WORKERS = "answers no worker"
_KEPT_SECONDS = 2.0
_READY_KEPT_SECONDS = 1.0
# Rights are checked less often, because trying each right takes a few dozen statements.
_RIGHTS_KEPT_SECONDS = 5.0
# This limit is short because anybody may send probes: while the database is silent, only a few threads may wait for it.
_PATIENCE_SECONDS = 0.5
# Both checks together end before an orchestrator gives up, which is often after 10 seconds.
_DATABASE_SECONDS = 3.0
_BROKER_SECONDS = 3.0


def health_routes(access: Access, settings: Settings) -> Blueprint:
    """The route of `/healthz`. Its checks have connections of their own."""
    routes = Blueprint("health", __name__)
    health = _Health(settings)

    @routes.get("/healthz")
    def healthz() -> Response:
        if not access.may_watch():
            return refuse_to_watch()
        found = health.read()
        answer = jsonify(found)
        answer.status_code = 200 if set(found.values()) == {_OK} else 503
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return routes


class _Health:
    """The health of each part, read at most every two seconds. Errors are not quoted, because they may name hosts."""

    def __init__(self, settings: Settings) -> None:
        self._database_url = settings.database_dsn
        self._broker_url = settings.broker_dsn
        self._tick_seconds = thresholds_of(settings).tick_seconds
        self._workers = Liveness(ticks=False, hangs=False, broker_is_silent=False, takes_in=True)
        self._database = SharedReading[str | None](
            self._read_database, otherwise=_NO_DATABASE, kept_seconds=_KEPT_SECONDS, held_seconds=_KEPT_SECONDS
        )
        self._broker = SharedReading[str | None](
            self._read_broker, otherwise=_NO_BROKER, kept_seconds=_KEPT_SECONDS, held_seconds=_KEPT_SECONDS
        )

    def read(self) -> dict[str, str]:
        """For each part, `ok` or its fault."""
        database, broker = self._database.latest(_PATIENCE_SECONDS), self._broker.latest(_PATIENCE_SECONDS)
        workers = self._workers
        fault = _HANGS if workers.hangs else f"no tick for {self._tick_seconds:g} s"
        ticking = (_OK if workers.takes_in else _TAKES_NOTHING_IN) if workers.ticks else fault
        if broker is None and workers.broker_is_silent and not database:
            broker = _NOT_BY_WORKERS
        return {"worker": _UNKNOWN if database else ticking, "broker": broker or _OK, "database": database or _OK}

    def _read_database(self) -> str | None:
        try:
            self._workers = start_reading(self._read_workers, seconds=_DATABASE_SECONDS)()
        except Exception as error:
            if (kind := kind_of(error)) is not None:
                return kind.words
            if is_of_another_revision(error):
                return _OTHER_REVISION
            if isinstance(error, (TimeoutError, FileNotFoundError)):
                return _NO_DATABASE
            raise
        return None

    def _read_workers(self) -> Liveness:
        if missing := missing_file(self._database_url):
            # If the file of an SQLite database is missing, connecting would create it.
            raise FileNotFoundError(missing)
        # Each check opens a new connection, because all connections of the pages may be waiting for a silent database.
        database = Database(self._database_url, answer_seconds=_DATABASE_SECONDS, pool_size=1)
        try:
            return read_liveness(database, self._tick_seconds)
        finally:
            database.close()

    def _read_broker(self) -> str | None:
        try:
            start_reading(lambda: reach_broker(self._broker_url, seconds=_BROKER_SECONDS), seconds=_BROKER_SECONDS)()
        except Exception:  # any error gets the same words: its own may name the broker's address
            return _NO_BROKER
        return None


class Readiness:
    """Whether the database lets this process take in callbacks."""

    def __init__(self, database: Database) -> None:
        # The revisions are read from files now, because an upgrade may replace the files while this process runs.
        revisions()
        self._database = database
        self._rights = SharedReading[str | None](
            self._read_missing_rights, otherwise=_NOT_YET, kept_seconds=_RIGHTS_KEPT_SECONDS
        )
        self._fault = SharedReading[str | None](
            self._read_fault, otherwise=_NOT_YET, kept_seconds=_READY_KEPT_SECONDS, held_seconds=_READY_KEPT_SECONDS
        )

    def fault(self) -> str | None:
        """Why this process cannot take in callbacks; None if it can."""
        return self._fault.latest(_PATIENCE_SECONDS)

    def _read_fault(self) -> str | None:
        try:
            with self._database.read() as connection:
                fault = revision_fault(connection)
            return fault or self._rights.latest(_PATIENCE_SECONDS)
        except Exception as error:
            kind = kind_of(error)
            if kind is None:
                raise
            # The error is not quoted: it may name hosts and users, and anybody may probe.
            return kind.words

    def _read_missing_rights(self) -> str | None:
        try:
            with self._database.engine.connect() as connection:
                return ErrorKind.RIGHTS.words if missing_rights(connection).rights else None
        except DatabaseError as error:
            # The error means that another transaction locks a table. It tells nothing about rights.
            if is_contention(error):
                return None
            raise


def probe_routes(readiness_fault: Callable[[], str | None]) -> Blueprint:
    """The routes of the probes. `readiness_fault` returns why this process cannot do its work; None if it can do its
    work.

    Neither probe depends on a worker: callbacks must be taken in even while no worker runs.
    """
    routes = Blueprint("probes", __name__)

    @routes.get("/livez")
    def livez() -> Response:
        return _said(200, "alive")

    @routes.get("/readyz")
    def readyz() -> Response:
        fault = readiness_fault()
        return _said(200, "ready") if fault is None else _said(503, fault)

    return routes


def _said(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain", headers={"Cache-Control": "no-store"})
