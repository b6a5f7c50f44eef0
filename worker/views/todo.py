"""Reading all that needs a person, in one list."""

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, UnaryExpression, and_, func, select

from worker.database.tables import ORDERS, UNRESOLVED_STATE
from worker.database.transactions import Database
from worker.domain.notifications.endpoint_watch import REFUSED_FOR, takes_others
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.notifications import Endpoint, NotificationState
from worker.domain.records.orders import Attention, OrderState
from worker.domain.watching.monitoring import polls_alone_a_day
from worker.domain.watching.todo import (
    REFUSED_WITHIN,
    UNMATCHED_FOR,
    AccountTodo,
    TodoKind,
    accounts_to_do,
    alone_to_do,
    endpoints_to_do,
)
from worker.domain.watching.workers import polled_accounts
from worker.stores.notifications import read_endpoints
from worker.stores.pending_orders import read_pending_count
from worker.views import counts
from worker.views.accounts import accounts_with_pending, read_states, read_workers
from worker.views.inbox import (
    LONG_ROWS_AT_ONCE,
    recent_rejected,
    recent_unmatched,
)
from worker.views.notifications import (
    every_long_refused,
    long_refused,
    recent_notifications,
)
from worker.views.orders import OrderSearch, find_orders
from worker.views.page import every_row
from worker.views.queries import past_queries
from worker.words.catalogue import COMMAND_LINE, means, remedy

MOST_COUNTED = 10_000

Row = dict[str, Any]

