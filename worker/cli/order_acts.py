"""`reconciler resolve`, `reopen`, `cancel`, `dismiss` and `check`: what an operator does to orders, by name."""

from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from worker.cli.acting import (
    Act,
    ReasonedAct,
    Yes,
    act_on_named,
    acting_session,
    dismiss_selected,
    end,
    reopen_selected,
)
from worker.cli.completion import account_names
from worker.cli.order_references import REF_HELP, Account, References
from worker.cli.times import TIME_RULE
from worker.domain.orders import operator_acts as acts
from worker.domain.records.acts import ActKind
from worker.domain.records.orders import Attention, Order, OrderState
from worker.domain.wire.field_rules import AMOUNT_RULE, amount_text, read_amount


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
    typer.Option(metavar="YUAN", help="What the platform charged; needed for succeeded.", callback=_read_amount),
]
Force = Annotated[bool, typer.Option("--force", help="Also what a query or a callback has settled.")]
Unresolved = Annotated[bool, typer.Option("--unresolved", help="All unresolved orders, instead of named ones.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help=f"Of --unresolved those that became so at this time or later: {TIME_RULE}."),
]
OfAttention = Annotated[
    Attention | None,
    typer.Option("--attention", help="All orders with this reason, instead of named ones."),
]
OptionalReferences = Annotated[list[str] | None, typer.Argument(metavar="[REF...]", help=REF_HELP)]
OfAccount = Annotated[
    str | None,
    typer.Option(
        "--account",
        help="The account that the orders belong to; by default `default`, with a filter every one.",
        autocompletion=account_names,
    ),
]


def resolve(
    refs: References,
    state: State,
    amount: Amount = None,
    account: Account = "default",
    *,
    act: ReasonedAct,
) -> None:
    """Settle orders by hand: pending, unresolved or cancelled ones, once you know what became of them.

    The amount becomes the order's, and its attention is cleared; what the platform has said of it stays. A query that
    is under way for it settles nothing. Whatever the platform says later is compared, and shown where it contradicts.

    Examples:
      reconciler resolve A-1001 --state succeeded --amount 2.94 --reason "statement of May"
      reconciler resolve id:42 --state failed --reason "ticket 77" --by ann
    """
    charged = None if amount is None else read_amount(amount)
    if state is FinalState.SUCCEEDED and charged is None:
        raise typer.BadParameter("a succeeded order needs --amount, what the platform charged")
    decide = partial(acts.resolve, state=OrderState(state.value), amount=charged)
    who = act.operator()
    with acting_session() as opened:
        outcome = act_on_named(opened, account, refs, who, ActKind.RESOLVE, decide)
    for change in outcome.changes:
        _say_other_amount(change.after, charged)
    words = state.value if charged is None else f"{state.value}, {amount_text(charged)} yuan"
    end(outcome, act, "resolved", f"is {words}", f"are {words}")


def reopen(
    refs: OptionalReferences = None,
    unresolved: Unresolved = False,
    since: Since = None,
    account: OfAccount = None,
    force: Force = False,
    yes: Yes = False,
    *,
    act: ReasonedAct,
) -> None:
    """Poll orders again that are not pending any more. What a query or a callback has settled needs --force.

    Result and attention are cleared (the history keeps them), and the age limit counts from now. Archived orders are
    restored for it. Instead of names, --unresolved selects every unresolved order; then the count is shown, and you are
    asked.

    Examples:
      reconciler reopen A-1001 --reason "ticket 77"
      reconciler reopen --unresolved --since 2d --reason "the platform was down" --dry-run
    """
    if bool(refs) == unresolved or (since is not None and not unresolved):
        raise typer.BadParameter("name orders, or select them by --unresolved, with --since or without")
    decide = partial(acts.reopen, force=force)
    who = act.operator()
    with acting_session(needs_accounts=True) as opened:
        if refs:
            outcome = act_on_named(
                opened, account or "default", refs, who, ActKind.REOPEN, decide, only_configured=True
            )
        else:
            outcome = reopen_selected(opened, account, since, who, yes=yes)
    end(outcome, act, "reopened", "is pending again", "are pending again")


def cancel(
    refs: References,
    account: Account = "default",
    *,
    act: Act,
) -> None:
    """Stop polling orders that you have dealt with otherwise: pending or unresolved ones.

    A result that the platform reports later is shown, and changes nothing.

    Examples:
      reconciler cancel A-1001
      reconciler cancel id:42 id:43 --reason "refunded by hand" --json
    """
    who = act.operator()
    with acting_session() as opened:
        outcome = act_on_named(opened, account, refs, who, ActKind.CANCEL, acts.cancel)
    end(outcome, act, "cancelled", "is cancelled", "are cancelled")


def dismiss(
    refs: OptionalReferences = None,
    attention: OfAttention = None,
    account: OfAccount = None,
    yes: Yes = False,
    *,
    act: Act,
) -> None:
    """Clear the attention of orders that you have clarified. The state stays, and a new event may raise it again.

    Instead of names, --attention selects every order with that reason; then the count is shown, and you are asked.

    Examples:
      reconciler dismiss A-1001
      reconciler dismiss A-1001 --account shop --reason "ticket 77"
      reconciler dismiss --attention amount_mismatch --account shop --reason "statement of May" --dry-run
    """
    if bool(refs) == (attention is not None):
        raise typer.BadParameter("name orders, or select them by --attention")
    who = act.operator()
    with acting_session() as opened:
        if attention is None:
            outcome = act_on_named(opened, account or "default", refs or (), who, ActKind.DISMISS, acts.dismiss)
        else:
            outcome = dismiss_selected(opened, account, attention, who, yes=yes)
    end(outcome, act, "dismissed", "needs no person any more", "need no person any more")


def check(
    refs: References,
    account: Account = "default",
    *,
    act: Act,
) -> None:
    """Poll these orders next, within the same budget; what is not pending is refused.

    Exit status 1 when one was refused.

    Examples:
      reconciler check 2016010000000219 2016010000000220
      reconciler check id:42 --json
    """
    who = act.operator()
    with acting_session(needs_accounts=True) as opened:
        outcome = act_on_named(opened, account, refs, who, ActKind.CHECK, acts.check, only_configured=True)
    end(outcome, act, "queued", "will be polled next", "will be polled next")


def _say_other_amount(order: Order, charged: Decimal | None) -> None:
    if None not in (charged, order.expected_amount) and charged != order.expected_amount:
        expected, given = (amount_text(one) for one in (order.expected_amount, charged) if one is not None)
        typer.echo(f"Warning: order {order.key}: charged {given}, and {expected} was expected", err=True)
