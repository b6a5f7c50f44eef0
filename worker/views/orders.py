"""Finding orders, archived or not, by what a person knows of them; newest first, by an index in every case.

An index that serves a filter is read for at most 10,000 orders, which are then sorted. Where more fulfil the filter,
and where there is no such index, orders are read in the order of the list (`page`): then the newest of so many
are not far. The one search for a number takes whatever a person holds: either id or its start, the row's id, or the
phone number.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, or_, select

from worker.database.bulk_statements import one_of
from worker.database.tables import ARCHIVED, EVENTS, ORDERS, PENDING_STATE, STATES, UNRESOLVED_STATE
from worker.domain.records.attention import Attention
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import OrderState
from worker.domain.wire.fields import id_fault, normalise_mobile
from worker.views.order import Row, order_by_id, order_rows, orders_with_id
from worker.views.page import SECONDS, Filters, Key, Page, Walk, further_than, page_of, read_keys

_ROW_ID = re.compile(r"(id:)?([0-9]{1,18})", re.ASCII)

# The list itself is searched as well, and commands answer within two seconds.
_STRANGER_SECONDS = 0.2
_FEW = 10_000
_ROWS_AT_ONCE = 500
_INDEXES = {ORDERS.name: "ix_recharge_orders_submitted", ARCHIVED.name: "ix_archived_orders_submitted"}
_ARCHIVED_STATES = {OrderState.SUCCEEDED, OrderState.FAILED, OrderState.CANCELLED}


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSearch:
    """What orders are looked for; an empty field lets everything through."""

    accounts: Sequence[str] = ()
    states: Sequence[OrderState] = ()
    attention: Sequence[Attention] = ()
    mobile: str | None = None
    prefix: str | None = None
    """The start of a request_id or a custom_parm."""
    since: datetime | None = None
    """Submitted then or later."""
    until: datetime | None = None
    """Submitted before then."""


def find_orders(
    connection: Connection, wanted: OrderSearch, *, after: int | None = None, most: int, seconds: float = SECONDS
) -> Page[Row]:
    """The next `most` orders that match behind an order, by time of submission and id, newest first; from the newest on
    where there is no such order."""
    last = None if after is None else key_of(connection, after)
    pages = {
        table: _find_in(connection, table, wanted, last, most, seconds)
        for table in (ORDERS, ARCHIVED)
        if table is ORDERS or _may_be_archived(wanted)
    }
    stops = [stopped_at for _, stopped_at in pages.values() if stopped_at is not None]
    # What lies behind the nearer end is left to the next page: the other table may have something before it.
    end = max(stops, default=None)
    found = sorted(((key, table) for table, (keys, _) in pages.items() for key in keys), key=_first, reverse=True)
    reached = [(key, table) for key, table in found if end is None or key >= end][:most]
    rows = {table: _rows(connection, table, [key[1] for key, of in reached if of is table]) for table in pages}
    listed = [rows[table][key[1]] for key, table in reached if key[1] in rows[table]]
    return page_of(listed, [key for key, _ in reached], most, end)


def count_orders(connection: Connection, wanted: OrderSearch) -> list[Row]:
    """How many orders match, by account, state and attention; without archived ones. Reads the whole table, or the part
    of it that was submitted within the search's times."""
    columns = (ORDERS.c.account, ORDERS.c.state, ORDERS.c.attention)
    matching = (*_filters(wanted)(ORDERS.c), *_submitted(ORDERS.c, wanted))
    statement = select(*columns, func.count().label("orders")).where(*matching).group_by(*columns)
    counts = [dict(row) for row in connection.execute(statement).mappings()]
    # Sorted here: the databases differ in where null comes.
    return sorted(counts, key=lambda count: (count["account"], count["state"], count["attention"] or ""))


def is_searchable(number: str) -> bool:
    """Whether any order could have this number, or an id that begins so."""
    return _ROW_ID.fullmatch(number) is not None or normalise_mobile(number) is not None or id_fault(number) is None


