"""What tells a database from its own past, read from the server or the file.

PostgreSQL: the cluster's system identifier, its timeline, the numbers of the database and of the slots' table. MariaDB:
when that table was made, and which server this is; nothing in a Galera cluster, where each node has made its own table.
SQLite: device, number and birth time of the file, as the next file may get a number that became free. What the role may
not read is left out.

A failover changes the server behind an open session or a pooler. So the facts that a failover changes are read in each
transaction that needs them, by one statement; a connection remembers only the others, and which statement that is.
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
_Remembered = tuple[Facts, str | None]
"""The facts that no failover changes, and the statement that reads the others, each in a column of its name."""

INFO_KEY = "reconciler_identity"
"""Under it a connection's `info` holds the facts that were read once."""
_STATEMENT_KEY = "reconciler_identity_statement"

# Of each fact: whether the role may read it, and the fact. A statement that fails would stand in the server's log.
_POSTGRESQL_FACTS = {
    "system": (
        "SELECT has_function_privilege(to_regprocedure('pg_control_system()'), 'EXECUTE')",
        "SELECT system_identifier FROM pg_control_system()",
    ),
    "database": ("SELECT true", "SELECT oid FROM pg_database WHERE datname = current_database()"),
}
_MAY_READ_TIMELINE = (
    "SELECT has_function_privilege(to_regprocedure('pg_current_wal_lsn()'), 'EXECUTE')"
    " AND has_function_privilege(to_regprocedure('pg_walfile_name(pg_lsn)'), 'EXECUTE')"
)
# A table that is restored is made again. With this function and no cast: the number that a cast gives would stay in a
# statement that the driver has prepared.
_POSTGRESQL_TABLE = "SELECT to_regclass('query_budgets')::oid AS table"
# The timeline of the place that is written now: pg_control_checkpoint() shows the one before a promotion until the next
# checkpoint. A standby has none.
_POSTGRESQL_TABLE_AND_TIMELINE = (
    "SELECT to_regclass('query_budgets')::oid AS table,"
    " CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END AS timeline"
)
# ALTER and chmod change the time, but a replica that made its table by replication has the same one. The server's own
# id is not enough either: it consists of a MAC address and the port.
_MARIADB = (
    "SELECT unix_timestamp(create_time) AS created,"
    " left(sha2(concat_ws(' ', @@server_uid, @@server_id, @@hostname, @@port), 256), 16) AS server"
    " FROM information_schema.tables WHERE table_schema = database() AND table_name = 'query_budgets'"
)
_MYSQL = (
    "SELECT unix_timestamp(create_time) AS created, @@server_uuid AS server"
    " FROM information_schema.tables WHERE table_schema = database() AND table_name = 'query_budgets'"
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

        record.info[INFO_KEY], record.info[_STATEMENT_KEY] = read(first, engine.dialect.loaded_dbapi.Error)
        connection.rollback()

    event.listen(engine, "connect", remember)


def identity_beside(connection: Connection, written: Iterable[DatabaseIdentity]) -> DatabaseIdentity:
    """The identity of the database that a transaction is in, to be compared with what rows say.

    If it differs from any of them, or lacks a fact that one of them has, the facts of the connection are read again
    first: behind a pooler the server may have changed since, and what only an old connection believes must close no
    slot.
    """
    present = identity_of(connection)
    if any(present.differs_from(one) or one.parts.keys() - present.parts.keys() for one in set(written)):

        def first(statement: str) -> Any:
            result = connection.exec_driver_sql(statement)
            return result.first() if result.returns_rows else None

        # Within the transaction, a grant's too, as only this shows the server that it is in. It is rare, and each
        # statement that may fail has a savepoint. What is not to be read any more stays.
        again, connection.info[_STATEMENT_KEY] = _reader(connection.dialect.name)(first, DBAPIError)
        connection.info[INFO_KEY] = {**connection.info[INFO_KEY], **again}
        present = identity_of(connection)
    return present


def identity_of(connection: Connection) -> DatabaseIdentity:
    """The identity of the database that a transaction is in. A grant reads it once it holds the slot's row: from then
    on the table cannot be dropped."""
    parts: Facts = dict(connection.info[INFO_KEY])
    if statement := connection.info[_STATEMENT_KEY]:
        try:
            row = connection.exec_driver_sql(statement).mappings().first()
        except DBAPIError:
            # The role's rights, or the server's release, are others than when this connection was made.
            connection.invalidate()
            raise
        parts |= {name: value for name, value in (row or {}).items() if value is not None}
    return DatabaseIdentity.of(parts)


def _reader(dialect: str) -> Callable[[_First, type[Exception]], _Remembered]:
    return {"postgresql": _read_postgresql, "sqlite": _read_sqlite}.get(dialect, _read_mysql)


def _read_postgresql(first: _First, error: type[Exception]) -> _Remembered:
    def allowed(is_allowed: str, statement: str) -> Any:
        """The first row of a statement; None where the role may not execute it, or the server cannot."""
        row = None
        if first(is_allowed)[0]:
            first("SAVEPOINT fact")
            with suppress(error):
                row = first(statement)
            # Raises where the connection is gone.
            first("ROLLBACK TO SAVEPOINT fact")
        return row

    rows = {name: allowed(*statements) for name, statements in _POSTGRESQL_FACTS.items()}
    can_tell = allowed(_MAY_READ_TIMELINE, _POSTGRESQL_TABLE_AND_TIMELINE)
    found: Facts = {name: row[0] for name, row in rows.items() if row}
    return found, _POSTGRESQL_TABLE_AND_TIMELINE if can_tell else _POSTGRESQL_TABLE


def _read_mysql(first: _First, _error: type[Exception]) -> _Remembered:
    cluster = first("SHOW VARIABLES LIKE 'wsrep_on'")
    if cluster is not None and cluster[1] == "ON":
        return {}, None
    # MySQL has a `server_uuid`, MariaDB a `server_uid` from 10.6.19 on.
    names = first("SHOW VARIABLES WHERE variable_name IN ('server_uid', 'server_uuid')")
    without_uid = _MARIADB.replace("@@server_uid, ", "")
    return {}, {"server_uid": _MARIADB, "server_uuid": _MYSQL}.get(names and names[0], without_uid)


def _read_sqlite(first: _First, _error: type[Exception]) -> _Remembered:
    file, found = first("PRAGMA database_list")[2], Facts()
    # In memory it has none, and a new one is made by its first transaction.
    with suppress(OSError):
        status = os.stat(file)
        found |= {"device": status.st_dev, "inode": status.st_ino}
        if (born := birth_time(file)) is not None:
            found["born"] = born
    return found, None


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
