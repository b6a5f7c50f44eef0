"""What tells a database from its own past, read from the server or the file.

PostgreSQL: the cluster's system identifier, its timeline, the numbers of the database and of the slots' table. MariaDB:
when that table was made; nothing in a Galera cluster, where each node has made its own. SQLite: device, number and
birth time of the file, as the next file may get a number that became free. What the role may not read is left out.
"""

import os
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, event

from worker.database.birth_time import birth_time
from worker.domain.records.database_identity import DatabaseIdentity

Facts = dict[str, object]

_KEY = "reconciler_identity"

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


def remember_identity(engine: Engine) -> None:
    """Read what a session's server says of itself once a connection, before any transaction."""
    read = {"postgresql": _read_postgresql, "sqlite": _read_sqlite}.get(engine.dialect.name, _read_mysql)

    def remember(connection: Any, record: Any) -> None:
        record.info[_KEY] = read(connection, engine.dialect.loaded_dbapi.Error)

    event.listen(engine, "connect", remember)


def identity_of(connection: Connection) -> DatabaseIdentity:
    """The identity of the database that a transaction is in. A grant reads it once it holds the slot's row: from then
    on nobody can drop the table."""
    parts: Facts = dict(connection.info[_KEY])
    if connection.dialect.name == "postgresql":
        _add(parts, "table", connection.exec_driver_sql(_POSTGRESQL_TABLE).scalar())
    elif connection.dialect.name != "sqlite" and not parts.pop("cluster", None):
        _add(parts, "created", connection.exec_driver_sql(_MARIADB_TABLE).scalar())
    return DatabaseIdentity.of(parts)


def _add(parts: Facts, name: str, value: object) -> None:
    if value is not None:
        parts[name] = value


def _read_postgresql(connection: Any, error: type[Exception]) -> Facts:
    found: Facts = {}
    for name, statement in _POSTGRESQL_FACTS.items():
        # The role has no right to it, or the server is a standby.
        with suppress(error), connection.cursor() as cursor:
            cursor.execute(statement)
            _add(found, name, cursor.fetchone()[0])
        # Raises where the connection is gone.
        connection.rollback()
    return found


def _read_mysql(connection: Any, _error: type[Exception]) -> Facts:
    with connection.cursor() as cursor:
        cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
        row = cursor.fetchone()
    connection.commit()
    return {"cluster": True} if row is not None and row[1] == "ON" else {}


def _read_sqlite(connection: Any, _error: type[Exception]) -> Facts:
    found: Facts = {}
    file = connection.execute("PRAGMA database_list").fetchone()[2]
    # In memory it has none, and a new one is made by its first transaction.
    with suppress(OSError):
        status = os.stat(file)
        found |= {"device": status.st_dev, "inode": status.st_ino}
        _add(found, "born", birth_time(file))
    return found
