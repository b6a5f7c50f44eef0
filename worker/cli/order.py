"""Find the order that a person names by one of its ids or by its row id. Also `reconciler order`, which shows an
order's row, events, queries, notifications and next step."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from worker.adapters.safe_text import one_line
from worker.cli.app import CommandError
from worker.cli.output import (
    SKIN,
    AsJson,
    console,
    detail_of,
    outcome_name,
    print_fields,
    print_json,
    print_table,
    text,
    value_text,
    word_of,
)
from worker.cli.session import Session, account_option, require_known, session
from worker.domain.monitoring.worker_processes import tick_allowance
from worker.domain.records.accounts import Rules
from worker.domain.records.notifications import DeliveryOutcome
from worker.domain.records.sentences import Sentence, _, joined
from worker.domain.wire.fields import id_fault, normalise_mobile, order_id_fault
from worker.settings.rules import rules_of, sids_of
from worker.views.order import Outlook, Row, Story, order_by_id, orders_named, orders_with_id, read_story
from worker.words.sentences import DELETED, next_in_words, wait_in_words

REF_HELP = "A request_id or a custom_parm; or id:N, by the row's id, which needs no --account."
Account = Annotated[str, account_option("The account that the orders belong to.")]
Reference = Annotated[str, typer.Argument(metavar="REF", help=REF_HELP)]
References = Annotated[list[str], typer.Argument(metavar="REF...", help=REF_HELP)]

_ROW_ID = re.compile(r"id:([0-9]{1,18})")
_FOUND_AT_ONCE = 500
_EVENT_COLUMNS = ("at", "kind", "source", "query", "change", "said")
_QUERY_COLUMNS = ("id", "sent_at", "outcome", "orders", "this_order")
_TOLD_COLUMNS = ("id", "type", "changed_at", "state", "tries", "due_at", "outcome", "delivered_at", "answer")
# The columns whose texts come from outside and may have any length.
_NOTES = ("said", "outcome", "answer")


def order(ref: Reference, account: Account = "default", as_json: AsJson = False) -> None:
    """Show one order: its next step, with time and reason of the wait, its row, history, queries and notifications.

    Amounts are in yuan.

    Examples:
      reconciler order 2016010000000219
      reconciler order A-1001 --account shop
      reconciler order id:42
    """
    with session(utc=as_json) as opened:
        found = named_orders(opened, account, [ref])[ref]
        if isinstance(found, Sentence):
            raise CommandError("%(why)s", found)
        rules, sids = rules_of(opened.settings), sids_of(opened.settings)
        allowance = tick_allowance(opened.settings.check_tick_seconds, opened.settings.tick_seconds)
        story = read_story(opened.database, found, sids, allowance, rules)
    if as_json:
        following = None if story.outlook is None else to_response(story.outlook, rules)
        told = {"events": story.events, "queries": story.queries, "notifications": story.notifications}
        print_json({"order": story.order, "next": following, **told})
    else:
        _show_order(story, rules)


def _show_order(story: Story, rules: Rules) -> None:
    outlook, events, queries = story.outlook, story.events, story.queries
    out = console()
    print_fields(out, story.order)
    out.print()
    if outlook is None:
        typer.echo(text(DELETED))
    else:
        typer.echo(text("Next: %(what)s", next_in_words(outlook.next_step, outlook.now, SKIN)))
        for step in outlook.next_step.steps:
            typer.echo(f"- {wait_in_words(step, outlook.state, outlook.now, rules, SKIN)}")
    told = [notification_row(one) for one in story.notifications]
    for title, listed, columns, rows in (
        (text("Events"), "events", _event_columns(events), [_event_row(event) for event in events]),
        (text("Queries that polled it"), "queries", _QUERY_COLUMNS, [_query_row(query) for query in queries]),
        (text("Notifications of it"), "notifications", _TOLD_COLUMNS, told),
    ):
        out.print()
        if rows:
            print_table(out, columns, rows, title=title, long_texts=_NOTES, listed=listed)
        else:
            out.print(text("%(what)s: none yet.", title))


def _event_columns(events: Sequence[Row]) -> Sequence[str]:
    # The column `by` is shown only if an operator has acted on the order, which is rare.
    by = ("by",) if any(event["actor"] for event in events) else ()
    return (*_EVENT_COLUMNS[:3], *by, *_EVENT_COLUMNS[3:])


def _event_row(event: Row) -> dict[str, object]:
    before, after = event["from_state"], event["to_state"]
    parts = [*(event[name] for name in ("traffic_sts", "ori_amount", "remark")), detail_of(event["detail"])]
    said = [part for part in parts if part is not None]
    if event["repeats"]:
        said.append(text("said %(count)s times more", event["repeats"]))
    change = f"{value_text(before)} > {value_text(after)}" if before != after and before is not None else None
    return {**event, "by": event["actor"], "query": event["query_id"], "change": change, "said": " | ".join(said)}


def _query_row(query: Row) -> dict[str, object]:
    answer = [str(query[name]) for name in ("http_status", "status_code", "status_msg") if query[name] is not None]
    outcome = outcome_name(query["outcome"])
    is_answered = query["outcome"] == "answered"
    how = outcome if is_answered or not answer else text("%(what)s (%(why)s)", outcome, " ".join(answer))
    this_order = text("left out") if query["absent"] else text("was answered") if is_answered else None
    return {**query, "outcome": how, "orders": query["order_count"], "this_order": this_order}


def notification_row(row: Row) -> Row:
    """A notification as a row of a table."""
    is_pending = row["state"] == "pending"
    outcome = word_of(DeliveryOutcome, row["outcome"] or "")
    outcome = " ".join(filter(None, (outcome, value_text(row["http_status"]))))
    order = row["request_id"] or row["custom_parm"]
    return {**row, "order": order, "due_at": row["due_at"] if is_pending else None, "outcome": outcome or None}


def to_response(outlook: Outlook, rules: Rules) -> dict[str, Any]:
    """The next step of an order, as JSON."""
    following = outlook.next_step
    return {
        "polled_at": following.polled_at,
        "is_at_the_earliest": following.is_at_the_earliest,
        "in_words": next_in_words(following, outlook.now, SKIN),
        "why": [
            {
                "wait": step.wait.value,
                "until": step.until,
                "orders_before": step.count,
                "in_words": wait_in_words(step, outlook.state, outlook.now, rules, SKIN),
            }
            for step in following.steps
        ],
    }


def named_orders(opened: Session, account: str, references: Sequence[str]) -> dict[str, Row | Sentence]:
    """Map each reference to the order that it names, or to a sentence: why the reference names no single order, and
    what to do.

    Raises CommandError if a reference needs the account and the account is unknown.
    """
    row_ids = {reference: found[1] for reference in references if (found := _ROW_ID.fullmatch(reference))}
    names = [reference for reference in references if reference not in row_ids]
    if names:
        require_known(opened, [account])
    with opened.database.snapshot() as connection:
        rows = orders_named(connection, account, names) if names else []
        by_row = {
            reference: _of_row(reference, order_by_id(connection, int(row_id)), orders_with_id(connection, reference))
            for reference, row_id in row_ids.items()
        }
    return {reference: by_row.get(reference) or _only(reference, account, rows) for reference in references}


def find_in_parts(opened: Session, account: str, references: Sequence[str]) -> Iterator[tuple[str, Row | Sentence]]:
    """The results of `named_orders` for any number of references, read 500 at a time. Raises CommandError like
    `named_orders`."""
    for start in range(0, len(references), _FOUND_AT_ONCE):
        yield from named_orders(opened, account, references[start : start + _FOUND_AT_ONCE]).items()


def _of_row(reference: str, row: Row | None, named: Sequence[Row]) -> Row | Sentence:
    """The order that a reference such as `id:7` names by its row id. An earlier release also accepted `id:7` as an
    order's own id. If another order has this id, the result is a sentence that lists the possible meanings."""
    others = [other for other in named if row is None or other["id"] != row["id"]]
    if others:
        meant = [_("the id of order %(order)s", f"id:{other['id']}") for other in others]
        if row is not None:
            own = f"{row['account']}:{row['request_id'] or row['custom_parm']}"
            meant.insert(0, _("the row of order %(order)s", own))
        return _("%(ref)s is %(meant)s: name the order by another of its ids", reference, joined(meant))
    return row or _("there is no order %(ref)s; `reconciler orders` lists the newest ones", reference)


def _only(reference: str, account: str, rows: Sequence[Row]) -> Row | Sentence:
    named = [row for row in rows if reference in (row["request_id"], row["custom_parm"])]
    shown = one_line(reference)
    if len(named) == 1:
        return named[0]
    if named:
        listed = " and ".join(f"id:{row['id']}" for row in named)
        return _("%(ref)s names two orders, %(ids)s: use one of these", shown, listed)
    # If a spreadsheet has rewritten an id, a special message says so. A text that cannot be an id gets the usual
    # message below.
    if id_fault(reference) is None and (fault := order_id_fault(reference)):
        return fault
    whose = one_line(account)
    why = _("there is no order %(ref)s in the account %(name)s; enqueue it first, or give its --account", shown, whose)
    if normalise_mobile(reference) is not None:
        return _("%(why)s; a phone number? `reconciler orders --mobile` finds the orders of one", why)
    return why
