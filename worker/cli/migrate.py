"""`reconciler migrate`."""

import typer

from worker.adapters.redaction import Redactor
from worker.cli.output import AsJson, print_json


def migrate(as_json: AsJson = False) -> None:
    """Bring the database to this release's tables; harmless where they are there.

    Run it before the first start, and with each new release before its worker. Several at once wait for each other.
    """
    from worker.cli.session import errors_in_one_line, read_settings
    from worker.database.engine import missing_file, shown_url
    from worker.database.migrations import upgrade

    settings = read_settings()
    url, shown = settings.database_dsn, Redactor(settings.secrets).text(shown_url(settings.database_dsn))
    with errors_in_one_line(settings):
        before = None if missing_file(url) else _revision(url)
        upgrade(url)
        after = _revision(url)
    if as_json:
        print_json({"database": shown, "from": before, "to": after})
    elif before == after:
        typer.echo(f"{shown} is at revision {after} already.")
    else:
        typer.echo(f"{shown}: from {before or 'an empty database'} to revision {after}.")


def _revision(url: str) -> str | None:
    from worker.database.migrations import revision_of
    from worker.database.transactions import Database

    database = Database(url, pool_size=1)
    try:
        with database.read() as connection:
            return revision_of(connection)
    finally:
        database.close()
