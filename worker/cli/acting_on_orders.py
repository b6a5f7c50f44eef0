"""What the commands that act on orders have in common: which orders are meant, what is asked, what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import typer

from worker.cli.acting import confirm, say_refused
from worker.cli.order_references import find_orders
from worker.cli.output import counted, print_json, time_text
from worker.cli.session import Session, require_configured, require_known
from worker.cli.times import read_time
from worker.domain import operator_acts as acts
from worker.domain.records.acts import ActKind
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Attention
from worker.operations.act_by_hand import Decide, Operator, act_on_orders
from worker.views.orders import unresolved_since, with_attention

_FOUND_AT_ONCE = 500


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
    for start in range(0, len(refs), _FOUND_AT_ONCE):
        for ref, row in find_orders(opened, account, refs[start : start + _FOUND_AT_ONCE]).items():
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


def end(outcome: Outcome, who: Operator, key: str, is_now: str, are_now: str, as_json: bool) -> None:
    """Print what was done, as `key` in JSON or in these words for one order or several; ends the command."""
    count = len(outcome.changes)
    if as_json:
        dry = {"dry_run": True} if who.dry_run else {}
        print_json({key: count, "rejected": outcome.rejected, **dry})
    else:
        say_refused(outcome.rejected)
        what = f"{counted(count, 'order')} {is_now if count == 1 else are_now}."
        typer.echo(f"Nothing was changed. Without --dry-run: {what}" if who.dry_run else what)
    raise typer.Exit(1 if outcome.rejected else 0)
