"""What tells a database from its own past, read from the server or the file.

PostgreSQL: the cluster's system identifier, its timeline, the numbers of the database and of the slots' table. MariaDB:
when that table was made; nothing in a Galera cluster, where each node has made its own. SQLite: device, number and
birth time of the file, as the next file may get a number that became free. What the role may not read is left out.
"""

import ctypes
import os
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from worker.domain.records.accounts import DatabaseIdentity

Facts = dict[str, object]
_First = Callable[[str], Any]
"""Executes a statement, and returns the first row, if there are any."""

INFO_KEY = "reconciler_identity"
"""Under it a connection's `info` holds what was read once."""

_POSTGRESQL_FACTS = {
    "system": "SELECT system_identifier FROM pg_control_system()",
    # By the place that is written now: pg_control_checkpoint() shows the timeline before a promotion until the next
    # checkpoint.
    "timeline": "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)",
    "database": "SELECT oid FROM pg_database WHERE datname = current_database()",
}
# A table that is restored is made again. With this function and no cast: the number that a cast gives would stay in a
# statement that the driver has prepared.
_POSTGRESQL_TABLE = "SELECT to_regclass('query_budgets')::oid"
# ALTER and chmod change it, too.
_MARIADB_TABLE = (
    "SELECT unix_timestamp(create_time) FROM information_schema.tables"
    " WHERE table_schema = database() AND table_name = 'query_budgets'"
)

# Of statx(2), which the standard library does not call: the flag of the field, the size of its buffer, and where in it
# the time stands; the mask stands first.
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_STATX_TIME_AT = 80
_AT_FDCWD = -100


def remember_identity(engine: Engine) -> None:
    """Read what a session's server says of itself once a connection, before any transaction."""
    read = _reader(engine.dialect.name)

    def remember(connection: Any, record: Any) -> None:
        def first(statement: str) -> Any:
            cursor = connection.cursor()
            try:
                cursor.execute(statement)
                return cursor.fetchone() if cursor.description else None
            finally:
                cursor.close()

        record.info[INFO_KEY] = read(first, engine.dialect.loaded_dbapi.Error)
        connection.rollback()

    event.listen(engine, "connect", remember)


def identity_beside(connection: Connection, written: Iterable[DatabaseIdentity]) -> DatabaseIdentity:
    """The identity of the database that a transaction is in, to be compared with what rows say.

    Where it differs from any of them, the facts of the connection are read again first: behind a pooler the server may
    have changed since, and what only an old connection believes must close no slot.
    """
    present = identity_of(connection)
    if any(present.differs_from(one) for one in written):

        def first(statement: str) -> Any:
            result = connection.exec_driver_sql(statement)
            return result.first() if result.returns_rows else None

        # Within the transaction, a grant's too, as only this shows the server that it is in. It is rare, and each
        # statement that may fail has a savepoint. What is not to be read any more stays.
        again = _reader(connection.dialect.name)(first, DBAPIError)
        connection.info[INFO_KEY] = {**connection.info[INFO_KEY], **again}
        present = identity_of(connection)
    return present


def identity_of(connection: Connection) -> DatabaseIdentity:
    """The identity of the database that a transaction is in. A grant reads it once it holds the slot's row: from then
    on the table cannot be dropped."""
    parts: Facts = dict(connection.info[INFO_KEY])
    if connection.dialect.name == "postgresql":
        _add(parts, "table", connection.exec_driver_sql(_POSTGRESQL_TABLE).scalar())
    elif connection.dialect.name != "sqlite" and not parts.pop("cluster", None):
        _add(parts, "created", connection.exec_driver_sql(_MARIADB_TABLE).scalar())
    return DatabaseIdentity.of(parts)


def _add(parts: Facts, name: str, value: object) -> None:
    if value is not None:
        parts[name] = value


def _reader(dialect: str) -> Callable[[_First, type[Exception]], Facts]:
    return {"postgresql": _read_postgresql, "sqlite": _read_sqlite}.get(dialect, _read_mysql)


def _read_postgresql(first: _First, error: type[Exception]) -> Facts:
    found: Facts = {}
    for name, statement in _POSTGRESQL_FACTS.items():
        first("SAVEPOINT fact")
        # The role has no right to it, or the server is a standby.
        with suppress(error):
            _add(found, name, first(statement)[0])
        # Raises where the connection is gone.
        first("ROLLBACK TO SAVEPOINT fact")
    return found


def _read_mysql(first: _First, _error: type[Exception]) -> Facts:
    row = first("SHOW VARIABLES LIKE 'wsrep_on'")
    return {"cluster": row is not None and row[1] == "ON"}


def _read_sqlite(first: _First, _error: type[Exception]) -> Facts:
    file, found = first("PRAGMA database_list")[2], Facts()
    # In memory it has none, and a new one is made by its first transaction.
    with suppress(OSError):
        status = os.stat(file)
        found |= {"device": status.st_dev, "inode": status.st_ino}
        _add(found, "born", birth_time(file))
    return found


def birth_time(path: str) -> str | None:
    """When a file was made, in seconds since 1970 with nine decimals; None where the file system, the kernel or the
    C library does not tell.

    By the file's name: to open a file of SQLite's and close it again would drop the locks that this process has on it.
    """
    with suppress(OSError, AttributeError):
        buffer = ctypes.create_string_buffer(_STATX_BYTES)
        if ctypes.CDLL(None).statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) == 0:
            (mask,) = struct.unpack_from("=I", buffer)
            seconds, nanoseconds = struct.unpack_from("=qI", buffer, _STATX_TIME_AT)
            return f"{seconds}.{nanoseconds:09}" if mask & _STATX_BTIME else None
    return None
