"""`reconciler resolve`, `reopen`, `cancel`, `dismiss` and `check`: what an operator does to orders, by name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.acting import By, DryRun, OptionalReason, Reason, Yes, acting_session, confirm, operator, say_refused
from worker.cli.completion import account_names
from worker.cli.order_references import REF_HELP, Account, References, find_orders
from worker.cli.output import AsJson, counted, print_json, time_text
from worker.cli.times import TIME_RULE, read_time
from worker.domain import operator_acts as acts
from worker.domain.field_rules import AMOUNT_RULE, amount_text, read_amount
from worker.domain.records.acts import ActKind
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Order, OrderState

if TYPE_CHECKING:
    from worker.cli.session import Session
    from worker.operations.act_by_hand import Decide, Operator

_FOUND_AT_ONCE = 500


class FinalState(StrEnum):
    """The states that an operator may give an order."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


def _read_amount(value: str | None) -> str | None:
    if value is not None and read_amount(value) is None:
        raise typer.BadParameter(f"{value!r} is no amount; accepted: {AMOUNT_RULE}")
    return value


State = Annotated[FinalState, typer.Option("--state", help="What became of the recharge.")]
Amount = Annotated[
    str | None,
    typer.Option(
        metavar="YUAN",
        help="What the platform charged; needed for succeeded.",
        callback=_read_amount,
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Also what a query or a callback has settled.")]
Unresolved = Annotated[bool, typer.Option("--unresolved", help="All unresolved orders, instead of named ones.")]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help=f"Of --unresolved those that became so at this time or later: {TIME_RULE}.",
        show_default=False,
    ),
]
OptionalReferences = Annotated[list[str] | None, typer.Argument(metavar="[REF...]", help=REF_HELP, show_default=False)]
OfAccount = Annotated[
    str | None,
    typer.Option(
        "--account",
        help="The account that the orders belong to; by default `default`, with --unresolved every one.",
        autocompletion=account_names,
        show_default=False,
    ),
]


@dataclass(kw_only=True, slots=True)
class _Outcome:
    """What became of all that was named or selected."""

    changes: list[Change] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, ref: str, why: str) -> None:
        self.rejected.append({"ref": ref, "errors": [why]})


