"""Read one order: its row, its events, the queries that polled it, its notifications, and what it waits for. Also read
the platform's last report on each of several orders."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, or_, select

from worker.database.bulk_statements import one_of
from worker.database.tables import EVENTS, NOTIFICATIONS, ORDERS, QUERIES
from worker.database.transactions import Database
from worker.domain.accounts.waits import restart_stepped_backoff
from worker.domain.monitoring.next_step import Circumstances, NextStep, next_step
from worker.domain.monitoring.worker_processes import is_ticking, polled_accounts
from worker.domain.notifications.events import notification_row
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.coded_texts import with_code
from worker.domain.records.orders import IdKind, Lane, Order, OrderState, Source
from worker.operations.learn import read_schedule
from worker.operations.reserve_slot import choose_due
from worker.stores.notifications import NOTIFICATION_COLUMNS, to_notification
from worker.stores.pending_orders import read_chosen
from worker.stores.recharge_orders import ORDER_COLUMNS, read_orders, to_order
from worker.views import counts
from worker.views.accounts import read_state, read_workers
from worker.views.queries import QUERY_COLUMNS, first_query_since, next_slot_at

Row = dict[str, Any]
"""A value for each column name: Decimal for amounts, aware datetimes in UTC for times."""

# The other columns are not shown: a query that has a lease's token may settle the order, and the rest is the worker's
# own bookkeeping.
SHOWN_COLUMNS = [
    ORDERS.c[name]
    for name in (
        *("id", "account", "request_id", "custom_parm", "mobile", "expected_amount", "state", "traffic_sts"),
        *("remark", "ori_amount", "settled_by", "attention", "submitted_at", "due_at", "queried_at", "query_count"),
        *("settled_at", "created_at", "updated_at", "id_kind", "lane", "check_requested_at", "amount_is_price"),
    )
]
_EVENT_COLUMNS = [column for column in EVENTS.c if column.name != "order_id"]
_HEARD = [EVENTS.c[name] for name in ("order_id", "at", "traffic_sts", "remark", "ori_amount")]

# Each account may have one order with the same id.
_MOST_WITH_ID = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What an order waits for, at `now` by the database's clock."""

    next_step: NextStep
    state: AccountState
    now: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """An order and all that is known about it. Every list is oldest first."""

    order: Row
    """The order's row; `due_at` is None if the order is not pending."""
    outlook: Outlook | None
    """What the order waits for; None if the order was deleted meanwhile."""
    events: list[Row]
    queries: list[Row]
    notifications: list[Row]


def read_story(
    database: Database, order: Row, sids: Mapping[str, str], tick_allowance_seconds: float, rules: Rules
) -> Story:
    """Read the story of the order whose row is `order`. `sids` are the SIDs of the accounts that the settings name."""
    with database.snapshot() as connection:
        events, queries = events_of(connection, order["id"]), queries_about(connection, order)
        told = notifications_of(connection, order["id"])
    outlook = read_next_step(database, order["id"], sids.get(order["account"]), tick_allowance_seconds, rules)
    # An order that is not pending is no longer polled, so its due time has no effect.
    due_at = order["due_at"] if order["state"] is OrderState.PENDING else None
    return Story(order={**order, "due_at": due_at}, outlook=outlook, events=events, queries=queries, notifications=told)


def order_by_id(connection: Connection, order_id: int) -> Row | None:
    """The order with this row id; None if there is none."""
    return next(iter(order_rows(connection, ORDERS.c.id == order_id)), None)


def orders_named(connection: Connection, account: str, names: Sequence[str]) -> list[Row]:
    """The orders of an account whose request_id or custom_parm is any of these names."""
    return _with_either_id(connection, lambda column: (ORDERS.c.account == account) & column.in_(names))


def orders_with_id(connection: Connection, name: str) -> list[Row]:
    """The orders, of any account, whose request_id or custom_parm is `name`."""
    # Each of the two unique indexes begins with the column of the id, so it serves a search through all accounts.
    return _with_either_id(connection, lambda column: column == name, most=_MOST_WITH_ID)


def _with_either_id(
    connection: Connection, has_id: Callable[[ColumnElement[str]], ColumnElement[bool]], most: int | None = None
) -> list[Row]:
    # Each of the two columns has a statement of its own: for one statement with OR, some databases would use neither
    # index.
    found = {
        row["id"]: row
        for column in (ORDERS.c.request_id, ORDERS.c.custom_parm)
        for row in order_rows(connection, has_id(column), most)
    }
    return [found[order_id] for order_id in sorted(found)]


def order_rows(connection: Connection, condition: ColumnElement[bool], most: int | None = None) -> list[Row]:
    """The orders that fulfil a condition; at most `most`."""
    return _rows(connection, select(*SHOWN_COLUMNS).where(condition).limit(most))


def events_of(connection: Connection, order_id: int) -> list[Row]:
    """All events of an order, oldest first."""
    events = _rows(connection, select(*_EVENT_COLUMNS).where(EVENTS.c.order_id == order_id).order_by(EVENTS.c.id))
    return [with_code(event) for event in events]


def notifications_of(connection: Connection, order_id: int) -> list[Row]:
    """The remaining notifications of an order, oldest first."""
    chosen = select(*NOTIFICATION_COLUMNS).where(NOTIFICATIONS.c.order_id == order_id).order_by(NOTIFICATIONS.c.id)
    return [notification_row(to_notification(row)) for row in connection.execute(chosen)]


