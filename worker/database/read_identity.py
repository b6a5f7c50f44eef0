"""The identity of a database: facts, read from the server or the file, that distinguish the database from other
databases and from a restored backup of itself.

PostgreSQL: the cluster's system identifier and timeline, and the numbers (oids) of the database and of the slots'
table. MariaDB: when the slots' table was created, and which server this is. A Galera cluster gives no facts, because
each of its nodes has created the table separately. SQLite: the file's device, inode number and birth time. The birth
time is needed because a new file may get the inode number of a deleted file. Facts that the role may not read are left
out.

After a failover, a connection may lead to another server, through an open session or a pooler. So each transaction that
needs the identity reads, by one statement, the facts that a failover changes. For each connection only the other facts
are remembered, together with the statement to use.
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
"""Executes a statement; returns the first row of the result, or None if there is none."""
_Remembered = tuple[Facts, str | None]
"""The facts that no failover changes, and the statement that reads the other facts. Each column of the statement's
result has the name of a fact. The statement is None if there are no other facts."""

INFO_KEY = "reconciler_identity"
"""The key of a connection's `info` under which the facts are kept that are read only once per connection."""
_STATEMENT_KEY = "reconciler_identity_statement"

# For each fact: the statement that tests whether the role may read the fact, and the statement that reads it. The test
# comes first because a statement that fails would appear in the server's log.
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
# A restored table has another oid, because it was created again. The statement gets the oid by a function, not by
# casting the table's name: in a statement that the driver has prepared, the oid from a cast would never change.
_POSTGRESQL_TABLE = "SELECT to_regclass('query_budgets')::oid AS table"
# The timeline is read from the current write position. pg_control_checkpoint() would still show the old timeline after
# a promotion, until the next checkpoint. A standby has no write position, so its timeline is null.
_POSTGRESQL_TABLE_AND_TIMELINE = (
    "SELECT to_regclass('query_budgets')::oid AS table,"
    " CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END AS timeline"
)
# The table's creation time, which ALTER and chmod also change, does not identify the database: a replica's table,
# created by replication, has the same time. The server's own id alone does not identify it either, because this id
# consists of a MAC address and the port.
_MARIADB = (
    "SELECT unix_timestamp(create_time) AS created,"
    " left(sha2(concat_ws(' ', @@server_uid, @@server_id, @@hostname, @@port), 256), 16) AS server"
    " FROM information_schema.tables WHERE table_schema = database() AND table_name = 'query_budgets'"
)
_MYSQL = (
    "SELECT unix_timestamp(create_time) AS created, @@server_uuid AS server"
    " FROM information_schema.tables WHERE table_schema = database() AND table_name = 'query_budgets'"
)

# Constants for calling statx(2), which the standard library does not offer: the flag that asks for the birth time, the
# size of the result's buffer, and the offset of the birth time in the buffer. The buffer starts with a mask of the
# values that it contains.
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_STATX_TIME_AT = 80
_AT_FDCWD = -100


def remember_identity(engine: Engine) -> None:
    """Read the facts that no failover changes once for each new connection, before the connection's first
    transaction."""
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
    """The identity of the database that the transaction is in. `written` are the identities in the rows with which it
    will be compared.

    If the identity differs from a written identity, or lacks a fact that a written identity has, the facts that the
    connection remembers are read again before the identity is returned. Behind a pooler the server may have changed
    since they were first read. Outdated facts must not close a slot.
    """
    present = identity_of(connection)
    if any(present.differs_from(one) or one.parts.keys() - present.parts.keys() for one in set(written)):

        def first(statement: str) -> Any:
            result = connection.exec_driver_sql(statement)
            return result.first() if result.returns_rows else None

        # The facts are read within this transaction, even if it is a grant, because only the transaction's own session
        # shows on which server the transaction runs. Reading again is rare, and each statement that may fail has a
        # savepoint. A fact that can no longer be read keeps its old value.
        again, connection.info[_STATEMENT_KEY] = _reader(connection.dialect.name)(first, DBAPIError)
        connection.info[INFO_KEY] = {**connection.info[INFO_KEY], **again}
        present = identity_of(connection)
    return present


def identity_of(connection: Connection) -> DatabaseIdentity:
    """The identity of the database that the transaction is in. A grant calls this after it has locked the slot's row,
    because nobody can drop the table while the row is locked."""
    parts: Facts = dict(connection.info[INFO_KEY])
    if statement := connection.info[_STATEMENT_KEY]:
        try:
            row = connection.exec_driver_sql(statement).mappings().first()
        except DBAPIError:
            # The statement worked when the connection was made. Since then the role's rights or the server's release
            # have changed, so a new connection must choose its statement again.
            connection.invalidate()
            raise
        parts |= {name: value for name, value in (row or {}).items() if value is not None}
    return DatabaseIdentity.of(parts)


def _reader(dialect: str) -> Callable[[_First, type[Exception]], _Remembered]:
    return {"postgresql": _read_postgresql, "sqlite": _read_sqlite}.get(dialect, _read_mysql)


def _read_postgresql(first: _First, error: type[Exception]) -> _Remembered:
    def allowed(is_allowed: str, statement: str) -> Any:
        """The first row of a statement's result; None if the role may not execute the statement, or the server
        cannot."""
        row = None
        if first(is_allowed)[0]:
            first("SAVEPOINT fact")
            with suppress(error):
                row = first(statement)
            # Not suppressed: this statement raises an error if the connection is lost.
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
    # The variable for the server's id is `server_uuid` on MySQL, and `server_uid` on MariaDB from 10.6.19 on.
    names = first("SHOW VARIABLES WHERE variable_name IN ('server_uid', 'server_uuid')")
    without_uid = _MARIADB.replace("@@server_uid, ", "")
    return {}, {"server_uid": _MARIADB, "server_uuid": _MYSQL}.get(names and names[0], without_uid)


def _read_sqlite(first: _First, _error: type[Exception]) -> _Remembered:
    file, found = first("PRAGMA database_list")[2], Facts()
    # An in-memory database has no file. The file of a new database is created by the database's first transaction.
    with suppress(OSError):
        status = os.stat(file)
        found |= {"device": status.st_dev, "inode": status.st_ino}
        if (born := birth_time(file)) is not None:
            found["born"] = born
    return found, None


def birth_time(path: str) -> str | None:
    """When a file was created, in seconds since 1970 with nine decimals; None if the file system, the kernel or the C
    library does not provide this time.

    The function does not open the file: when a process closes SQLite's file, the process loses all its locks on the
    file.
    """
    with suppress(OSError, AttributeError):
        buffer = ctypes.create_string_buffer(_STATX_BYTES)
        if ctypes.CDLL(None).statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) == 0:
            (mask,) = struct.unpack_from("=I", buffer)
            seconds, nanoseconds = struct.unpack_from("=qI", buffer, _STATX_TIME_AT)
            return f"{seconds}.{nanoseconds:09}" if mask & _STATX_BTIME else None
    return None
