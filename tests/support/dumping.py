"""Dumps of a database and their restore, by the commands that docs/running.md prints."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

import worker
from tests.support.servers import postgresql_programs
from tests.support.sql import column_of
from tests.support.waiting import eventually

_PAGE = Path(worker.__file__).parents[1] / "docs" / "running.md"
_NAMES = {"postgresql": "PostgreSQL", "mysql": "MariaDB", "mariadb": "MariaDB", "sqlite": "SQLite"}
_PROGRAMS = {
    "PostgreSQL": ("pg_dump", "pg_restore"),
    "MariaDB": ("mariadb-dump", "mariadb"),
    "SQLite": ("sqlite3",),
}


def programs_of(url: str) -> tuple[str, ...]:
    """The programs of this machine that dump and restore the database at a URL."""
    return () if _is_embedded(url) else _PROGRAMS[_name_of(url)]


@dataclass(frozen=True)
class Dump:
    """Dumps of one database; of several the last one is restored."""

    url: str
    folder: Path

    def take(self) -> None:
        """Dump the database."""
        self._run("dump")

    def restore(self) -> None:
        """Restore the dump over the database. Nothing else may be connected to it."""
        if _name_of(self.url) == "MariaDB":
            # It keeps the times at which tables are made in seconds: the restored one is to have another.
            eventually(lambda: _seconds_since_made(self.url) > 0, "the next second")
        self._run("restore")

    def _run(self, what: str) -> None:
        title = f"# {_name_of(self.url)}: {what}"
        found = re.search(rf"^```sh\n({title}[,\n].*?)^```$", _PAGE.read_text("utf-8"), re.M | re.S)
        assert found, f"{_PAGE} has no command for it: {title}"
        subprocess.run(["sh", "-euc", found[1]], cwd=self.folder, env=self._environment(), check=True)

    def _environment(self) -> dict[str, str]:
        url, name = sqlalchemy.make_url(self.url), _name_of(self.url)
        host, port = url.host or str(url.query.get("host", "")), str(url.port or url.query.get("port", ""))
        variables = {**os.environ, "DATABASE": str(url.database)}
        if name == "PostgreSQL":
            named = {"PGHOST": host, "PGPORT": port, "PGUSER": url.username, "PGPASSWORD": url.password}
            variables |= {variable: value for variable, value in named.items() if value}
        if _is_embedded(self.url):
            # A server's own programs: those of an older release refuse to dump it.
            variables["PATH"] = f"{postgresql_programs()}:{variables['PATH']}"
        if name == "MariaDB":
            lines = [f"host={host}", f"port={port or 3306}", f"user={url.username}", f"password={url.password or ''}"]
            (self.folder / ".my.cnf").write_text("\n".join(["[client]", *lines, ""]))
            variables["HOME"] = str(self.folder)
        return variables


def _name_of(url: str) -> str:
    return _NAMES[sqlalchemy.make_url(url).get_backend_name()]


def _is_embedded(url: str) -> bool:
    """Whether it is the PostgreSQL that the tests bring, which listens in a folder of its own."""
    return _name_of(url) == "PostgreSQL" and "host" in sqlalchemy.make_url(url).query


def _seconds_since_made(url: str) -> int:
    age = "SELECT timestampdiff(SECOND, max(create_time), now()) FROM information_schema.tables"
    (seconds,) = column_of(url, f"{age} WHERE table_schema = database()")
    return int(seconds)
