"""Databases of one test each, on the servers that the tests were given or started.

A migrated database is a copy of one that is migrated once per session, and is used again where it can be restored:
migrating or copying each would take far longer.
"""

import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy
from sqlalchemy.pool import NullPool, Pool, QueuePool

from tests.support.database_restore import MariadbOrigin, Origin, PostgresqlOrigin

Migrate = Callable[[str], None]


class DatabaseServer(ABC):
    """Makes and drops databases with random names. URLs are SQLAlchemy's, with the password in them."""

    def __init__(self) -> None:
        self._kept: dict[Migrate, _Kept] = {}

    @abstractmethod
    def create(self, like: str | None = None) -> str:
        """Make a database, empty or with the tables and rows of the database at the URL `like`; return its URL."""

    @abstractmethod
    def drop(self, url: str) -> None:
        """Drop the database, even while sessions are connected to it."""

    @contextmanager
    def empty(self) -> Iterator[str]:
        """An empty database, for as long as the context lasts."""
        url = self.create()
        try:
            yield url
        finally:
            self.drop(url)

    @contextmanager
    def migrated(self, migrate: Migrate) -> Iterator[str]:
        """A database as `migrate` makes it of an empty one; it is called once per server."""
        kept = self._kept.get(migrate)
        if kept is None:
            kept = self._kept[migrate] = self._keep(migrate)
        url = kept.restored.pop() if kept.restored else self.create(like=kept.url)
        try:
            yield url
        finally:
            if self._restore(url, kept):
                kept.restored.append(url)
            else:
                self.drop(url)

    def _keep(self, migrate: Migrate) -> "_Kept":
        url = self.create()
        try:
            migrate(url)
        except BaseException:
            self.drop(url)
            raise
        return _Kept(url)

    def _restore(self, url: str, kept: "_Kept") -> bool:
        """Make a database that a test has used equal to the one that it is a copy of; False where it cannot be."""
        return False

    def close(self) -> None:
        """Drop what was kept for the session."""
        for kept in self._kept.values():
            for url in (*kept.restored, kept.url):
                self.drop(url)
        self._kept.clear()


@dataclass
class _Kept:
    """A database that a migration has made, and copies of it that no test uses now."""

    url: str
    restored: list[str] = field(default_factory=list)
    origin: Origin | None = None


class Sqlite(DatabaseServer):
    """Files in one folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def create(self, like: str | None = None) -> str:
        """A file of its own; an empty database has none yet."""
        file = self._folder / f"{_name()}.db"
        if like is not None:
            shutil.copyfile(_file(like), file)
        return f"sqlite:///{file}"

    def drop(self, url: str) -> None:
        """Remove the file and what SQLite put beside it."""
        for suffix in ("", "-journal", "-shm", "-wal"):
            Path(f"{_file(url)}{suffix}").unlink(missing_ok=True)


class _NetworkServer(DatabaseServer):
    _pool: type[Pool] = NullPool

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = sqlalchemy.make_url(url)
        self._engine = sqlalchemy.create_engine(
            self._url, poolclass=self._pool, pool_pre_ping=True, isolation_level="AUTOCOMMIT"
        )

    @abstractmethod
    def _end_sessions(self, name: str) -> None:
        """End every session that is connected to the database of this name."""

    @abstractmethod
    def _origin(self, url: str) -> Origin:
        """What restores copies of the database at this URL."""

    def _restore(self, url: str, kept: _Kept) -> bool:
        self._end_sessions(_database(url))
        if kept.origin is None:
            kept.origin = self._origin(kept.url)
        return kept.origin.restore(url)

    def close(self) -> None:
        """Close the session that was kept, too."""
        super().close()
        self._engine.dispose()

    def _execute(self, statement: str) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def _url_of(self, name: str) -> str:
        return self._url.set(database=name).render_as_string(hide_password=False)


_END_POSTGRESQL_SESSIONS = sqlalchemy.text(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name"
)


class Postgresql(_NetworkServer):
    """A PostgreSQL server; its user may create databases."""

    # To begin a session takes the server longer than most of what it does here.
    _pool = QueuePool

    def create(self, like: str | None = None) -> str:
        """PostgreSQL copies a database itself."""
        name = _name()
        template = "template1" if like is None else _database(like)
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url_of(name)

    def _end_sessions(self, name: str) -> None:
        with self._engine.connect() as connection:
            connection.execute(_END_POSTGRESQL_SESSIONS, {"name": name})

    def _origin(self, url: str) -> Origin:
        return PostgresqlOrigin(url)

    def drop(self, url: str) -> None:
        """FORCE ends the connections that a test left open."""
        self._execute(f"DROP DATABASE {_database(url)} WITH (FORCE)")


class Mariadb(_NetworkServer):
    """A MariaDB or MySQL server; its user may create databases."""

    def create(self, like: str | None = None) -> str:
        """MariaDB copies no databases: tables are made from their definitions, then filled."""
        name = _name()
        self._execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        if like is not None:
            self._copy_tables(_database(like), name)
        return self._url_of(name)

    def _copy_tables(self, source: str, target: str) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"USE {target}")
            # Definitions come in the alphabet's order, not in that of the foreign keys.
            connection.exec_driver_sql("SET foreign_key_checks = 0")
            for table in list(connection.exec_driver_sql(f"SHOW TABLES FROM {source}").scalars()):
                definition = connection.exec_driver_sql(f"SHOW CREATE TABLE {source}.{table}").one()[1]
                # PyMySQL reads a percent sign, in a comment or a default, as the start of a parameter.
                connection.exec_driver_sql(definition.replace("%", "%%"))
                connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM {source}.{table}")

    def _origin(self, url: str) -> Origin:
        return MariadbOrigin(self._engine, _database(url))

    def drop(self, url: str) -> None:
        """Connections that a test left open are killed: their locks would block the drop."""
        self._end_sessions(_database(url))
        with self._engine.connect() as connection:
            connection.exec_driver_sql("SET lock_wait_timeout = 30")
            connection.exec_driver_sql(f"DROP DATABASE {_database(url)}")

    def _end_sessions(self, name: str) -> None:
        find = sqlalchemy.text("SELECT id FROM information_schema.processlist WHERE db = :name")
        with self._engine.connect() as connection:
            for thread in list(connection.scalars(find, {"name": name})):
                _kill(connection, thread)


def _kill(connection: sqlalchemy.Connection, thread: int) -> None:
    no_such_thread = 1094
    try:
        connection.exec_driver_sql(f"KILL {thread}")
    except sqlalchemy.exc.DBAPIError as error:
        # It ended by itself meanwhile: nothing is left to kill.
        if error.orig is None or error.orig.args[0] != no_such_thread:
            raise


def _name() -> str:
    return f"reconciler_test_{secrets.token_hex(6)}"


def _database(url: str) -> str:
    return str(sqlalchemy.make_url(url).database)


def _file(url: str) -> Path:
    return Path(_database(url))
