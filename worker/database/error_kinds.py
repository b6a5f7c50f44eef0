"""The meaning of database errors, for logs and for the command line; and the log lines while the database cannot be
used.

If an error has a code, the code decides what the error means. An error that has an `ErrorKind` passes by itself, or a
person can remove its cause. Any other error is a bug of ours.
"""

import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from worker.adapters.clock import Throttle
from worker.adapters.safe_text import first_words
from worker.domain.records.sentences import Sentence, _

log = structlog.stdlib.get_logger(__name__)


class ErrorKind(Enum):
    """Kinds of database errors. Each kind has the `action` of its log lines, a description for people, and a remedy."""

    LOCKED = ("database_locked", _("a lock in the database was not to be had in time"), _("try again"))
    """Another session has locked a row, a table or (SQLite) the file."""
    CONTENDED = ("database_locked", _("others changed the same rows at the same moment"), _("try again"))
    """A deadlock, or a row that was changed after the transaction's snapshot was taken."""
    FULL = ("database_full", _("the database's disk is full"), _("make room on it"))
    """A disk, a tablespace or a quota is full."""
    READ_ONLY = (
        "database_read_only",
        _("the database is read-only"),
        _("see that RECONCILER_DATABASE_URL names the primary, and that its user may write"),
    )
    """The server is a standby, the server or the session is set to read-only, or we may not write the database's
    file."""
    CONNECTIONS = (
        "database_connections",
        _("the database has too many connections"),
        _("raise its limit, or start fewer workers and processes"),
    )
    """A limit of the server, the role, the database or a pooler is reached."""
    POOL = (
        "database_connections",
        _("all connections of this process are in use"),
        _("see what keeps the database busy"),
    )
    """Our own pool has no free connection: all of them wait for locks or for a silent server."""
    REFUSED = (
        "database_refused",
        _("the database refuses the connection"),
        _("see that user, password and name in RECONCILER_DATABASE_URL are right"),
    )
    """The server answers, but refuses to let us in."""
    RIGHTS = (
        "database_rights",
        _("the database's role lacks a right"),
        _('grant it, as "A role that may not change tables" in docs/deployment.md does'),
    )
    """The server lets us in, but our role may not read or write a table, or use a sequence."""
    UNREACHABLE = (
        "database_unavailable",
        _("the database is away"),
        _("see that it runs, and that RECONCILER_DATABASE_URL is right"),
    )
    """No connection could be made, the connection broke, or the server is silent, starting or stopping."""
    OTHER = ("database_failed", _("the database reports an error"), _("see its own log"))
    """Any other operational error of a driver, for example a cancelled statement, too little memory or a disk error."""

    def __init__(self, action: str, words: Sentence, remedy: Sentence) -> None:
        self.action = action
        self.words = words
        self.remedy = remedy


_SQLSTATES: Mapping[str, ErrorKind] = MappingProxyType(
    {
        "40001": ErrorKind.CONTENDED,  # serialization_failure
        "40P01": ErrorKind.CONTENDED,  # deadlock_detected
        "55P03": ErrorKind.LOCKED,  # lock_not_available
        "53100": ErrorKind.FULL,  # disk_full
        "42501": ErrorKind.RIGHTS,  # insufficient_privilege
        "25006": ErrorKind.READ_ONLY,  # read_only_sql_transaction
        "53300": ErrorKind.CONNECTIONS,  # too_many_connections
        "25P03": ErrorKind.OTHER,  # idle_in_transaction_session_timeout: the server is there, the session is not
        "57P01": ErrorKind.UNREACHABLE,  # admin_shutdown
        "57P02": ErrorKind.UNREACHABLE,  # crash_shutdown
        "57P03": ErrorKind.UNREACHABLE,  # cannot_connect_now
    }
)
# From 11.6.2 on, MariaDB raises 1020 if a transaction reads a row, another transaction changes the row, and the first
# transaction then reads the row again with a lock.
_MYSQL_CODES: Mapping[int, ErrorKind] = MappingProxyType(
    {
        **dict.fromkeys((1020, 1213), ErrorKind.CONTENDED),
        1205: ErrorKind.LOCKED,
        **dict.fromkeys((1021, 1114), ErrorKind.FULL),
        **dict.fromkeys((1036, 1792, 1836), ErrorKind.READ_ONLY),
        **dict.fromkeys((1040, 1203, 1226), ErrorKind.CONNECTIONS),
        **dict.fromkeys((1044, 1045, 1049), ErrorKind.REFUSED),
        **dict.fromkeys((1142, 1143, 1227), ErrorKind.RIGHTS),
        **dict.fromkeys((1053, 2002, 2003, 2006, 2013), ErrorKind.UNREACHABLE),
    }
)
_SQLITE_CODES: Mapping[int, ErrorKind] = MappingProxyType(
    {
        sqlite3.SQLITE_BUSY: ErrorKind.LOCKED,
        sqlite3.SQLITE_LOCKED: ErrorKind.LOCKED,
        sqlite3.SQLITE_FULL: ErrorKind.FULL,
        sqlite3.SQLITE_READONLY: ErrorKind.READ_ONLY,
        sqlite3.SQLITE_CANTOPEN: ErrorKind.UNREACHABLE,
    }
)
# Codes that mean the given kind only if the error's text matches the given pattern. The text of error 1290 names the
# option that forbids the statement. The texts of errors 3, 1026 and 1030 contain the operating system's error number;
# 28 is ENOSPC.
_MYSQL_WORDS: Mapping[int, tuple[re.Pattern[str], ErrorKind]] = MappingProxyType(
    {
        1290: (re.compile(r"read[-_]only"), ErrorKind.READ_ONLY),
        3: (re.compile(r"\b28\b"), ErrorKind.FULL),
        1026: (re.compile(r"\b28\b"), ErrorKind.FULL),
        1030: (re.compile(r"\b28\b"), ErrorKind.FULL),
        # The server is a node that has not joined its Galera cluster yet.
        1047: (re.compile("WSREP"), ErrorKind.UNREACHABLE),
    }
)
# Words that decide the kind of an error of a connection. Codes do not: libpq gives no code if it cannot connect, and a
# pooler gives the same code for all its errors.
_POSTGRESQL_CONNECTIONS = re.compile(
    r"too many (clients|connections)|connection slots are reserved|no more connections allowed|query_wait_timeout"
)
_POSTGRESQL_AWAY = re.compile(r"the database system is|cannot connect to server|server login fail|server conn crashed")
_POSTGRESQL_REFUSED = re.compile(r"\b(FATAL|ERROR):|no password supplied")

