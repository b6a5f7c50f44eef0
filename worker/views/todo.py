"""Read everything that needs a person, in one list."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection

from worker.database.transactions import Database
from worker.domain.monitoring.findings import polls_alone_a_day
from worker.domain.monitoring.todo import (
    REFUSED_WITHIN,
    UNMATCHED_FOR,
    AccountTodo,
    TodoKind,
    accounts_to_do,
    alone_to_do,
    endpoints_to_do,
)
from worker.domain.monitoring.worker_processes import polled_accounts
from worker.domain.notifications.endpoint_watch import REFUSED_FOR, takes_others
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.notifications import Endpoint, NotificationState
from worker.domain.records.orders import Attention
from worker.stores.notifications import read_endpoints
from worker.stores.pending_orders import read_pending_count
from worker.views import counts
from worker.views.accounts import accounts_with_pending, read_states, read_workers
from worker.views.notifications import (
    long_refused,
    recent_notifications,
)
from worker.views.orders import OrderSearch, count_found, find_orders
from worker.views.page import PAGE_SECONDS
from worker.views.queries import past_queries
from worker.views.rejected_and_unmatched import (
    recent_rejected,
    recent_unmatched,
)
from worker.words.catalogue import COMMAND_LINE, means, remedy

MOST_COUNTED = 10_000

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class TodoGroup:
    """Everything that needs a person for one reason."""

    kind: str
    """`order`, `account`, `endpoint`, `notification`, `rejected` or `unmatched`."""
    reason: Attention | TodoKind
    count: int
    is_more: bool
    """Whether there are more items than `count`, which has an upper limit."""
    items: list[Row]
    """The newest items, each with `account`, `ref`, `id`, `since`, `until`, `note`."""

    @property
    def what_to_do(self) -> str:
        """The meaning of the reason, and the commands that deal with it."""
        return f"{means(self.reason, COMMAND_LINE)} {remedy(self.reason, COMMAND_LINE)}"


def read_todo(
    database: Database,
    rules: Rules,
    configured: Collection[str],
    tick_allowance_seconds: float,
    most: int,
    *,
    most_counted: int = MOST_COUNTED,
    with_orders: bool = True,
) -> tuple[list[TodoGroup], datetime]:
    """Everything that needs a person, and the database's time. Reasons without items are left out.

    Up to `most` items of a reason are read, and up to `most_counted` are counted. `configured` are the accounts of our
    settings; if no worker runs, they replace the accounts that workers poll. Without `with_orders`, orders are left
    out.
    """
    with database.snapshot() as connection:
        now = database.now(connection)
        polled = polled_accounts(read_workers(connection), configured, now, tick_allowance_seconds)
        groups = _every_group(connection, rules, polled, now, most, most_counted, with_orders=with_orders)
    return [group for group in groups if group.count], now


def _every_group(
    connection: Connection,
    rules: Rules,
    polled: Collection[str],
    now: datetime,
    most: int,
    most_counted: int,
    *,
    with_orders: bool = True,
) -> list[TodoGroup]:
    reasons = (*Attention, TodoKind.UNRESOLVED) if with_orders else ()
    notifications, endpoints = counts.watched_notifications(connection, now), read_endpoints(connection).values()
    return [
        *_accounts(connection, rules, polled, now),
        *_groups("endpoint", endpoints_to_do(endpoints, notifications, now)),
        _given_up(connection, sum(one.gave_up for one in notifications.values()), most, most_counted),
        _refused(connection, endpoints, now, most, most_counted),
        *(_orders(connection, reason, most, most_counted) for reason in reasons),
        _rejected(connection, now, most, most_counted),
        _unmatched(connection, now, most, most_counted),
    ]


def todo_rows(groups: Iterable[TodoGroup]) -> list[Row]:
    """Each item of the groups as a row of the list's CSV."""
    return [
        {"kind": group.kind, "reason": group.reason.value, "what_to_do": group.what_to_do, **item}
        for group in groups
        for item in group.items
    ]


def _accounts(connection: Connection, rules: Rules, polled: Collection[str], now: datetime) -> list[TodoGroup]:
    with_pending = accounts_with_pending(connection)
    states = read_states(connection)
    queries = past_queries(connection, len(states))
    found = accounts_to_do(states, with_pending, polled, queries, now, rules)
    return _groups("account", [*found, *alone_to_do(_polled_alone(connection, states, polled, now, rules))])


