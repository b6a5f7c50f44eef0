"""Read lists of notifications, and the ids of the orders that a resend selects."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from worker.database.bulk_statements import one_of
from worker.database.tables import GAVE_UP, NOT_PENDING, NOTIFICATIONS, ORDERS, PENDING_STATE, SHOWN
from worker.domain.notifications.endpoint_watch import EndpointView, endpoint_views
from worker.domain.notifications.events import notification_row
from worker.domain.records.notifications import NotificationState, Rank
from worker.stores.notifications import NOTIFICATION_COLUMNS, read_endpoints, to_notification
from worker.views import counts
from worker.views.page import PAGE_SECONDS, Bound, Listed, Page, apart, read_page, rows_by_id

Row = dict[str, Any]


def watched_endpoints(connection: Connection, now: datetime) -> list[EndpointView]:
    """For each account that has an endpoint, or has notifications that were not received: the endpoint, and the counts
    of these notifications."""
    endpoints = read_endpoints(connection).values()
    return endpoint_views(endpoints, counts.watched_notifications(connection, now), now)


def recent_notifications(
    connection: Connection,
    *,
    account: str | None,
    state: NotificationState | None,
    after: int | None,
    most: int,
    seconds: Bound = PAGE_SECONDS,
) -> Page[Row]:
    """The notifications that match, newest first, starting with the next older one than `after`. Each has the form that
    `notification_row` returns."""
    # Few notifications are given up or pending, and many are delivered. Those given up and those pending have indexes
    # of their own.
    is_indexed = state in (NotificationState.GAVE_UP, NotificationState.PENDING)
    columns = NOTIFICATIONS.c if is_indexed else apart(connection, NOTIFICATIONS)
    key: ColumnElement[int] = NOTIFICATIONS.c.id
    wanted = [] if account is None else [columns.account == account]
    if state is NotificationState.GAVE_UP:
        wanted.append(GAVE_UP)
    elif state is NotificationState.PENDING:
        wanted.append(columns.state == PENDING_STATE)
        # The list is ordered by an expression, so that no database reads the primary key backwards instead of the index
        # of pending notifications.
        key = (key + 0).label("id")
    elif state is not None:
        wanted.append(columns.state == state)
    listed = Listed(key=[key], within=wanted) if is_indexed else Listed(key=[key], filters=wanted)
    last = None if after is None else (after,)
    page = read_page(connection, listed, NOTIFICATIONS, NOTIFICATION_COLUMNS, after=last, most=most, seconds=seconds)
    return replace(page, rows=_to_rows(page.rows))


def long_refused(
    connection: Connection, accounts: Collection[str], before: datetime, most: int, most_counted: int
) -> tuple[int, list[Row]]:
    """The pending notifications of these accounts that were first refused before a time: how many there are, counted up
    to `most_counted`, and the newest `most` of them."""
    chosen = select(NOTIFICATIONS.c.id).where(
        one_of(connection, NOTIFICATIONS.c.account, accounts),
        NOTIFICATIONS.c.state == PENDING_STATE,
        NOTIFICATIONS.c.rank == int(Rank.RETRY),
        NOTIFICATIONS.c.refused_since < before,
    )
    ids = sorted(connection.scalars(chosen.limit(most_counted)), reverse=True) if accounts else []
    return len(ids), _to_rows(rows_by_id(connection, NOTIFICATIONS, ids[:most], NOTIFICATION_COLUMNS))


def orders_given_up(connection: Connection, account: str | None) -> list[int]:
    """The ids of the orders with a notification that was given up; of all accounts if `account` is None."""
    of_account = [] if account is None else [NOTIFICATIONS.c.account == account]
    return sorted(set(connection.scalars(select(NOTIFICATIONS.c.order_id).where(GAVE_UP, *of_account))))


def orders_changed_since(connection: Connection, since: datetime, account: str | None) -> list[int]:
    """The ids of the orders that changed at the time `since` or later.

    Most have a notification about a change at this time or later. If the notification may be gone, the order's own last
    change is used. This is done for orders that are no longer pending, and for pending orders that need a person or
    that a person reopened."""
    chosen = [
        select(NOTIFICATIONS.c.order_id, NOTIFICATIONS.c.account).where(NOTIFICATIONS.c.changed_at >= since),
        select(ORDERS.c.id, ORDERS.c.account).where(NOT_PENDING, ORDERS.c.updated_at >= since),
        select(ORDERS.c.id, ORDERS.c.account).where(SHOWN, ORDERS.c.updated_at >= since),
        select(ORDERS.c.id, ORDERS.c.account).where(
            ORDERS.c.state == PENDING_STATE, ORDERS.c.reopened_at.is_not(None), ORDERS.c.updated_at >= since
        ),
    ]
    found = [tuple(row) for statement in chosen for row in connection.execute(statement)]
    return sorted({order_id for order_id, of in found if account in (None, of)})


def _to_rows(rows: Iterable[Row]) -> list[Row]:
    return [notification_row(to_notification(row.values())) for row in rows]