def search_orders(
    connection: Connection, number: str, wanted: OrderSearch, *, after: int | None, most: int, seconds: float
) -> Page[Row]:
    """The orders of all accounts that a searchable number names, among those that are wanted; newest first.

    Those that begin so, or have this phone number; on the first page those that have just this id, or row id, come
    first, beside a page of the others. In a snapshot.
    """
    named = orders_with_id(connection, number) if after is None and id_fault(number) is None else []
    row_id = _ROW_ID.fullmatch(number)
    by_row_id = order_by_id(connection, int(row_id[2])) if row_id and after is None else None
    exact = {row["id"]: row for row in [*named, *([by_row_id] if by_row_id else [])]}
    if len(named) == 1 or (row_id and row_id[1]):
        # It names an order, whatever else begins with it.
        rows = named if len(named) == 1 and not (row_id and row_id[1]) else list(exact.values())
        return Page(rows=rows)
    mobile = normalise_mobile(number)
    narrowed = replace(wanted, mobile=mobile) if mobile else replace(wanted, prefix=number)
    found = find_orders(connection, narrowed, after=after, most=most, seconds=seconds)
    return replace(found, rows=[*exact.values(), *(row for row in found.rows if row["id"] not in exact)])


def has_orders(connection: Connection, account: str) -> bool:
    """Whether an account was seen here: it has a state, or orders, archived ones too; or nobody can tell in time."""
    if connection.execute(select(STATES.c.account).where(STATES.c.account == account)).first() is not None:
        return True
    found = find_orders(connection, OrderSearch(accounts=[account]), most=1, seconds=_STRANGER_SECONDS)
    return bool(found.rows) or found.is_stopped


def unresolved_since(connection: Connection, since: datetime | None, accounts: Collection[str]) -> list[int]:
    """The ids of these accounts' orders that are unresolved and became so at this time or later; None: at any."""
    statement = select(ORDERS.c.id).where(ORDERS.c.state == UNRESOLVED_STATE, ORDERS.c.account.in_(accounts))
    if since is not None:
        gave_up = (
            select(EVENTS.c.id)
            .where(EVENTS.c.order_id == ORDERS.c.id, EVENTS.c.kind == EventKind.GAVE_UP, EVENTS.c.at >= since)
            .limit(1)
            .scalar_subquery()
        )
        # What was changed last before that time cannot have become unresolved after it: most are left out by this.
        # By LIMIT and not by EXISTS, which a database may answer by reading the events of all orders.
        statement = statement.where(ORDERS.c.updated_at >= since, gave_up.is_not(None))
    return sorted(connection.scalars(statement))


def with_attention(connection: Connection, reason: Attention, account: str | None) -> list[int]:
    """The ids of the orders with this attention, of one account or of all. An archived order has none."""
    # As its partial index has it: without the first condition no database uses that.
    statement = select(ORDERS.c.id).where(ORDERS.c.attention.is_not(None), ORDERS.c.attention == reason)
    if account is not None:
        statement = statement.where(ORDERS.c.account == account)
    return sorted(connection.scalars(statement))


def key_of(connection: Connection, order_id: int) -> Key | None:
    """Where an order stands in the list; None where there is no such order."""
    for table in (ORDERS, ARCHIVED):
        found = connection.execute(select(table.c.submitted_at, table.c.id).where(table.c.id == order_id)).first()
        if found is not None:
            return tuple(found)
    return None


