"""The common parts of all commands that act: actor, reason, confirmation, selection of orders, and outcome. Also
`reconciler acts`, which lists acts."""

import getpass
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, NoReturn

import typer

from worker.adapters.log import configure_logging
from worker.adapters.safe_text import one_line
from worker.cli.app import CommandError
from worker.cli.declare import WrongUse
from worker.cli.listing import Listing, Paged, Row
from worker.cli.order import find_in_parts
from worker.cli.output import AsJson, counted, detail_of, in_words, print_json, say, shown_zone, text, word_of
from worker.cli.session import Session, account_option, require_known, session
from worker.cli.times import TIME_RULE
from worker.domain.orders.operator_acts import account_refusal, actor_fault, reason_fault
from worker.domain.records import csv_columns
from worker.domain.records.coded_texts import CodedText
from worker.domain.records.operators import ActKind
from worker.domain.records.order_changes import Change
from worker.domain.records.sentences import Sentence, _
from worker.operations.act_by_hand import Decide, Operator, act_on_orders
from worker.views.acts import ActSearch, recent_acts


def read_actor(value: str | None) -> str | None:
    """Check the name of an actor; the `callback` of a parameter. Raises WrongUse if the name cannot be recorded."""
    if value is not None and (fault := actor_fault(value)):
        raise WrongUse("%(name)r %(fault)s", value, fault)
    return value


def read_reason(value: str | None) -> str | None:
    """Check the reason of an act; the `callback` of an option. Raises WrongUse if the reason cannot be recorded."""
    if value is not None and (fault := reason_fault(value)):
        raise WrongUse("%(name)r %(fault)s", value[:40], fault)
    return value


By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="NAME",
        help="Who does it, as it is recorded; by default the system's user.",
        callback=read_actor,
    ),
]
_REASON: Any = typer.Option("--reason", metavar="TEXT", help="Why, as it is recorded.", callback=read_reason)
Reason = Annotated[str | None, _REASON]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; needed without a terminal.")]


@dataclass(frozen=True, kw_only=True)
class Act:
    """The options of every act: its reason, its actor, whether it is only tried, and the form of its outcome."""

    reason: Reason = None
    by: By = None
    dry_run: DryRun = False
    as_json: AsJson = False

    def operator(self) -> Operator:
        """The actor. Raises CommandError if no option names one and the system's user has no name."""
        return Operator(name=self.by or system_user(), reason=self.reason, dry_run=self.dry_run)

    def print_json(self, response: Mapping[str, Any]) -> None:
        """Print the outcome as JSON, with `dry_run` if the act was only tried."""
        print_json({**response, **({"dry_run": True} if self.dry_run else {})})

    def say(self, message: str, *values: object) -> None:
        """Print the outcome for a person."""
        if self.dry_run:
            say("Nothing was changed. Without --dry-run: %(what)s", Sentence(message, *values))
        else:
            say("%(what)s", Sentence(message, *values))


@dataclass(frozen=True, kw_only=True)
class ReasonedAct(Act):
    """The options of an act that needs a reason."""

    # `field()` removes the default that the base class gives this option.
    reason: Annotated[str, _REASON] = field()


