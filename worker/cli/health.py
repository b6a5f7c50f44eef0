"""`reconciler health`: the health check of a worker's container, without starting Celery."""

import typer

from worker.adapters.error_text import one_line
from worker.cli.output import AsJson, print_json
from worker.cli.session import read_settings, words_of
from worker.database.engine import missing_file
from worker.database.transactions import Database, DatabaseError
from worker.domain.watching.workers import tick_allowance
from worker.operations.write_heartbeat import host_name
from worker.settings import SettingsError
from worker.views.watching import read_liveness

_SECONDS = 60.0
_ANSWER_SECONDS = 5.0


def health(as_json: AsJson = False) -> None:
    """Check that a worker on this host ticks; for the health check of a worker's container.

    Exit status 1 only where the database answers and shows no tick of this host for 60 seconds (longer where
    RECONCILER_TICK_SECONDS is over 5), or that what its workers do hangs. While the database is away, or the settings
    cannot be read, it is 0: to restart workers would not help.

    Examples:
      reconciler health
    """
    host = host_name()
    try:
        settings = read_settings()
    except SettingsError as error:
        # A file that is being edited must not end a worker that runs.
        _say(host, None, one_line(str(error)), as_json)
        return
    seconds = tick_allowance(_SECONDS, settings.tick_seconds)
    if missing_file(settings.database_dsn):
        _say(host, None, "the database has not been made yet", as_json)
        return
    database = Database(settings.database_dsn, answer_seconds=_ANSWER_SECONDS, pool_size=1)
    try:
        found = read_liveness(database, seconds, host=host)
    except DatabaseError as error:
        _say(host, None, words_of(error, settings), as_json)
        return
    finally:
        database.close()
    fault = "what the workers do hangs" if found.hangs else f"no worker has ticked for {seconds:g} s"
    _say(host, found.ticks, f"a worker has ticked within {seconds:g} s" if found.ticks else fault, as_json)
    raise typer.Exit(0 if found.ticks else 1)


def _say(host: str, ticks: bool | None, words: str, as_json: bool) -> None:
    if as_json:
        print_json({"host": host, "ticks": ticks, "in_words": words})
    elif ticks is None:
        typer.echo(f"{host}: nobody can tell whether a worker ticks: {words}.")
    else:
        typer.echo(f"{host}: {words}.")
