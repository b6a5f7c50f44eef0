"""What every act of an operator needs: who acts and why, whether it is meant, which orders, what became of them."""

import getpass
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import typer

from worker.adapters.error_text import one_line
from worker.adapters.log import configure_logging
from worker.cli.errors import CommandError
from worker.cli.order_references import find_in_parts
from worker.cli.output import AsJson, counted, print_json, shown_zone, time_text
from worker.cli.session import Session, require_configured, require_known, session
from worker.cli.times import read_time
from worker.domain.orders import operator_acts as acts
from worker.domain.orders.operator_acts import actor_fault, reason_fault
from worker.domain.records.acts import ActKind
from worker.domain.records.coded_texts import CodedText
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Attention
from worker.operations.act_by_hand import Decide, Operator, act_on_orders
from worker.views.orders import unresolved_since, with_attention


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
    ),
]
Reason = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", help="Why, as it is recorded.", callback=_read_reason),
]
OptionalReason = Annotated[
    str | None,
    typer.Option("--reason", metavar="TEXT", help="Why, as it is recorded.", callback=_read_reason),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; needed without a terminal.")]


@dataclass(frozen=True, kw_only=True)
class Act:
    """The options of every act: why, whose it is, whether it is only tried, and how its outcome is printed."""

    reason: OptionalReason = None
    by: By = None
    dry_run: DryRun = False
    as_json: AsJson = False

    def operator(self) -> Operator:
        """Who acts. Raises CommandError where nobody says so and the system's user has no name."""
        return Operator(name=self.by or system_user(), reason=self.reason, dry_run=self.dry_run)

    def print_json(self, response: Mapping[str, Any]) -> None:
        """Print the outcome as JSON, with `dry_run` where it was only tried."""
        print_json({**response, **({"dry_run": True} if self.dry_run else {})})

    def say(self, what: str) -> None:
        """Print the outcome for a person."""
        typer.echo(f"Nothing was changed. Without --dry-run: {what}" if self.dry_run else what)


@dataclass(frozen=True, kw_only=True)
class ReasonedAct(Act):
    """The same where a reason is needed."""

    # By `field`: without it the base's default would stand.
    reason: Reason = field()


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
def acting_session(*, needs_accounts: bool = False, utc: bool = False) -> Iterator[Session]:
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
        ref, (why,) = one["ref"], one["errors"]
        if isinstance(why, CodedText) and why.values.get("order", "").endswith(f":{ref}"):
            why = why.having(order=None)
        typer.echo(f"Refused: {one_line(ref)}: {one_line(why)}", err=True)


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


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What became of all that was named or selected."""

    changes: list[Change] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, ref: str, why: str) -> None:
        """Note why an order was refused."""
        self.rejected.append({"ref": ref, "errors": [why]})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """What a person is asked before something is done to all that a filter has selected."""

    are: str
    """What the selected orders are."""
    ask: str
    yes: bool
    """Whether it is answered already."""


def act_on_named(
    opened: Session,
    account: str,
    refs: Sequence[str],
    who: Operator,
    kind: ActKind,
    decide: Decide,
    *,
    only_configured: bool = False,
) -> Outcome:
    """Act on named orders. `only_configured`: refuse those whose account the settings do not name."""
    outcome = Outcome()
    # By the row: an order that is named by both its ids is acted on once.
    named: dict[int, str] = {}
    for ref, row in find_in_parts(opened, account, refs):
        if isinstance(row, str):
            outcome.refuse(ref, row)
        elif only_configured and (why := acts.nobody_polls(row["account"], opened.settings.accounts)):
            outcome.refuse(ref, why)
        else:
            named[row["id"]] = ref
    _act(opened, who, kind, named, decide, outcome)
    return outcome


def reopen_selected(opened: Session, account: str | None, since: str | None, who: Operator, *, yes: bool) -> Outcome:
    """Reopen the unresolved orders of the settings' accounts or of one, once a person has said yes.

    `since` is a time as a person gives it: those that became unresolved then or later.
    """
    require_configured(opened.settings, () if account is None else (account,))
    with opened.database.read() as connection:
        now = opened.database.now(connection)
        start = None if since is None else read_time("--since", since, now, opened.settings.zone)
        accounts = list(opened.settings.accounts) if account is None else [account]
        found = unresolved_since(connection, start, accounts)
    became = "unresolved" if start is None else f"unresolved since {time_text(start)}"
    question = _Question(are=became, ask="Reopen them all?", yes=yes)
    return _act_on_selected(opened, who, ActKind.REOPEN, found, acts.reopen_unresolved, question)


def dismiss_selected(opened: Session, account: str | None, reason: Attention, who: Operator, *, yes: bool) -> Outcome:
    """Dismiss this reason of all orders or of those of one account, once a person has said yes."""
    require_known(opened, () if account is None else (account,))
    with opened.database.read() as connection:
        found = with_attention(connection, reason, account)
    question = _Question(are=f"shown for {reason.value}", ask="Dismiss them all?", yes=yes)
    return _act_on_selected(
        opened, who, ActKind.DISMISS, found, partial(acts.dismiss_selected, reason=reason), question
    )


def _act_on_selected(
    opened: Session,
    who: Operator,
    kind: ActKind,
    found: Sequence[int],
    decide: Decide,
    question: _Question,
) -> Outcome:
    outcome = Outcome()
    if found:
        if not who.dry_run:
            are = "is" if len(found) == 1 else "are"
            confirm(f"{counted(len(found), 'order')} {are} {question.are}.", question.ask, yes=question.yes)
        _act(opened, who, kind, {one: f"id:{one}" for one in found}, decide, outcome)
    return outcome


def _act(opened: Session, who: Operator, kind: ActKind, refs: dict[int, str], decide: Decide, outcome: Outcome) -> None:
    for done in act_on_orders(opened.database, who, kind, list(refs), decide):
        outcome.changes.extend(done.changes)
        for order_id, why in done.refusals.items():
            outcome.refuse(refs[order_id], why)


def end(outcome: Outcome, act: Act, key: str, is_now: str, are_now: str) -> None:
    """Print what was done, as `key` in JSON or in these words for one order or several; ends the command."""
    count = len(outcome.changes)
    if act.as_json:
        act.print_json({key: count, "rejected": outcome.rejected})
    else:
        say_refused(outcome.rejected)
        act.say(f"{counted(count, 'order')} {is_now if count == 1 else are_now}.")
    raise typer.Exit(1 if outcome.rejected else 0)