def begins_with(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """Whether an id begins with a text, as a range that the unique index serves.

    The column compares byte by byte on every database, on PostgreSQL by its collation "C"
    (`worker.database.column_types.OrderId`). LIKE would not do: PostgreSQL need not read an index for a pattern that is
    a parameter, and SQLite's LIKE takes A for a. And in the collation of a language a range would be wrong, since ids
    that begin alike need not stand together there.
    """
    # Ids hold no character without a meaning in Unicode, so the last one of a prefix always has a following one.
    return and_(column >= prefix, column < prefix[:-1] + chr(ord(prefix[-1]) + 1))


def _first(found: tuple[Key, Table]) -> Key:
    return found[0]


def _may_be_archived(wanted: OrderSearch) -> bool:
    return not wanted.attention and (not wanted.states or not _ARCHIVED_STATES.isdisjoint(wanted.states))


def _find_in(
    connection: Connection, table: Table, wanted: OrderSearch, after: Key | None, most: int, seconds: float
) -> tuple[list[Key], Key | None]:
    key = [table.c.submitted_at, table.c.id]
    others = [table.c[name] for name in ("account", "state", "mobile", "request_id", "custom_parm")]
    columns = [*others, table.c.attention] if table is ORDERS else others
    few = _few(connection, table, wanted)
    if few is None:
        within = _submitted(table.c, wanted)
        walk = Walk(table=table, index=_INDEXES[table.name], key=key, columns=columns, within=within)
        return read_keys(connection, walk, _filters(wanted), after=after, most=most, seconds=seconds)
    found: set[Key] = set()
    for one in few:
        rows = one.of(select(*key, *columns)).limit(_FEW).subquery()
        own_key = [rows.c.submitted_at, rows.c.id]
        matching = select(*own_key).where(*_filters(wanted)(rows.c), *_submitted(rows.c, wanted))
        if after is not None:
            matching = matching.where(further_than(connection, own_key, after))
        matching = matching.order_by(*(column.desc() for column in own_key)).limit(most)
        found.update(tuple(row) for row in connection.execute(matching))
    return sorted(found, reverse=True)[:most], None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Narrow:
    """A condition that one index serves, and the order of that index, which keeps a planner to it."""

    condition: ColumnElement[bool]
    order: Sequence[ColumnElement[Any]]

    def of(self, statement: Select[Any]) -> Select[Any]:
        return statement.where(self.condition).order_by(*self.order)


def _few(connection: Connection, table: Table, wanted: OrderSearch) -> list[_Narrow] | None:
    """Conditions that few orders fulfil, and of which those that are wanted fulfil one; None where there are none."""
    for narrow in _indexed(table, wanted):
        counted = [one.of(select(table.c.id)).limit(_FEW + 1).subquery() for one in narrow]
        if all((connection.scalar(select(func.count()).select_from(ids)) or 0) <= _FEW for ids in counted):
            return narrow
    return None


def _indexed(table: Table, wanted: OrderSearch) -> list[list[_Narrow]]:
    found: list[list[_Narrow]] = []
    if wanted.mobile is not None:
        found.append([_Narrow(condition=table.c.mobile == wanted.mobile, order=[table.c.mobile])])
    if wanted.prefix is not None:
        # One for each index: an OR over both would use neither on some databases.
        names = [table.c[name] for name in ("request_id", "custom_parm")]
        found.append([_Narrow(condition=begins_with(name, wanted.prefix), order=[name]) for name in names])
    if table is ORDERS and wanted.attention:
        shown = and_(ORDERS.c.attention.is_not(None), ORDERS.c.attention.in_(wanted.attention))
        found.append([_Narrow(condition=shown, order=[ORDERS.c.attention, ORDERS.c.id])])
    if table is ORDERS and wanted.accounts and set(wanted.states) == {OrderState.PENDING}:
        pending = and_(ORDERS.c.account.in_(wanted.accounts), ORDERS.c.state == PENDING_STATE)
        found.append([_Narrow(condition=pending, order=[ORDERS.c.account, ORDERS.c.state, ORDERS.c.lane])])
    if table is ORDERS and set(wanted.states) == {OrderState.UNRESOLVED}:
        unresolved = ORDERS.c.state == UNRESOLVED_STATE
        of_account = and_(unresolved, ORDERS.c.account.in_(wanted.accounts)) if wanted.accounts else unresolved
        found.append([_Narrow(condition=of_account, order=[ORDERS.c.state, ORDERS.c.account, ORDERS.c.submitted_at])])
    return found


def _filters(wanted: OrderSearch) -> Filters:
    def conditions(columns: Any) -> list[ColumnElement[bool]]:
        listed: list[ColumnElement[bool]] = []
        for name, values in (("account", wanted.accounts), ("state", wanted.states), ("attention", wanted.attention)):
            if values:
                listed.append(columns[name].in_(values))
        if wanted.mobile is not None:
            listed.append(columns.mobile == wanted.mobile)
        if wanted.prefix is not None:
            names = (columns.request_id, columns.custom_parm)
            listed.append(or_(*(begins_with(column, wanted.prefix) for column in names)))
        return listed

    return conditions


def _submitted(columns: Any, wanted: OrderSearch) -> list[ColumnElement[bool]]:
    # Of an archived order the time may be unknown to the table: such a row was written by an earlier release.
    within = [] if columns is ORDERS.c else [columns.submitted_at.is_not(None)]
    if wanted.since is not None:
        within.append(columns.submitted_at >= wanted.since)
    if wanted.until is not None:
        within.append(columns.submitted_at < wanted.until)
    return within


def _rows(connection: Connection, table: Table, ids: Sequence[int]) -> dict[int, Row]:
    parts = (ids[start : start + _ROWS_AT_ONCE] for start in range(0, len(ids), _ROWS_AT_ONCE))
    chosen = (one_of(connection, table.c.id, part) for part in parts)
    return {row["id"]: row for condition in chosen for row in order_rows(connection, table, condition)}
