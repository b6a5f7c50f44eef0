"""Dumps of a database and their restore, by the commands that docs/running.md prints."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from sqlalchemy.pool import NullPool

import worker
from tests.support.needed import needed
from tests.support.servers import postgresql_programs
from tests.support.services import POSTGRES, given
from tests.support.waiting import eventually

_PAGE = Path(worker.__file__).parents[1] / "docs" / "running.md"
_NAMES = {"postgresql": "PostgreSQL", "mysql": "MariaDB", "mariadb": "MariaDB", "sqlite": "SQLite"}
_PROGRAMS = {
    "PostgreSQL": ("pg_dump", "pg_restore"),
    "MariaDB": ("mariadb-dump", "mariadb"),
    "SQLite": ("sqlite3",),
}


@dataclass(frozen=True)
class Dump:
    """Dumps of one database; of several the last one is restored. Skips the test where the machine lacks a program."""

    url: str
    folder: Path

    def __post_init__(self) -> None:
        if self._name != "PostgreSQL" or given(POSTGRES):
            for program in _PROGRAMS[self._name]:
                needed(program)

    def take(self) -> None:
        """Dump the database."""
        self._run("dump")

    def restore(self) -> None:
        """Restore the dump over the database. Nobody else may be connected to it."""
        if self._name == "MariaDB":
            # It keeps the times at which tables are made in seconds: the restored one is to have another.
            eventually(lambda: _seconds_since_made(self.url) > 0, "the next second")
        self._run("restore")

    @property
    def _name(self) -> str:
        return _NAMES[sqlalchemy.make_url(self.url).get_backend_name()]

    def _run(self, what: str) -> None:
        found = re.search(rf"^```sh\n(# {self._name}: {what}[,\n].*?)^```$", _PAGE.read_text("utf-8"), re.M | re.S)
        assert found, f"{_PAGE} has no command for it: {self._name}: {what}"
        subprocess.run(["sh", "-euc", found[1]], cwd=self.folder, env=self._environment(), check=True)

    def _environment(self) -> dict[str, str]:
        url = sqlalchemy.make_url(self.url)
        host = url.host or str(url.query.get("host", ""))
        port = str(url.port or url.query.get("port", ""))
        variables = {**os.environ, "DATABASE": str(url.database)}
        if self._name == "PostgreSQL":
            named = {"PGHOST": host, "PGPORT": port, "PGUSER": url.username, "PGPASSWORD": url.password}
            variables |= {name: value for name, value in named.items() if value}
            if not given(POSTGRES):
                # The dump of another release than the server's is refused.
                variables["PATH"] = f"{postgresql_programs()}:{variables['PATH']}"
        if self._name == "MariaDB":
            lines = [f"host={host}", f"port={port or 3306}", f"user={url.username}", f"password={url.password or ''}"]
            (self.folder / ".my.cnf").write_text("\n".join(["[client]", *lines, ""]))
            variables["HOME"] = str(self.folder)
        return variables


def _seconds_since_made(url: str) -> int:
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    age = "SELECT timestampdiff(SECOND, max(create_time), now()) FROM information_schema.tables"
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(f"{age} WHERE table_schema = database()").scalar_one())