def resolve(
    refs: References,
    state: State,
    reason: Reason,
    amount: Amount = None,
    account: Account = "default",
    by: By = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Settle orders by hand: pending, unresolved or cancelled ones, once you know what became of them.

    The amount becomes the order's, and its attention is cleared; what the platform has said of it stays. A query that
    is under way for it settles nothing. Whatever the platform says later is compared, and shown where it contradicts.
    """
    charged = None if amount is None else read_amount(amount)
    if state is FinalState.SUCCEEDED and charged is None:
        raise typer.BadParameter("a succeeded order needs --amount, what the platform charged")
    decide = partial(acts.resolve, state=OrderState(state.value), amount=charged)
    who = operator(by, reason, dry_run=dry_run)
    with acting_session() as opened:
        outcome = _act_on_named(opened, account, refs, who, ActKind.RESOLVE, decide)
    for change in outcome.changes:
        _say_other_amount(change.after, charged)
    words = state.value if charged is None else f"{state.value}, {amount_text(charged)} yuan"
    _end(outcome, who, "resolved", f"is {words}", f"are {words}", as_json)


def reopen(
    reason: Reason,
    refs: OptionalReferences = None,
    unresolved: Unresolved = False,
    since: Since = None,
    account: OfAccount = None,
    force: Force = False,
    by: By = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Poll orders again that are not pending any more. What a query or a callback has settled needs --force.

    Result and attention are cleared (the history keeps them), and the age limit counts from now. Archived orders are
    restored for it. Instead of names, --unresolved selects every unresolved order; then the count is shown, and you are
    asked.
    """
    if bool(refs) == unresolved or (since is not None and not unresolved):
        raise typer.BadParameter("name orders, or select them by --unresolved, with --since or without")
    decide = partial(acts.reopen, force=force)
    who = operator(by, reason, dry_run=dry_run)
    with acting_session(needs_accounts=True) as opened:
        if refs:
            outcome = _act_on_named(
                opened, account or "default", refs, who, ActKind.REOPEN, decide, only_configured=True
            )
        else:
            outcome = _reopen_selected(opened, account, since, who, yes=yes)
    _end(outcome, who, "reopened", "is pending again", "are pending again", as_json)


def cancel(
    refs: References,
    account: Account = "default",
    reason: OptionalReason = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Stop polling orders that you have dealt with otherwise: pending or unresolved ones.

    A result that the platform reports later is shown, and changes nothing.
    """
    who = operator(by, reason, dry_run=dry_run)
    with acting_session() as opened:
        outcome = _act_on_named(opened, account, refs, who, ActKind.CANCEL, acts.cancel)
    _end(outcome, who, "cancelled", "is cancelled", "are cancelled", as_json)


def dismiss(
    refs: References,
    account: Account = "default",
    reason: OptionalReason = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Clear the attention of orders that you have clarified. The state stays, and a new event may raise it again."""
    who = operator(by, reason, dry_run=dry_run)
    with acting_session() as opened:
        outcome = _act_on_named(opened, account, refs, who, ActKind.DISMISS, acts.dismiss)
    _end(outcome, who, "dismissed", "needs nobody any more", "need nobody any more", as_json)


def check(
    refs: References,
    account: Account = "default",
    reason: OptionalReason = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Poll these orders next, within the same budget; what is not pending is refused.

    Exit status 1 when one was refused.
    """
    who = operator(by, reason, dry_run=dry_run)
    with acting_session(needs_accounts=True) as opened:
        outcome = _act_on_named(opened, account, refs, who, ActKind.CHECK, acts.check, only_configured=True)
    _end(outcome, who, "queued", "will be polled next", "will be polled next", as_json)


def _act_on_named(
    opened: "Session",
    account: str,
    refs: Sequence[str],
    who: "Operator",
    kind: ActKind,
    decide: "Decide",
    *,
    only_configured: bool = False,
) -> _Outcome:
    outcome = _Outcome()
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


def _reopen_selected(
    opened: "Session", account: str | None, since: str | None, who: "Operator", *, yes: bool
) -> _Outcome:
    from worker.cli.session import require_configured
    from worker.stores.recorded_acts import unresolved_since

    require_configured(opened.settings, () if account is None else (account,))
    with opened.database.read() as connection:
        now = opened.database.now(connection)
        start = None if since is None else read_time("--since", since, now, opened.settings.zone)
        accounts = list(opened.settings.accounts) if account is None else [account]
        found = unresolved_since(connection, start, accounts)
    outcome = _Outcome()
    if found:
        became = "unresolved" if start is None else f"unresolved since {time_text(start)}"
        if not who.dry_run:
            are = "is" if len(found) == 1 else "are"
            confirm(f"{counted(len(found), 'order')} {are} {became}.", "Reopen them all?", yes=yes)
        _act(opened, who, ActKind.REOPEN, {one: f"id:{one}" for one in found}, acts.reopen_unresolved, outcome)
    return outcome


def _act(
    opened: "Session", who: "Operator", kind: ActKind, refs: dict[int, str], decide: "Decide", outcome: _Outcome
) -> None:
    from worker.operations.act_by_hand import act_on_orders

    for done in act_on_orders(opened.database, who, kind, list(refs), decide):
        outcome.changes.extend(done.changes)
        for order_id, why in done.refusals.items():
            outcome.refuse(refs[order_id], why)


def _say_other_amount(order: Order, charged: Decimal | None) -> None:
    if None not in (charged, order.expected_amount) and charged != order.expected_amount:
        expected, given = (amount_text(one) for one in (order.expected_amount, charged) if one is not None)
        typer.echo(f"Warning: order {order.key}: charged {given}, and {expected} was expected", err=True)


def _end(outcome: _Outcome, who: "Operator", key: str, is_now: str, are_now: str, as_json: bool) -> None:
    count = len(outcome.changes)
    if as_json:
        dry = {"dry_run": True} if who.dry_run else {}
        print_json({key: count, "rejected": outcome.rejected, **dry})
    else:
        say_refused(outcome.rejected)
        what = f"{counted(count, 'order')} {is_now if count == 1 else are_now}."
        typer.echo(f"Nothing was changed. Without --dry-run: {what}" if who.dry_run else what)
    raise typer.Exit(1 if outcome.rejected else 0)
