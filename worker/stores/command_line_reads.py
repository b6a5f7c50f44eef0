"""What the command line shows. Nothing here writes or locks; rows come out as plain dictionaries."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, literal, or_, select

from worker.database.tables import ARCHIVED, BUDGETS, EVENTS, ORDERS, QUERIES, STATES
from worker.domain.records.orders import OrderState
from worker.domain.records.reports import IdKind
from worker.stores.archived_orders import read_archived
from worker.stores.order_search import SHOWN_COLUMNS, OrderSearch, Row, find_orders
from worker.views.queries import QUERY_COLUMNS, first_query_since

_EVENT_COLUMNS = [column for column in EVENTS.c if column.name != "order_id"]

# The list itself is searched as well, and commands answer within two seconds.
_STRANGER_SECONDS = 0.2
# Each account may have one order with an id.
_MOST_WITH_ID = 100


def has_orders(connection: Connection, account: str) -> bool:
    """Whether an account was seen here: it has a state, or orders, archived ones too; or nobody can tell in time."""
    if connection.execute(select(STATES.c.account).where(STATES.c.account == account)).first() is not None:
        return True
    found = find_orders(connection, OrderSearch(accounts=[account]), most=1, seconds=_STRANGER_SECONDS)
    return bool(found.rows) or found.stopped_at is not None


def order_by_id(connection: Connection, order_id: int) -> Row | None:
    """The order with this row id, archived or not; `archived_at` says since when."""
    found = _rows(connection, select(*SHOWN_COLUMNS).where(ORDERS.c.id == order_id))
    return next(iter(_with_archived(connection, found, ARCHIVED.c.id == order_id)), None)


def orders_named(connection: Connection, account: str, names: Sequence[str]) -> list[Row]:
    """The orders of an account that have any of these names as their request_id or custom_parm, archived or not."""
    found: dict[int, Row] = {}
    # One statement for each index: an OR over both would use neither on some databases.
    for name in ("request_id", "custom_parm"):
        statement = select(*SHOWN_COLUMNS).where(ORDERS.c.account == account, ORDERS.c[name].in_(names))
        rows = _rows(connection, statement)
        is_named = (ARCHIVED.c.account == account) & ARCHIVED.c[name].in_(names)
        found.update((row["id"], row) for row in _with_archived(connection, rows, is_named))
    return [found[order_id] for order_id in sorted(found)]


def orders_with_id(connection: Connection, name: str) -> list[Row]:
    """The orders of any account whose request_id or custom_parm is this, archived or not."""
    # Both unique indexes begin with the id.
    found: dict[int, Row] = {}
    for column in ("request_id", "custom_parm"):
        rows = _rows(connection, select(*SHOWN_COLUMNS).where(ORDERS.c[column] == name).limit(_MOST_WITH_ID))
        found.update((row["id"], row) for row in _with_archived(connection, rows, ARCHIVED.c[column] == name))
    return [found[order_id] for order_id in sorted(found)]


def events_of(connection: Connection, order_id: int) -> list[Row]:
    """Everything that happened to an order, archived or not, oldest first."""
    events = _rows(connection, select(*_EVENT_COLUMNS).where(EVENTS.c.order_id == order_id).order_by(EVENTS.c.id))
    archived = [event for one in read_archived(connection, ARCHIVED.c.id == order_id) for event in one.events]
    # Of an archived order with very many events the later ones are still in the table.
    return [{column.name: event[column.name] for column in _EVENT_COLUMNS} for event in archived] + events


def queries_about(connection: Connection, order: Row) -> list[Row]:
    """The queries that polled an order, oldest first; `absent` says that the answer left it out."""
    names = [(IdKind.REQUEST_ID, order["request_id"]), (IdKind.CUSTOM_PARM, order["custom_parm"])]
    polled = [and_(QUERIES.c.id_kind == kind, _holds(QUERIES.c.polled_ids, name)) for kind, name in names if name]
    bounds = [
        QUERIES.c.account == order["account"],
        QUERIES.c.id >= first_query_since(connection, order["created_at"], order["account"]),
    ]
    if order["state"] is not OrderState.PENDING:
        # An order that has left that state is no longer polled.
        bounds.append(QUERIES.c.sent_at <= order["updated_at"])
    columns = (*QUERY_COLUMNS, QUERIES.c.polled_ids, QUERIES.c.absent_ids)
    rows = _rows(connection, select(*columns).where(*bounds, or_(*polled)).order_by(QUERIES.c.id))
    return list(_about(rows, {kind: name for kind, name in names if name}))


def slots(connection: Connection, *, slots_per_sid: int) -> list[Row]:
    """Every slot of the budget in use: when it may carry the next query, by the database's clock; what is in flight."""
    columns = [BUDGETS.c[name] for name in ("account_sid", "slot", "due_at", "in_flight_query_id", "last_account")]
    in_use = select(*columns).where(BUDGETS.c.slot < slots_per_sid)
    return _rows(connection, in_use.order_by(BUDGETS.c.account_sid, BUDGETS.c.slot))


def last_query(connection: Connection, account: str) -> Row | None:
    """The account's latest query."""
    latest = select(*QUERY_COLUMNS).where(QUERIES.c.account == account).order_by(QUERIES.c.id.desc()).limit(1)
    return next(iter(_rows(connection, latest)), None)


def _rows(connection: Connection, statement: Select[Any]) -> list[Row]:
    return [dict(row) for row in connection.execute(statement).mappings()]


def _with_archived(connection: Connection, rows: Iterable[Row], condition: ColumnElement[bool]) -> list[Row]:
    """Orders that were found, and the archived ones that fulfil the condition."""
    listed = [{**row, "archived_at": None} for row in rows]
    for archived in read_archived(connection, condition):
        columns = {column.name: archived.order[column.name] for column in SHOWN_COLUMNS}
        listed.append({**columns, "archived_at": archived.archived_at})
    return listed


def _holds(ids: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Whether a list that is joined by commas holds an id. SQLite ignores the case of letters here."""
    return (literal(",") + ids + literal(",")).contains(f",{name},", autoescape=True)


def _about(rows: Iterable[Row], names: dict[IdKind, str]) -> Iterable[Row]:
    for row in rows:
        polled, absent, name = row.pop("polled_ids"), row.pop("absent_ids"), names[row["id_kind"]]
        if name in polled.split(","):
            yield {**row, "absent": name in (absent or "").split(",")}
