"""The console as `reconciler serve` serves it, for tests in a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.support.browser import close_browsers, needed_browser
from tests.support.databases import Postgresql
from tests.support.processes import environment, running_serve
from tests.support.reconciling import SID, Workbench
from tests.support.visitors import write_users
from worker.database.migrations import upgrade
from worker.domain.records.accounts import Rules


@contextmanager
def served_console(server: Postgresql, folder: Path) -> Iterator[tuple[str, Workbench]]:
    """Where it is reached, and a workbench that fills its database. Users are set up in this folder.
    Needs Chromium."""
    needed_browser()
    with server.migrated(upgrade) as database_url:
        bench = Workbench(database_url, Rules()).open()
        users = write_users(folder / "users.toml")
        # It is noon there, so no test meets midnight, or a night that has begun. Etc/GMT+5 is five hours behind UTC.
        noon = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"
        env = environment(database_url=database_url, account_sid=SID, timezone=noon, users_file=users)
        try:
            with running_serve(env, folder, "--only", "operate") as (_, url):
                yield url, bench
        finally:
            close_browsers()
            bench.close()
