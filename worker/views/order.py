"""Reading one order's story: its row, what happened to it, the queries that polled it, and what happens next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.database.transactions import Database
from worker.domain.order_notifications import notification_row
from worker.domain.records.orders import OrderState
from worker.domain.records.parameters import Rules
from worker.stores.command_line_reads import events_of, queries_about
from worker.stores.notification_rows import notifications_of
from worker.views.watching import Outlook, read_next_step

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """An order and all that is known of it; every list is the oldest first."""

    order: Row
    """Its row; `due_at` is None where it is not pending."""
    outlook: Outlook | None
    """What it waits for; None where it is archived."""
    events: list[Row]
    queries: list[Row]
    notifications: list[Row]


def read_story(
    database: Database, order: Row, sids: Mapping[str, str], tick_allowance_seconds: float, rules: Rules
) -> Story:
    """The story of an order that was found. `sids` are the SIDs of the accounts that the settings name."""
    with database.snapshot() as connection:
        events, queries = events_of(connection, order["id"]), queries_about(connection, order)
        told = [notification_row(one) for one in notifications_of(connection, [order["id"]])]
    outlook = read_next_step(database, order["id"], sids.get(order["account"]), tick_allowance_seconds, rules)
    # Of an order that is not pending it is what was planned before: nobody polls it any more.
    due_at = order["due_at"] if order["state"] is OrderState.PENDING else None
    return Story(order={**order, "due_at": due_at}, outlook=outlook, events=events, queries=queries, notifications=told)