_POSTGRESQL_MISSING = ("42P01", "42703")  # undefined_table, undefined_column
_MYSQL_MISSING = (1054, 1146)


def kind_of(error: BaseException) -> ErrorKind | None:
    """The kind of a database error; None for a bug of ours, and for an error that the database did not raise."""
    if isinstance(error, NoConnectionFree):
        return ErrorKind.POOL
    if not isinstance(error, DBAPIError):
        return None
    is_operational = isinstance(error, (OperationalError, InterfaceError))
    known = _by_code(error.orig, is_operational=is_operational)
    if known is not None:
        return known
    if error.connection_invalidated:
        return ErrorKind.UNREACHABLE
    return ErrorKind.OTHER if is_operational else None


class OutageLog:
    """Logs at most one line a minute for each action, for all processes of a worker together. Without this limit, the
    ticks of all processes would log a line every second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds; all processes must read the same clock."""
        self._lines = Throttle(60.0, kinds=dict.fromkeys(kind.action for kind in ErrorKind), clock=clock)

    def explains(self, error: BaseException, what: str) -> bool:
        """Return whether the database caused the error. If so, log what happened, at most once a minute; `what` says it
        in words, such as "a tick was cut short"."""
        kind = kind_of(error)
        if kind is not None and self._lines.passes(kind.action):
            log.warning(
                f"{what}: {kind.words}; it is tried again, and this is logged once a minute",
                action=kind.action,
                error=first_words(error),
            )
        return kind is not None


OUTAGES = OutageLog()
"""The outage log that this process shares with the processes that it forks."""


def is_of_another_revision(error: BaseException) -> bool:
    """Whether the error says that a table or a column is missing. That happens if the database was migrated while this
    process ran. Always false on SQLite, which has no code for a missing table or column; there the error's kind is
    `OTHER`."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    code = cause.args[0] if cause is not None and cause.args else None
    return code in _MYSQL_MISSING or getattr(cause, "sqlstate", None) in _POSTGRESQL_MISSING


def _by_code(cause: BaseException | None, *, is_operational: bool) -> ErrorKind | None:
    if isinstance(cause, sqlite3.Error):
        # The lowest byte of SQLite's code is the main code; the other bytes only give details.
        return _SQLITE_CODES.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    code = cause.args[0] if cause is not None and cause.args else None
    if isinstance(code, int):
        pattern, kind = _MYSQL_WORDS.get(code, (None, None))
        matches = pattern is not None and pattern.search(str(cause)) is not None
        return kind if matches else _MYSQL_CODES.get(code)
    sqlstate: str | None = getattr(cause, "sqlstate", None)
    if sqlstate is not None and sqlstate in _SQLSTATES:
        return _SQLSTATES[sqlstate]
    # Without a code, only an operational error is an error of the connection. An argument that the driver cannot send
    # also leads to an error without a code, but not to an operational one.
    is_of_connection = is_operational and (sqlstate is None or sqlstate.startswith("08"))
    return _of_postgresql_connection(str(cause)) if is_of_connection else None


def _of_postgresql_connection(words: str) -> ErrorKind:
    if _POSTGRESQL_CONNECTIONS.search(words):
        return ErrorKind.CONNECTIONS
    if _POSTGRESQL_AWAY.search(words) or not _POSTGRESQL_REFUSED.search(words):
        return ErrorKind.UNREACHABLE
    return ErrorKind.REFUSED
