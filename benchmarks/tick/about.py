"""The machine and the database of a benchmark."""

import os

from sqlalchemy import text

from benchmarks.about import machine, versions
from worker.database.transactions import Database

_PACKAGES = ("sqlalchemy", "psycopg", "pymysql")
_VERSIONS = {"sqlite": "SELECT 'SQLite ' || sqlite_version()"}


def about(url: str) -> dict[str, str]:
    """The machine, its load, the database and the versions, for later readers of the figures."""
    database = Database(url, pool_size=1)
    try:
        with database.read() as connection:
            server = str(connection.execute(text(_VERSIONS.get(database.kind, "SELECT version()"))).scalar_one())
    finally:
        database.close()
    return {
        **machine(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "database": server.partition(" on ")[0],
        "versions": versions(_PACKAGES),
    }
