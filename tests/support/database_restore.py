"""Databases that tests have written to, made equal to their origin again: far faster than a new copy.

Only rows and sequences are restored. A database with another schema than its origin, or so large or so often analysed
that a plan could differ, is not: the caller drops it.
"""

import re
from typing import Protocol

import psycopg
import sqlalchemy

_LARGE_MARIADB_BYTES = 1_000_000


class Origin(Protocol):
    """A database that others are copies of."""

    def restore(self, url: str) -> bool:
        """Give a copy the rows and sequences of its origin; False where that does not make them equal.

        No other session may be connected to the copy.
        """


_POSTGRESQL_SCHEMA = """
WITH relations AS (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
SELECT md5(string_agg(fact, ' ' ORDER BY fact)) FROM (
    SELECT concat_ws(' ', oid, xmin, relpages, reltuples) FROM pg_class WHERE oid IN (SELECT oid FROM relations)
    UNION ALL SELECT concat_ws(' ', attrelid, attnum, xmin) FROM pg_attribute
        WHERE attrelid IN (SELECT oid FROM relations)
    UNION ALL SELECT concat_ws(' ', oid, xmin) FROM pg_attrdef
    UNION ALL SELECT concat_ws(' ', oid, xmin) FROM pg_constraint
    UNION ALL SELECT concat_ws(' ', oid, xmin) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', oid, xmin) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', oid, xmin) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    UNION ALL SELECT concat_ws(' ', starelid, staattnum) FROM pg_statistic WHERE starelid IN (SELECT oid FROM relations)
    UNION ALL SELECT setconfig::text FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL SELECT concat_ws(' ', datconnlimit, datacl) FROM pg_database WHERE datname = current_database()
) AS facts (fact)
"""
"""A digest of what makes up the schema. A copy has the transaction ids of its origin until a row is written again."""

_POSTGRESQL_LARGEST_PAGES = """
SELECT coalesce(max(pg_relation_size(oid)), 0) / current_setting('block_size')::integer FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
_ALIKE_PAGES = 10
"""PostgreSQL plans for tables of up to ten pages as it does for empty ones, as long as they were never analysed."""


class PostgresqlOrigin:
    """An origin on a PostgreSQL server whose user is a superuser; another's copies are never restored."""

    def __init__(self, url: str) -> None:
        """`url` is SQLAlchemy's."""
        with self._connection(url) as connection:
            self._schema = connection.execute(_POSTGRESQL_SCHEMA).fetchone()
            tables = connection.execute(
                "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            self._rows = {str(name): self._rows_of(connection, name) for (name,) in tables}
            sequences = connection.execute(
                "SELECT format('setval(%L, %s, %L)', schemaname || '.' || quote_ident(sequencename),"
                " coalesce(last_value, start_value), last_value IS NOT NULL)"
                " FROM pg_sequences WHERE schemaname = 'public'"
            ).fetchall()
        self._empty = "; ".join(f"DELETE FROM {name}" for name in self._rows)
        self._sequences = f"SELECT {', '.join(call for (call,) in sequences)}"

    def restore(self, url: str) -> bool:
        """See Origin."""
        with self._connection(url) as connection:
            try:
                # Foreign keys and triggers rest.
                connection.execute("SET session_replication_role = replica")
            except psycopg.errors.InsufficientPrivilege:
                return False
            pages = connection.execute(_POSTGRESQL_LARGEST_PAGES).fetchone()
            if (
                connection.execute(_POSTGRESQL_SCHEMA).fetchone() != self._schema
                or not pages
                or pages[0] > _ALIKE_PAGES
            ):
                return False
            connection.execute(self._empty)
            connection.execute(self._sequences)
            for name, rows in self._rows.items():
                if rows:
                    with connection.cursor().copy(f"COPY {name} FROM STDIN") as copy:
                        copy.write(rows)
        return True

    @staticmethod
    def _connection(url: str) -> psycopg.Connection:
        parts = sqlalchemy.make_url(url).set(drivername="postgresql")
        return psycopg.connect(parts.render_as_string(hide_password=False))

    @staticmethod
    def _rows_of(connection: psycopg.Connection, table: str) -> bytes:
        with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
            return b"".join(bytes(part) for part in copy)


class MariadbOrigin:
    """An origin on a MariaDB or MySQL server."""

    def __init__(self, engine: sqlalchemy.Engine, name: str) -> None:
        """`engine` reaches the server; `name` is the origin's."""
        self._engine, self._name = engine, name
        with engine.connect() as connection:
            self._tables = self._definitions(connection, name)
            self._filled = [
                table
                for table in self._tables
                if connection.exec_driver_sql(f"SELECT EXISTS (SELECT 1 FROM {name}.{table})").scalar()
            ]

    def restore(self, url: str) -> bool:
        """See Origin."""
        copy = str(sqlalchemy.make_url(url).database)
        with self._engine.connect() as connection:
            tables = self._definitions(connection, copy)
            if self._without_counters(tables) != self._without_counters(self._tables) or self._is_large(
                connection, copy
            ):
                return False
            connection.exec_driver_sql(f"USE {copy}")
            connection.exec_driver_sql("SET foreign_key_checks = 0")
            for table, definition in self._tables.items():
                connection.exec_driver_sql(f"DELETE FROM {table}")
                if tables[table] != definition:
                    counter = re.search(r"AUTO_INCREMENT=\d+", definition)
                    connection.exec_driver_sql(f"ALTER TABLE {table} {counter[0] if counter else 'AUTO_INCREMENT=1'}")
            for table in self._filled:
                connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM {self._name}.{table}")
        return True

    @staticmethod
    def _definitions(connection: sqlalchemy.Connection, name: str) -> dict[str, str]:
        """Each table's definition, and each trigger's name with none, as SQL gives them."""
        tables = list(connection.exec_driver_sql(f"SHOW TABLES FROM {name}").scalars())
        found = {table: connection.exec_driver_sql(f"SHOW CREATE TABLE {name}.{table}").one()[1] for table in tables}
        triggers = connection.exec_driver_sql(f"SHOW TRIGGERS FROM {name}").scalars()
        return found | dict.fromkeys(triggers, "")

    @staticmethod
    def _without_counters(definitions: dict[str, str]) -> dict[str, str]:
        return {table: re.sub(r" AUTO_INCREMENT=\d+", "", definition) for table, definition in definitions.items()}

    @staticmethod
    def _is_large(connection: sqlalchemy.Connection, name: str) -> bool:
        size = "SELECT max(data_length) FROM information_schema.tables WHERE table_schema = %s"
        return int(connection.exec_driver_sql(size, (name,)).scalar() or 0) > _LARGE_MARIADB_BYTES
