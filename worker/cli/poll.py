"""`reconciler poll`: send one query for named orders, and explain its answer."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import typer

from worker.adapters.platform.client import Exchanged, PlatformClient, decoded
from worker.adapters.platform.exchange import Received
from worker.adapters.safe_text import Redactor, report_text
from worker.cli.accounts import habits_to_response, read_lasts
from worker.cli.acts import Act, ActOnOrders, Yes, acting_on_orders, confirm
from worker.cli.app import CommandError
from worker.cli.explain import print_explanation, to_response
from worker.cli.order import Account, References
from worker.cli.output import console, counted, in_words, pause_in_words, print_fields, progress, text, time_text
from worker.cli.queries import show_query
from worker.cli.session import Session
from worker.cli.times import AGE_RULE, read_duration
from worker.domain.accounts.waits import restart_stepped_backoff
from worker.domain.queries.choose_batch import refuse_together
from worker.domain.queries.explain_reply import Explanation
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import Malformed
from worker.domain.records.operators import ActKind
from worker.domain.records.orders import Order
from worker.domain.records.queries import Query
from worker.domain.records.sentences import _
from worker.domain.wire.query_request import MAX_IDS, WireRequest
from worker.operations.act_by_hand import Operator
from worker.operations.maintain_slots import SlotMaintenance, longer_window_remedy
from worker.operations.reserve_slot import Grants, choose_named, read_orders_to_poll
from worker.process.intake import Intake
from worker.process.runtime import Parts, make_reconciler, open_database
from worker.settings.rules import app_ids_of, rules_of, slots_of
from worker.views.accounts import read_state
from worker.views.queries import read_query
from worker.words import lasting

_LONGEST_NAP = 1.0
_READ = ("answered", "refused", "malformed", "http_error")
_OF_REPLY = ("status", "content_type", "content_encoding", "retry_after")
_WAIT: Any = typer.Option(
    "--wait", metavar="DURATION", help=f"For how long to wait for the slot: {AGE_RULE}.", callback=read_lasts
)


def poll(
    refs: References, account: Account = "default", wait: Annotated[str, _WAIT] = "10m", yes: Yes = False, *, act: Act
) -> None:
    """Poll 1 to 100 orders with one query now, and explain the request, the answer, and what the answer proves.

    The query is like any other: it waits for the slot of the account SID, is recorded, and settles the orders whose
    result the answer proves. All orders must have the same account and the same kind of id. The orders need not be due;
    a final order only gets new events in its history. A running worker may take the slot first; then the command waits
    for the next one. Ctrl-C ends the wait.

    Examples:
      reconciler poll 2016010000000219
      reconciler poll id:42 id:43 --wait 3m --yes --json
    """
    with acting_on_orders(act, needs_accounts=True) as acting:
        orders, who = _name_orders(acting, account, refs), act.operator()
        count = counted(len(orders), "order")
        what = _("One query polls %(orders)s of %(account)s at the platform.", count, orders[0].account)
        if act.dry_run:
            acting.end_with({"orders": len(orders)}, what)
        confirm(what, _("Send it?"), yes=yes)
        seen: list[Exchanged] = []
        until = time.monotonic() + (read_duration(wait) or timedelta()).total_seconds()
        query = _poll(acting.opened, orders, who, seen.append, until)
        who.log(ActKind.POLL, orders=len(orders))
        _show(acting, query, *seen[0])


def _name_orders(acting: ActOnOrders, account: str, refs: Sequence[str]) -> Sequence[Order]:
    """The orders that `refs` name. Ends the command if one of them is refused. Raises CommandError if a single query
    cannot poll all of them."""
    named = acting.named(account, refs, only_configured=True)
    orders = read_orders_to_poll(acting.opened.database, named)
    for order_id in named.keys() - {order.id for order in orders}:
        acting.refuse(named[order_id], _("was deleted meanwhile"))
    if acting.rejected:
        acting.end_with({"query": None}, _("Nothing was sent."))
    alike: dict[tuple[str, str], list[int]] = {}
    for order in orders:
        alike.setdefault((order.account, order.id_kind.value), []).append(order.id)
    if len(alike) > 1:
        parts = (f"{name} by {kind}: {' '.join(f'id:{one}' for one in ids)}" for (name, kind), ids in alike.items())
        raise CommandError(
            "one query polls orders of one account and one kind of id; split them: %(parts)s",
            "; ".join(sorted(parts)),
            status=2,
        )
    if len(orders) > MAX_IDS:
        raise CommandError("a query polls at most %(most)s orders, not %(count)s", MAX_IDS, len(orders), status=2)
    return orders


def _poll(
    opened: Session, orders: Sequence[Order], who: Operator, observe: Callable[[Exchanged], None], until: float
) -> Query:
    settings, rules = opened.settings, rules_of(opened.settings)
    grants = partial(Grants, choose=partial(choose_named, ids=[order.id for order in orders], by=who))
    parts = Parts(grants=grants, client=partial(PlatformClient, observe=observe))
    clock, slots = parts.clock(), [slot for slot in slots_of(settings) if orders[0].account in slot.app_ids]
    with closing(open_database(settings, parts)) as database, progress(text("Waiting for the slot")) as show:
        intake = Intake(database, rules, app_ids_of(settings))
        reconciler = make_reconciler(settings, parts, clock, database, intake)
        maintenance = SlotMaintenance(database, clock, rules)
        # This first call creates the rows of slots that have no row yet.
        maintenance.openings(slots)
        while True:
            held = _held_seconds(opened, orders)
            opening = min(maintenance.openings(slots, within_seconds=math.inf), key=lambda one: one.in_seconds)
            waits = max(held, opening.in_seconds)
            if not waits and (query := reconciler.reconcile(opening.slot)) is not None:
                return query
            if opening.in_seconds == math.inf and maintenance.longer_windows:
                longer = maintenance.longer_windows[0]
                remedy = longer_window_remedy(longer.our_window, longer.its_window)
                raise CommandError("nothing was sent: %(why)s", remedy)
            what = _("the slot opens in %(lasts)s", lasting(waits))
            if held:
                what = _("another query polls one of them, for at most %(lasts)s", lasting(waits))
            if time.monotonic() + waits > until:
                raise CommandError("nothing was sent: %(what)s, which is longer than --wait", what)
            show(in_words(what), 0)
            # If the slot is open and we did not get it, another process holds it at the moment. Then try again after
            # `_LONGEST_NAP`.
            time.sleep(min(waits or _LONGEST_NAP, _LONGEST_NAP))


def _held_seconds(opened: Session, named: Sequence[Order]) -> float:
    """How many seconds other queries may still hold any of the named orders; zero if no query holds one.

    Raises CommandError if waiting does not help.
    """
    account, rules = named[0].account, rules_of(opened.settings)
    with opened.database.read() as connection:
        now = opened.database.now(connection)
        state = restart_stepped_backoff(read_state(connection, account), now)
    orders = read_orders_to_poll(opened.database, [order.id for order in named])
    why = refuse_together(orders, state, rules)
    if pause := state.pause(now):
        why = _("%(account)s: %(what)s", account, pause_in_words(pause))
    elif state.backoff_until is not None and state.is_backed_off(now):
        until, lasts = time_text(state.backoff_until), state.backoff_until - now
        why = _("%(account)s backs off until %(until)s, %(lasts)s more", account, until, lasts)
    elif len(orders) < len(named):
        why = _("an order was deleted since it was named")
    if why:
        raise CommandError("nothing was sent: %(why)s", why)
    return max(((one.due_at - now).total_seconds() for one in orders if one.is_leased(now)), default=0.0)


def _show(acting: ActOnOrders, query: Query, request: WireRequest, received: Received) -> None:
    signed = (request.url.rpartition("Sign=")[2], request.headers["Authorization"])
    redactor = Redactor([*acting.opened.settings.secrets, *signed])
    came = {name: getattr(received, name) for name in _OF_REPLY}
    reply = {name: report_text(value, redactor) if isinstance(value, str) else value for name, value in came.items()}
    sent = {"url": request.url, **request.headers, "body": request.body.decode()}
    with acting.opened.database.snapshot() as connection:
        found, state = read_query(connection, query.id), read_state(connection, query.account)
    assert found is not None
    # The explanation already shows the answer's items, masked; so leave the excerpt and the added items out here. The
    # platform's `status_msg` stays and is masked here.
    said = found.query["status_msg"] and report_text(found.query["status_msg"], redactor)
    whole = replace(found, query={**found.query, "status_msg": said, "answer_excerpt": None}, added=[])
    response: dict[str, Any] = {
        "request": {key: report_text(value, redactor, key=key) for key, value in sent.items()},
        "reply": {
            name: value if name == "status" else report_text(value or "", redactor) for name, value in reply.items()
        },
        "explanation": _explained(query, found.query["outcome"], received, rules_of(acting.opened.settings), redactor),
        "account": habits_to_response(state),
        "query": whole.query,
        "orders": whole.orders,
    }
    if acting.act.as_json:
        acting.act.print_json(response)
        return
    print_fields(console(), {**response["request"], **response["reply"], **response["account"]})
    typer.echo()
    if response["explanation"]:
        print_explanation(response["explanation"])
    show_query(whole)


def _explained(
    query: Query, outcome: object, received: Received, rules: Rules, redactor: Redactor
) -> dict[str, Any] | None:
    """The explanation as JSON; None if no complete answer came in time, because an incomplete answer proves nothing."""
    if received.status is None or outcome not in _READ:
        return None
    kind, status, body = received.content_type, received.status, b""
    with suppress(Malformed):
        body = decoded(bytes(received.body), received.content_encoding)
    reply = Explanation(query=query, body=body, content_type=kind, http_status=status, rules=rules)
    return to_response(reply, redactor)
