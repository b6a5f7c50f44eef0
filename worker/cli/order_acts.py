"""`reconciler resolve`, `reopen`, `cancel`, `dismiss`, `check` and `resend`: acts of operators on orders."""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from worker.cli.acts import Act, ReasonedAct, Yes, acting_on_orders
from worker.cli.declare import WrongUse
from worker.cli.order import REF_HELP, Account, References
from worker.cli.output import (
    counted,
    say,
    time_text,
    warn,
)
from worker.cli.session import Session, account_option, require_configured, require_known
from worker.cli.times import TIME_RULE
from worker.domain.orders import operator_acts as acts
from worker.domain.records.operators import ActKind
from worker.domain.records.orders import Attention, Order, OrderState
from worker.domain.records.sentences import Sentence, _
from worker.domain.wire.fields import AMOUNT_RULE, amount_text, read_written_amount
from worker.operations.resend import resend as send_once_more
from worker.views.notifications import orders_changed_since, orders_given_up
from worker.views.orders import unresolved_since, with_attention


class FinalState(StrEnum):
    """The states that an operator may give an order."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


def _read_amount(value: str | None) -> str | None:
    if value is not None and read_written_amount(value) is None:
        raise WrongUse("%(value)r is no amount; accepted: %(rule)s", value, AMOUNT_RULE)
    return value


State = Annotated[FinalState, typer.Option("--state", help="What became of the recharge.")]
Amount = Annotated[
    str | None,
    typer.Option(metavar="YUAN", help="What the platform charged; needed for succeeded.", callback=_read_amount),
]
Force = Annotated[bool, typer.Option("--force", help="Also what a query or a callback has settled.")]
Unresolved = Annotated[bool, typer.Option("--unresolved", help="All unresolved orders, instead of named ones.")]
UnresolvedSince = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help=f"Of --unresolved those that became so at this time or later: {TIME_RULE}."
    ),
]
OfAttention = Annotated[
    Attention | None,
    typer.Option("--attention", help="All orders with this reason, instead of named ones."),
]
GaveUp = Annotated[bool, typer.Option("--gave-up", help="All orders with a notification that was given up.")]
ChangedSince = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help=f"All orders that changed at this time or later: {TIME_RULE}."),
]
Renew = Annotated[
    bool,
    typer.Option(
        "--renew",
        help="Raise the version of what is sent first: after a restore of the worker's database, when receivers may "
        "know newer ones.",
    ),
]
OptionalReferences = Annotated[list[str] | None, typer.Argument(metavar="[REF...]", help=REF_HELP)]
OfAccount = Annotated[
    str | None,
    account_option("The account that the orders belong to; by default `default`, with a filter every one."),
]


def resolve(
    refs: References, state: State, amount: Amount = None, account: Account = "default", *, act: ReasonedAct
) -> None:
    """Settle pending, unresolved or cancelled orders by hand, once you know their result.

    The order gets the amount, and its attention is cleared. The platform's earlier reports on the order stay. A query
    under way does not settle the order. Later reports of the platform are compared with the result; a contradiction is
    shown.

    Examples:
      reconciler resolve A-1001 --state succeeded --amount 2.94 --reason "statement of May"
      reconciler resolve id:42 --state failed --reason "ticket 77" --by ann
    """
    charged = None if amount is None else read_written_amount(amount)
    if state is FinalState.SUCCEEDED and charged is None:
        raise WrongUse("a succeeded order needs --amount, what the platform charged")
    with acting_on_orders(act) as acting:
        decide = partial(acts.resolve, state=OrderState(state.value), amount=charged)
        acting.do(ActKind.RESOLVE, acting.named(account, refs), decide)
    for change in acting.changes:
        _say_other_amount(change.after, charged)
    if charged is None:
        acting.end("resolved", _("is failed"), _("are failed"))
    yuan = amount_text(charged)
    if state is FinalState.FAILED:
        acting.end("resolved", _("is failed, %(amount)s yuan", yuan), _("are failed, %(amount)s yuan each", yuan))
    acting.end("resolved", _("is succeeded, %(amount)s yuan", yuan), _("are succeeded, %(amount)s yuan each", yuan))


def reopen(
    refs: OptionalReferences = None,
    unresolved: Unresolved = False,
    since: UnresolvedSince = None,
    account: OfAccount = None,
    force: Force = False,
    yes: Yes = False,
    *,
    act: ReasonedAct,
) -> None:
    """Poll orders again that are no longer pending. Orders that a query or a callback has settled need --force.

    Result and attention are cleared (the history keeps them), and the age limit counts from now. Instead of named
    orders, --unresolved selects all unresolved ones. Their number is shown, and you are asked to confirm.

    Examples:
      reconciler reopen A-1001 --reason "ticket 77"
      reconciler reopen --unresolved --since 2d --reason "the platform was down" --dry-run
    """
    if bool(refs) == unresolved or (since is not None and not unresolved):
        raise WrongUse("name orders, or select them by --unresolved, with --since or without")
    with acting_on_orders(act, needs_accounts=True) as acting:
        if refs:
            named = acting.named(account, refs, only_configured=True)
            acting.do(ActKind.REOPEN, named, partial(acts.reopen, force=force))
        else:
            found, became = _unresolved(acting.opened, account, since)
            selected = acting.selected(found, became, _("Reopen them all?"), yes=yes)
            acting.do(ActKind.REOPEN, selected, acts.reopen_unresolved)
    acting.end("reopened", _("is pending again"), _("are pending again"))


def cancel(refs: References, account: Account = "default", *, act: Act) -> None:
    """Stop polling pending or unresolved orders that you have dealt with in another way.

    A result that the platform reports later is shown, and does not change the order.

    Examples:
      reconciler cancel A-1001
      reconciler cancel id:42 id:43 --reason "refunded by hand" --json
    """
    with acting_on_orders(act) as acting:
        acting.do(ActKind.CANCEL, acting.named(account, refs), acts.cancel)
    acting.end("cancelled", _("is cancelled"), _("are cancelled"))


def dismiss(
    refs: OptionalReferences = None,
    attention: OfAttention = None,
    account: OfAccount = None,
    yes: Yes = False,
    *,
    act: Act,
) -> None:
    """Clear the attention of orders that you have clarified. Their state stays; a new event may raise attention again.

    Instead of named orders, --attention selects all orders with that reason. Their number is shown, and you are asked
    to confirm.

    Examples:
      reconciler dismiss A-1001
      reconciler dismiss A-1001 --account shop --reason "ticket 77"
      reconciler dismiss --attention amount_mismatch --account shop --reason "statement of May" --dry-run
    """
    if bool(refs) == (attention is not None):
        raise WrongUse("name orders, or select them by --attention")
    with acting_on_orders(act) as acting:
        if attention is None:
            acting.do(ActKind.DISMISS, acting.named(account, refs or ()), acts.dismiss)
        else:
            require_known(acting.opened, () if account is None else (account,))
            with acting.opened.database.read() as connection:
                found = with_attention(connection, attention, account)
            what = _("shown for %(reason)s", attention.value)
            selected = acting.selected(found, what, _("Dismiss them all?"), yes=yes)
            acting.do(ActKind.DISMISS, selected, partial(acts.dismiss_selected, reason=attention))
    acting.end("dismissed", _("needs no person any more"), _("need no person any more"))


def check(refs: References, account: Account = "default", *, act: Act) -> None:
    """Poll these orders next, within the same budget. Orders that are not pending are refused.

    The exit status is 1 if an order was refused.

    Examples:
      reconciler check 2016010000000219 2016010000000220
      reconciler check id:42 --json
    """
    with acting_on_orders(act, needs_accounts=True) as acting:
        acting.do(ActKind.CHECK, acting.named(account, refs, only_configured=True), acts.check)
    acting.end("queued", _("will be polled next"), _("will be polled next"))


def resend(
    refs: OptionalReferences = None,
    gave_up: GaveUp = False,
    since: ChangedSince = None,
    renew: Renew = False,
    account: OfAccount = None,
    yes: Yes = False,
    *,
    act: Act,
) -> None:
    """Send the present state of orders again. New results that come meanwhile are sent first.

    The notification of the order's present version is sent again, under the same id. If it is gone (a delivered one is
    kept for RECONCILER_NOTIFY_KEEP_DAYS) or was never written, a new one is made. A receiver ignores a notification
    that is not newer than what it has, so nothing is booked twice. With --gave-up or --since, the number of selected
    orders is shown, and you are asked to confirm.

    Examples:
      reconciler resend A-1001
      reconciler resend --gave-up --dry-run
      reconciler resend --since 2d --reason "the billing system was restored" --yes
    """
    if bool(refs) + gave_up + (since is not None) != 1:
        raise WrongUse("name orders, or select them by --gave-up or by --since")
    with acting_on_orders(act) as acting:
        if refs:
            orders = acting.named(account, refs)
        else:
            found = _given_up_or_changed(acting.opened, account, since)
            orders = acting.selected(found, _("selected"), _("Send all of these once more?"), yes=yes)
        again = made = 0
        for done in send_once_more(acting.opened.database, act.operator(), list(orders), renew=renew):
            again, made = again + done.again, made + done.made
            acting.refuse_all(orders, done.refusals)
    sent = counted(again + made, "notification")
    words = _("%(notifications)s will be sent.", sent)
    if made:
        words = _("%(notifications)s will be sent, %(count)s of them under new ids.", sent, f"{made:,}")
    acting.end_with({"resent": again, "made": made}, words)


def _say_other_amount(order: Order, charged: Decimal | None) -> None:
    if None not in (charged, order.expected_amount) and charged != order.expected_amount:
        expected, given = (amount_text(one) for one in (order.expected_amount, charged) if one is not None)
        warn("order %(order)s: charged %(charged)s, and %(expected)s was expected", order.key, given, expected)


def _unresolved(opened: Session, account: str | None, since: str | None) -> tuple[Sequence[int], Sentence]:
    """The unresolved orders of one account, or of all accounts in the settings; and a description of these orders in
    words."""
    require_configured(opened.settings, () if account is None else (account,))
    start = opened.time_of("--since", since)
    accounts = list(opened.settings.accounts) if account is None else [account]
    with opened.database.read() as connection:
        found = unresolved_since(connection, start, accounts)
    return found, _("unresolved") if start is None else _("unresolved since %(time)s", time_text(start))


def _given_up_or_changed(opened: Session, account: str | None, since: str | None) -> Sequence[int]:
    """The orders with a notification that was given up. With `since`, instead the orders that have changed since that
    time."""
    start = opened.time_of("--since", since)
    with opened.database.read() as connection:
        if start is None:
            return orders_given_up(connection, account)
        say("Changed since %(time)s:", time_text(start), err=True)
        return orders_changed_since(connection, start, account)