_SHOWN = [
    ORDERS.c[name]
    for name in ("id", "account", "request_id", "custom_parm", "state", "attention", "submitted_at", "updated_at")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class TodoGroup:
    """Everything that needs a person for one reason."""

    kind: str
    """`order`, `account`, `endpoint`, `notification`, `rejected` or `unmatched`."""
    reason: Attention | TodoKind
    count: int
    is_more: bool
    """Whether there are more than were counted."""
    items: list[Row]
    """Those that were changed last: `account`, `ref`, `id`, `since`, `until`, `note`."""

    @property
    def what_to_do(self) -> str:
        """What the reason means, and what to do about it by commands."""
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
    """All that needs a person, so many items of each reason, and the database's time. Reasons without items are left
    out. `configured` are the accounts of our settings: they stand for those of the workers where none runs.

    Without orders (`with_orders`) other things alone. Of each reason so many are counted, and those that changed last
    are searched among them.
    """
    with database.snapshot() as connection:
        now = database.now(connection)
        polled = polled_accounts(read_workers(connection), configured, now, tick_allowance_seconds)
        groups = _every_group(connection, rules, polled, now, most, most_counted, with_orders=with_orders)
    return [group for group in groups if group.count], now


def every_todo(
    database: Database, rules: Rules, configured: Collection[str], tick_allowance_seconds: float
) -> Generator[Row, None, None]:
    """All that needs a person, of one moment, as rows of the list's CSV; a page is held at a time."""
    with database.snapshot() as connection:
        now = database.now(connection)
        polled = polled_accounts(read_workers(connection), configured, now, tick_allowance_seconds)
        for group in _every_group(connection, rules, polled, now, 1, 1):
            for item in _every_item(connection, group, now):
                yield _csv_row(group, item)


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
    orders = [_orders(connection, reason, most, most_counted) for reason in Attention if with_orders]
    orders += [_unresolved(connection, most, most_counted)] if with_orders else []
    notifications, endpoints = counts.watched_notifications(connection, now), read_endpoints(connection).values()
    return [
        *_accounts(connection, rules, polled, now),
        *_groups("endpoint", endpoints_to_do(endpoints, notifications, now)),
        _given_up(connection, sum(one.gave_up for one in notifications.values()), most, most_counted),
        _refused(connection, endpoints, now, most, most_counted),
        *orders,
        _rejected(connection, now, most, most_counted),
        _unmatched(connection, now, most, most_counted),
    ]


def _every_item(connection: Connection, group: TodoGroup, now: datetime) -> Iterable[Row]:
    """All items of a group, those of orders and others whose number has no bound by the order of their indexes."""
    match group.reason:
        case Attention():
            return map(_order, _every_order(connection, OrderSearch(attention=[group.reason])))
        case TodoKind.UNRESOLVED:
            unresolved = _every_order(connection, OrderSearch(states=[OrderState.UNRESOLVED]))
            return (_order(row) for row in unresolved if row["attention"] is None)
        case TodoKind.NOTIFICATION_GAVE_UP:
            gave_up = partial(recent_notifications, connection, account=None, state=NotificationState.GAVE_UP)
            return map(_notification, every_row(gave_up))
        case TodoKind.NOTIFICATION_REFUSED:
            accounts = _taking_others(read_endpoints(connection).values())
            return map(_notification, every_long_refused(connection, accounts, now - REFUSED_FOR))
        case TodoKind.REJECTED:
            refused = partial(recent_rejected, connection, since=now - REFUSED_WITHIN, only_open=True)
            return map(_refused_input, every_row(refused, at_once=LONG_ROWS_AT_ONCE))
        case TodoKind.UNMATCHED:
            return map(_callback, every_row(partial(recent_unmatched, connection, before=now - UNMATCHED_FOR)))
    return group.items


def _every_order(connection: Connection, wanted: OrderSearch) -> Iterator[Row]:
    return every_row(partial(find_orders, connection, wanted))


def todo_rows(groups: Iterable[TodoGroup]) -> list[Row]:
    """Each item of the groups as a row of the list's CSV."""
    return [_csv_row(group, item) for group in groups for item in group.items]


def _csv_row(group: TodoGroup, item: Row) -> Row:
    return {"kind": group.kind, "reason": group.reason.value, "what_to_do": group.what_to_do, **item}


def _accounts(connection: Connection, rules: Rules, polled: Collection[str], now: datetime) -> list[TodoGroup]:
    with_pending = accounts_with_pending(connection)
    states = read_states(connection)
    queries = past_queries(connection, len(states))
    found = accounts_to_do(states, with_pending, polled, queries, now, rules)
    return _groups("account", [*found, *alone_to_do(_polled_alone(connection, states, polled, now, rules))])


def _polled_alone(
    connection: Connection, states: Iterable[AccountState], polled: Collection[str], now: datetime, rules: Rules
) -> dict[str, tuple[int, int]]:
    """How many orders wait for a query of their own, and the polls of a day, if an account may have too many."""
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


def _orders(connection: Connection, reason: Attention, most: int, most_counted: int) -> TodoGroup:
    count, rows = orders_with_attention(connection, reason, most, most_counted + 1)
    return _group("order", reason, count, [_order(row) for row in rows], most_counted)


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


def _unresolved(connection: Connection, most: int, most_counted: int) -> TodoGroup:
    count, rows = unresolved_without_attention(connection, most, most_counted + 1)
    return _group("order", TodoKind.UNRESOLVED, count, [_order(row) for row in rows], most_counted)


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


def orders_with_attention(
    connection: Connection, reason: Attention, most: int, most_counted: int
) -> tuple[int, list[Row]]:
    """How many orders show a reason, as far as they are counted, and those of them that were changed last."""
    shown = and_(ORDERS.c.attention.is_not(None), ORDERS.c.attention == reason)
    by_index = (ORDERS.c.attention.desc(), ORDERS.c.submitted_at.desc(), ORDERS.c.id.desc())
    counted = select(ORDERS.c.id).where(shown).order_by(*by_index).limit(most_counted).subquery()
    # No index has the times: what was counted is sorted, and no more.
    known = select(*_SHOWN).where(shown).order_by(*by_index).limit(most_counted).subquery()
    return _number_of(connection, counted), _rows(connection, select(known).order_by(*_last_changed(known)).limit(most))


def unresolved_without_attention(connection: Connection, most: int, most_read: int) -> tuple[int, list[Row]]:
    """The same of unresolved orders that show no reason; as far as they are among the first `most_read`."""
    by_index = (ORDERS.c.state, ORDERS.c.submitted_at)
    unresolved = (
        select(*_SHOWN).where(ORDERS.c.state == UNRESOLVED_STATE).order_by(*by_index).limit(most_read).subquery()
    )
    without: ColumnElement[bool] = unresolved.c.attention.is_(None)
    listed = select(unresolved).where(without).order_by(*_last_changed(unresolved)).limit(most)
    return _number_of(connection, select(unresolved.c.id).where(without).subquery()), _rows(connection, listed)


def _last_changed(orders: Subquery) -> tuple[UnaryExpression[Any], ...]:
    return (orders.c.updated_at.desc(), orders.c.id.desc())


def _number_of(connection: Connection, rows: Any) -> int:
    return connection.scalar(select(func.count()).select_from(rows)) or 0


def _rows(connection: Connection, statement: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(statement).mappings()]