def _polled_alone(
    connection: Connection, states: Iterable[AccountState], polled: Collection[str], now: datetime, rules: Rules
) -> dict[str, tuple[int, int]]:
    """How many orders wait for a query about them alone, and how many such queries a day has room for. Only for
    accounts with more such orders than such queries."""
    known = [state for state in states if state.account in polled]
    blind = [state.account for state in known if not state.may_batch_custom_parm(now, rules)]
    waiting = counts.polled_alone(connection, polled, blind, MOST_COUNTED)
    found = {}
    for state in known:
        orders = waiting.get(state.account, 0)
        if orders > polls_alone_a_day(state, rules, has_others=True):
            has_others = read_pending_count(connection, state.account, orders + 1) > orders
            found[state.account] = orders, polls_alone_a_day(state, rules, has_others=has_others)
    return found


def _groups(kind_of_all: str, found: Sequence[AccountTodo]) -> list[TodoGroup]:
    groups = []
    for kind, listed in groupby(found, attrgetter("kind")):
        items = [
            _item(
                None,
                one.account,
                one.account,
                one.since,
                ": ".join(filter(None, (one.by, one.note))) or None,
                one.until,
            )
            for one in listed
        ]
        groups.append(TodoGroup(kind=kind_of_all, reason=kind, count=len(items), is_more=False, items=items))
    return groups


def _orders(connection: Connection, reason: Attention | TodoKind, most: int, most_counted: int) -> TodoGroup:
    wanted = _search_of(reason)
    items = [_order(row) for row in find_orders(connection, wanted, most=most).rows]
    count = count_found(connection, wanted, most_counted + 1, PAGE_SECONDS)
    if count is None:
        # Counting took too long, so the number of the orders is unknown.
        return TodoGroup(kind="order", reason=reason, count=len(items), is_more=True, items=items)
    return _group("order", reason, count, items, most_counted)


def _search_of(reason: Attention | TodoKind) -> OrderSearch:
    """The search for the orders that show a reason; for unresolved orders that show none, if the reason is
    `UNRESOLVED`."""
    return OrderSearch(attention=[reason if isinstance(reason, Attention) else None])


def _given_up(connection: Connection, count: int, most: int, most_counted: int) -> TodoGroup:
    state = NotificationState.GAVE_UP
    page = recent_notifications(connection, account=None, state=state, after=None, most=most)
    items = [_notification(row) for row in page.rows]
    return _group("notification", TodoKind.NOTIFICATION_GAVE_UP, count, items, most_counted)


def _refused(
    connection: Connection, endpoints: Iterable[Endpoint], now: datetime, most: int, most_counted: int
) -> TodoGroup:
    accounts = _taking_others(endpoints)
    count, rows = long_refused(connection, accounts, now - REFUSED_FOR, most, most_counted + 1)
    items = [_notification(row) for row in rows]
    return _group("notification", TodoKind.NOTIFICATION_REFUSED, count, items, most_counted)


def _taking_others(endpoints: Iterable[Endpoint]) -> list[str]:
    return [one.account for one in endpoints if takes_others(one)]


def _rejected(connection: Connection, now: datetime, most: int, most_counted: int) -> TodoGroup:
    since = now - REFUSED_WITHIN
    page = recent_rejected(connection, since=since, only_open=True, after=None, most=most)
    count = counts.rejected_since(connection, since, most_counted + 1)
    return _group("rejected", TodoKind.REJECTED, count, [_refused_input(row) for row in page.rows], most_counted)


def _unmatched(connection: Connection, now: datetime, most: int, most_counted: int) -> TodoGroup:
    before = now - UNMATCHED_FOR
    page = recent_unmatched(connection, before=before, after=None, most=most)
    count = counts.unmatched_before(connection, before, most_counted + 1)
    return _group("unmatched", TodoKind.UNMATCHED, count, [_callback(row) for row in page.rows], most_counted)


def _group(kind: str, reason: Attention | TodoKind, count: int, items: list[Row], most_counted: int) -> TodoGroup:
    return TodoGroup(
        kind=kind, reason=reason, count=min(count, most_counted), is_more=count > most_counted, items=items
    )


def _notification(row: Row) -> Row:
    said = (row["outcome"], row["http_status"], row["answer"])
    note = " ".join(str(part) for part in said if part is not None) or None
    return _item(row["id"], row["account"], f"id:{row['order_id']}", row["changed_at"], note)


def _refused_input(row: Row) -> Row:
    return _item(row["id"], None, str(row["id"]), row["received_at"], row["errors"].parts[0])


def _callback(row: Row) -> Row:
    return _item(row["id"], row["account"], row["request_id"] or row["custom_parm"], row["received_at"])


def _order(row: Row) -> Row:
    ref = row["request_id"] or row["custom_parm"]
    return _item(row["id"], row["account"], ref, row["updated_at"], row["state"].value)


def _item(
    row_id: int | None,
    account: str | None,
    ref: str,
    since: datetime | None,
    note: str | None = None,
    until: datetime | None = None,
) -> Row:
    return {"account": account, "ref": ref, "id": row_id, "since": since, "until": until, "note": note}