def system_user() -> str:
    """The name of the user that this process runs as. Raises CommandError if the user has no name that can be
    recorded."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # The user of a container may have only a number, and no name.
        name = ""
    if actor_fault(name):
        raise CommandError("the system's user has no name here: give --by NAME", status=2)
    return name


@contextmanager
def acting_session(*, needs_accounts: bool = False) -> Iterator[Session]:
    """Open a session for a command that acts. In this session, acts are logged, on standard error like all log
    lines."""
    with session(needs_accounts=needs_accounts) as opened:
        settings = opened.settings
        configure_logging("INFO", settings.log_format, zone=shown_zone(), secrets=settings.secrets)
        yield opened


def require_answer(*, yes: bool) -> None:
    """Raise CommandError if a question must be asked and there is no terminal."""
    if not yes and not sys.stdin.isatty():
        raise CommandError("a question needs a terminal: add --yes, or --dry-run to see it only", status=2)


def say_refused(rejected: Iterable[Mapping[str, Any]]) -> None:
    """Print one line for each refused order: its `ref` and its error. If the error names the order by this ref, the
    name is left out."""
    for one in rejected:
        ref, (why,) = one["ref"], one["errors"]
        if isinstance(why, CodedText) and why.values.get("order", "").endswith(f":{ref}"):
            why = why.having(order=None)
        said = detail_of(why) if isinstance(why, CodedText) else in_words(why)
        say("Refused: %(ref)s: %(why)s", one_line(ref), one_line(said or ""), err=True)


def confirm(what: Sentence, question: Sentence, *, yes: bool) -> None:
    """Print `what`, then ask `question`; with `yes`, do not ask. Raises CommandError if the answer is no, or if there
    is no terminal to ask at.
    """
    say("%(what)s", what, err=True)
    require_answer(yes=yes)
    if yes:
        return
    # click is not used here: it writes a part of the question to standard output, which is for data.
    typer.echo(f"{in_words(question)} [y/N]: ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was changed")


@dataclass(kw_only=True)
class ActOnOrders:
    """An act on orders that are named or selected by a filter, and its results so far."""

    opened: Session
    act: Act
    changes: list[Change] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, ref: str, why: Sentence | CodedText) -> None:
        """Record why an order was refused."""
        self.rejected.append({"ref": ref, "errors": [why]})

    def named(self, account: str | None, refs: Sequence[str], *, only_configured: bool = False) -> dict[int, str]:
        """Map the row id of each order to the reference that names it. A reference that names no order is refused. With
        `only_configured`, an order is also refused if the settings do not name its account."""
        found: dict[int, str] = {}
        for ref, row in find_in_parts(self.opened, account or "default", refs):
            if isinstance(row, Sentence):
                self.refuse(ref, row)
            elif only_configured and (why := account_refusal(row["account"], self.opened.settings.accounts)):
                self.refuse(ref, why)
            else:
                found[row["id"]] = ref
        return found

    def selected(self, found: Sequence[int], what: Sentence, question: Sentence, *, yes: bool) -> dict[int, str]:
        """Ask a person to confirm the orders that a filter has found. Return the name of each order by its row id.
        `what` describes the orders in the question."""
        if found and not self.act.dry_run:
            orders = counted(len(found), "order")
            one, many = _("%(orders)s is %(what)s.", orders, what), _("%(orders)s are %(what)s.", orders, what)
            confirm(one if len(found) == 1 else many, question, yes=yes)
        return {order_id: f"id:{order_id}" for order_id in found}

    def do(self, kind: ActKind, orders: dict[int, str], decide: Decide) -> None:
        """Act on these orders."""
        for done in act_on_orders(self.opened.database, self.act.operator(), kind, list(orders), decide):
            self.changes += done.changes
            self.refuse_all(orders, done.refusals)

    def refuse_all(self, orders: dict[int, str], refusals: Mapping[int, CodedText]) -> None:
        """Record why orders were refused. `orders` and `refusals` are by row id."""
        for order_id, why in refusals.items():
            self.refuse(orders[order_id], why)

    def end(self, key: str, is_now: Sentence, are_now: Sentence) -> NoReturn:
        """Print how many orders were changed, and end the command. JSON has the number as `key`. A person reads
        `is_now` after one order, `are_now` after several."""
        count = len(self.changes)
        words = _("%(orders)s %(now)s.", counted(count, "order"), is_now if count == 1 else are_now)
        self.end_with({key: count}, words)

    def end_with(self, response: Mapping[str, Any], words: Sentence) -> NoReturn:
        """Print the results and the refusals, and end the command."""
        if self.act.as_json:
            self.act.print_json({**response, "rejected": self.rejected})
        else:
            say_refused(self.rejected)
            self.act.say("%(what)s", words)
        raise typer.Exit(1 if self.rejected else 0)


@contextmanager
def acting_on_orders(act: Act, *, needs_accounts: bool = False) -> Iterator[ActOnOrders]:
    """Open a session for a command that acts on orders."""
    with acting_session(needs_accounts=needs_accounts) as opened:
        yield ActOnOrders(opened=opened, act=act)


Actor = Annotated[str | None, typer.Option(metavar="NAME", help="Only what this operator did.")]
Kinds = Annotated[list[ActKind] | None, typer.Option("--act", help="Only acts of this kind; may be repeated.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help=f"Only acts from this time on: {TIME_RULE}.")]
Accounts = Annotated[list[str] | None, account_option("Only acts on this account or on all; may be repeated.")]


def acts(
    account: Accounts = None,
    actor: Actor = None,
    act: Kinds = None,
    since: Since = None,
    *,
    page: Paged,
) -> None:
    """Show the acts of operators on orders and accounts, newest first: who, when, what and why.

    An act is one line, with the number of its orders. `reconciler order` shows it in the history of each order.

    Examples:
      reconciler acts
      reconciler acts --actor ann --act dismiss --since yesterday
      reconciler acts --account shop --limit 500 --csv > acts.csv
      reconciler acts --json
    """
    with page.session() as opened:
        require_known(opened, account or ())
        wanted = ActSearch(
            accounts=account or (),
            actor=actor,
            kinds=act or (),
            since=opened.time_of("--since", since),
        )
        with opened.database.snapshot() as connection:
            found = page.read(_ACTS, partial(recent_acts, connection, wanted))
    page.show(_ACTS, found)


def _table_row(act: Row) -> dict[str, object]:
    named = {"act": word_of(ActKind, act["act"]), "account": act["account"] or text("all")}
    return {**act, **named, "detail": detail_of(act["detail"])}


_ACTS = Listing(
    rows="acts",
    none=_("No operator has acted yet."),
    csv=csv_columns.ACTS,
    columns=("at", "actor", "act", "account", "orders", "detail", "reason"),
    table_row=_table_row,
    long_texts=("detail", "reason"),
)
