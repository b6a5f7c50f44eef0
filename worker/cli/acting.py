"""What all commands have in common by which an operator acts: whose act it is, why, and whether it is really meant."""

import getpass
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from worker.adapters.error_text import one_line
from worker.adapters.log import configure_logging
from worker.cli.errors import CommandError
from worker.cli.output import shown_zone
from worker.cli.session import Session, session
from worker.domain.operator_acts import actor_fault, reason_fault
from worker.operations.act_by_hand import Operator


def _read_actor(value: str | None) -> str | None:
    if value is not None and (fault := actor_fault(value)):
        raise typer.BadParameter(f"{value!r} {fault}")
    return value


def _read_reason(value: str | None) -> str | None:
    if value is not None and (fault := reason_fault(value)):
        raise typer.BadParameter(f"{value[:40]!r} {fault}")
    return value


By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="NAME",
        help="Who does it, as it is recorded; by default the system's user.",
        callback=_read_actor,
        show_default=False,
    ),
]
Reason = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", help="Why, as it is recorded.", callback=_read_reason),
]
OptionalReason = Annotated[
    str | None,
    typer.Option("--reason", metavar="TEXT", help="Why, as it is recorded.", callback=_read_reason, show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; needed without a terminal.")]


def operator(by: str | None, reason: str | None, *, dry_run: bool) -> Operator:
    """Who acts."""

    return Operator(name=by or system_user(), reason=reason, dry_run=dry_run)


def system_user() -> str:
    """The name of the user that this process runs as. Raises CommandError where it has none that could be recorded."""

    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # A container's user may be a bare number.
        name = ""
    if actor_fault(name):
        raise CommandError("the system's user has no name here: give --by NAME", status=2)
    return name


@contextmanager
def acting_session(*, needs_accounts: bool = False, utc: bool = False) -> Iterator["Session"]:
    """A session of a command that acts: what an operator does is logged, on standard error as everything else."""

    with session(needs_accounts=needs_accounts, utc=utc) as opened:
        settings = opened.settings
        configure_logging("INFO", settings.log_format, zone=shown_zone(), secrets=settings.secrets)
        yield opened


def require_answer(*, yes: bool) -> None:
    """Raise CommandError where a question would have to be asked, and there is no terminal."""
    if not yes and not sys.stdin.isatty():
        raise CommandError("a question needs a terminal: add --yes, or --dry-run to see it only", status=2)


def say_refused(rejected: Iterable[Mapping[str, Any]]) -> None:
    """A line for each `ref` that was refused, with its `errors`; what the ref says already is not said again."""
    for one in rejected:
        why = "; ".join(one["errors"])
        said = re.match(rf"order \S+:{re.escape(one['ref'])}: ", why)
        typer.echo(f"Refused: {one_line(one['ref'])}: {one_line(why[said.end() :] if said else why)}", err=True)


def confirm(what: str, question: str, *, yes: bool) -> None:
    """Say what a filter has selected, and ask a person whether to go on. Raises CommandError where the answer is no.

    Without a terminal there is no answer: `--yes` is needed.
    """
    typer.echo(what, err=True)
    require_answer(yes=yes)
    if yes:
        return
    # Not by click, which writes a part of the question to standard output, where the data goes.
    typer.echo(f"{question} [y/N]: ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was changed")