def last_heard(connection: Connection, order_ids: Collection[int]) -> Mapping[int, Row]:
    """The platform's last report on each of these orders, by row id. Orders without a report are missing."""
    said = or_(EVENTS.c.traffic_sts.is_not(None), EVENTS.c.remark.is_not(None), EVENTS.c.ori_amount.is_not(None))
    by_platform = EVENTS.c.source.in_((Source.QUERY, Source.CALLBACK))
    last = (
        select(EVENTS.c.id)
        .where(EVENTS.c.order_id == ORDERS.c.id, by_platform, said)
        .order_by(EVENTS.c.order_id.desc(), EVENTS.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    found = connection.scalars(select(last).where(one_of(connection, ORDERS.c.id, list(order_ids)))).all()
    chosen = select(*_HEARD).where(one_of(connection, EVENTS.c.id, [one for one in found if one is not None]))
    return {row["order_id"]: dict(row) for row in connection.execute(chosen).mappings()}


def numbers_of(connection: Connection, order_ids: Collection[int]) -> Mapping[int, str]:
    """Maps the row id of each of these orders to the id by which people know the order: its request_id, or else its
    custom_parm."""
    number = func.coalesce(ORDERS.c.request_id, ORDERS.c.custom_parm)
    chosen = select(ORDERS.c.id, number).where(one_of(connection, ORDERS.c.id, list(order_ids)))
    return {row[0]: row[1] for row in connection.execute(chosen)}


def order_to_act_on(connection: Connection, order_id: int) -> tuple[Order, list[Row]] | None:
    """An order and its events, oldest first; None if there is no such order."""
    order = next(iter(read_orders(connection, [order_id])), None)
    return None if order is None else (order, events_of(connection, order_id))


def queries_about(connection: Connection, order: Row) -> list[Row]:
    """The queries that polled an order, oldest first. `absent` tells whether the query's answer left the order out."""
    names = [(IdKind.REQUEST_ID, order["request_id"]), (IdKind.CUSTOM_PARM, order["custom_parm"])]
    polled = [and_(QUERIES.c.id_kind == kind, _holds(QUERIES.c.polled_ids, name)) for kind, name in names if name]
    bounds = [
        QUERIES.c.account == order["account"],
        QUERIES.c.id >= first_query_since(connection, order["created_at"], order["account"]),
    ]
    if order["state"] is not OrderState.PENDING:
        # An order that has left the pending state is no longer polled. So queries that were sent after its last change
        # are not searched.
        bounds.append(QUERIES.c.sent_at <= order["updated_at"])
    columns = (*QUERY_COLUMNS, QUERIES.c.polled_ids, QUERIES.c.absent_ids)
    rows = _rows(connection, select(*columns).where(*bounds, or_(*polled)).order_by(QUERIES.c.id))
    return list(_about(rows, {kind: name for kind, name in names if name}))


def _rows(connection: Connection, statement: Select[Any]) -> list[Row]:
    return [dict(row) for row in connection.execute(statement).mappings()]


def _holds(ids: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Whether a comma-separated list has an id. SQLite ignores the case of letters here."""
    return (literal(",") + ids + literal(",")).contains(f",{name},", autoescape=True)


def _about(rows: Iterable[Row], names: dict[IdKind, str]) -> Iterable[Row]:
    for row in rows:
        polled, absent, name = row.pop("polled_ids"), row.pop("absent_ids"), names[row["id_kind"]]
        if name in polled.split(","):
            yield {**row, "absent": name in (absent or "").split(",")}


def read_next_step(
    database: Database, order_id: int, account_sid: str | None, tick_allowance_seconds: float, rules: Rules
) -> Outlook | None:
    """What an order waits for; None if the order is gone. `account_sid` is None if the settings do not name the order's
    account."""
    with database.read() as connection:
        row = connection.execute(select(*ORDER_COLUMNS).where(ORDERS.c.id == order_id)).one_or_none()
        if row is None:
            return None
        order = to_order(row)
        now = database.now(connection)
        about = (
            _read_circumstances(connection, order, account_sid, tick_allowance_seconds, now, rules)
            if order.state is OrderState.PENDING
            else Circumstances(state=read_state(connection, order.account))
        )
    return Outlook(next_step=next_step(order, about, now, rules), state=about.state, now=now)


def _read_circumstances(
    connection: Connection,
    order: Order,
    account_sid: str | None,
    tick_allowance_seconds: float,
    now: datetime,
    rules: Rules,
) -> Circumstances:
    state = restart_stepped_backoff(read_state(connection, order.account), now)
    is_batched = order.id_kind is IdKind.REQUEST_ID or state.may_batch_custom_parm(now, rules)
    workers = read_workers(connection)
    return Circumstances(
        state=state,
        is_configured=account_sid is not None,
        is_worker_alive=is_ticking(workers, now, tick_allowance_seconds),
        is_served=order.account in polled_accounts(workers, [order.account], now, tick_allowance_seconds),
        slot_due_at=None if account_sid is None else next_slot_at(connection, account_sid, rules),
        is_in_next_query=order.due_at <= now and _is_chosen(connection, order, now, rules),
        others_due=max(0, _count_due(connection, order, now) - 1),
        orders_per_query=rules.batch_size if is_batched and not state.one_item_mode else 1,
    )


def _is_chosen(connection: Connection, order: Order, now: datetime, rules: Rules) -> bool:
    """Whether a query that is granted at this moment would poll the order."""
    state = read_state(connection, order.account)
    choice = choose_due(connection, state, read_schedule(connection, order.account, rules), now, rules)
    if choice is None:
        return False
    return any(one.id == order.id for one in read_chosen(connection, order.account, choice, now, rules.batch_size))


def _count_due(connection: Connection, order: Order, now: datetime) -> int:
    of_account = counts.pending(connection, [order.account], now)[order.account]
    return sum(count.due for count in of_account if (count.lane, count.id_kind) == (Lane.BATCH, order.id_kind))
