"""`reconciler migrate`: bring the database's tables to this release's revision, or to another."""

import sys
from contextlib import closing
from typing import Annotated

import typer

from worker.adapters.safe_text import Redactor
from worker.cli.app import CommandError
from worker.cli.output import AsJson, print_json, say
from worker.cli.session import errors_in_one_line, read_settings
from worker.database.engine import missing_file, shown_url
from worker.database.migrations import (
    BASE,
    Direction,
    direction,
    downgrade,
    refuse_to_lose,
    target_of,
    upgrade,
)
from worker.database.revisions import revision_of
from worker.database.transactions import Database
from worker.domain.records.sentences import _

To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="REV",
        help="Up or down to this revision instead, such as 0023.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before a way down; needed without a terminal.")]


def migrate(to: To = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Bring the database's tables to the revision of this release. It does no harm if they are already there.

    Run it before the first start. For each new release, run it before the release's worker starts. Several runs at the
    same time wait for each other.

    To go back one release, stop all workers. Then run the command with --to and the revision of the older release,
    while the newer release is still installed. It asks first, and it refuses if data would be lost.

    Examples:
      reconciler migrate
      reconciler migrate --to 0023
    """
    target = target_of(to)
    settings = read_settings()
    url, shown = settings.database_dsn, Redactor(settings.secrets).text(shown_url(settings.database_dsn))
    with errors_in_one_line(settings):
        before = None if missing_file(url) else _revision(url)
        if direction(before, target) is Direction.DOWN:
            _go_down(url, shown, before or BASE, target, yes)
        else:
            upgrade(url, target)
        after = _revision(url)
    _print_end(shown, before, after, as_json)
    if target != target_of(None):
        needed = target_of(None)
        say("This release's worker needs revision %(revision)s, and does not start on this one.", needed, err=True)


def _print_end(shown: str, before: str | None, after: str | None, as_json: bool) -> None:
    if as_json:
        print_json({"database": shown, "from": before, "to": after})
    elif before == after:
        say("%(url)s is at revision %(revision)s already.", shown, after or "base")
    else:
        say("%(url)s: from %(before)s to revision %(after)s.", shown, before or _("an empty database"), after or "base")


def _go_down(url: str, shown: str, before: str, target: str, yes: bool) -> None:
    with closing(Database(url, pool_size=1)) as database, database.read() as connection:
        refuse_to_lose(connection, before, target)
    if not yes:
        question = f"Take {shown} down from {before} to {target}? All workers have to be stopped"
        if not sys.stdin.isatty():
            raise CommandError("a question needs a terminal: stop all workers, then add --yes", status=2)
        if not typer.confirm(question, err=True):
            raise CommandError("nothing was changed")
    downgrade(url, target)


def _revision(url: str) -> str | None:
    with closing(Database(url, pool_size=1)) as database, database.read() as connection:
        return revision_of(connection)
