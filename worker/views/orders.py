"""Find orders by what a person knows about them. Lists are newest first by default. They are ordered by the time of
submission, or by the time of the result if the search bounds that time.

One statement (`page`) reads the keys of a page's orders. Indexes have the orders of each state, and those of each
reason why an order needs a person, in the order of the list. The statement has a part for each wanted state or reason.
If up to 10,000 orders have a given start of an id, the index of the id is searched first. The search for a number
accepts anything that a person has: either id or its start, the row id, or the phone number or its last four digits.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, literal_column, or_, select

from worker.database.bounded_statements import Countdown, countdown, read_within
from worker.database.bulk_statements import one_of
from worker.database.tables import DEPLOYMENT, EVENTS, ORDERS, STATES, UNRESOLVED_STATE
from worker.domain.finance.report import Sums, amounts_of
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Attention, OrderState
from worker.domain.wire.fields import normalise_mobile
from worker.stores.operators import read_number_acted_on, read_orders_acted_on
from worker.stores.recharge_orders import read_event_counts
from worker.views.order import SHOWN_COLUMNS, Row, order_by_id, orders_with_id
from worker.views.page import PAGE_SECONDS, Bound, Key, Listed, OrNothing, Page, apart, between, read_page, rows_by_id

# Exactly four digits are taken as the end of a phone number, not as a row id.
_ROW_ID = re.compile(r"(?![0-9]{4}$)(id:)?([0-9]{1,18})", re.ASCII)
_LAST_FOUR = re.compile(r"[0-9]{4}", re.ASCII)

_STRANGER_SECONDS = OrNothing(0.2)
_COUNT_SECONDS = 0.3
_FEW = 10_000

ANY_REASON: Sequence[Attention | None] = (*Attention, None)
"""All reasons why an order may need a person. None stands for an unresolved order that shows no reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSearch:
    """The orders to find. An empty field sets no condition."""

    accounts: Sequence[str] = ()
    states: Sequence[OrderState] = ()
    attention: Sequence[Attention | None] = ()
    """Reasons that the orders show. None stands for unresolved orders that show no reason."""
    mobile: str | None = None
    prefix: str | None = None
    """The start of a request_id or a custom_parm."""
    act_key: str | None = None
    """The key of an operator's act. The search finds the newest 10,000 orders that the act changed."""
    four: str | None = None
    """Four digits that end a mobile or begin an id. No index serves this search."""
    since: datetime | None = None
    """Orders that were submitted at this time or later."""
    until: datetime | None = None
    """Orders that were submitted before this time."""
    settled_since: datetime | None = None
    """Orders that became final at this time or later."""
    settled_until: datetime | None = None
    """Orders that became final before this time."""
    is_oldest_first: bool = False
    """Whether the list begins with the oldest orders. Only a list by the time of submission may do so."""

    @property
    def time_columns(self) -> tuple[str, str]:
        """The column of the time by which orders are listed, then the column of the other time. Orders are listed by
        the time of the result if the search bounds this time, and does not bound the submission on both sides."""
        is_by_result = not (self.since and self.until) and bool(self.settled_since or self.settled_until)
        return ("settled_at", "submitted_at") if is_by_result else ("submitted_at", "settled_at")


class SummedOrders:
    """Orders with the amounts due and charged. The amounts are summed while the orders are read."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = rows
        self._all, self._by_state = Sums(), dict[OrderState | None, Sums]()

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            named = (row["expected_amount"], row["ori_amount"])
            amounts = amounts_of(row["state"], *named, is_price=row["amount_is_price"])
            for sums in (self._all, self._by_state.setdefault(row["state"], Sums())):
                sums.add(amounts)
            yield {**row, **amounts._asdict(), "difference": amounts.difference}

    def sums(self) -> list[tuple[OrderState | None, Sums]]:
        """The sums of each state if there are several states, then the sums of all orders, with None as the state.
        Empty if there are no orders."""
        of_all = [(None, self._all)] if self._by_state else []
        return [*self._by_state.items(), *of_all] if len(self._by_state) > 1 else [*of_all]


def find_orders(
    connection: Connection, wanted: OrderSearch, *, after: int | None = None, most: int, seconds: Bound = PAGE_SECONDS
) -> Page[Row]:
    """The next `most` orders that match, after the order `after` in the list; the first ones if `after` is None or not
    in the list. Must be called in a snapshot."""
    last = None if after is None else key_of(connection, after, wanted)
    left = countdown(seconds)
    listed = _listed(connection, wanted, left)
    return read_page(connection, listed, ORDERS, SHOWN_COLUMNS, after=last, most=most, seconds=seconds, left=left)


def count_orders(connection: Connection, wanted: OrderSearch) -> list[Row]:
    """How many orders match, by account, state and attention. Reads all orders within the times of the search; the
    whole table if the search sets no times."""
    columns = (ORDERS.c.account, ORDERS.c.state, ORDERS.c.attention)
    matching = _conditions(ORDERS.c, wanted)
    statement = select(*columns, func.count().label("orders")).where(*matching).group_by(*columns)
    counts = [dict(row) for row in connection.execute(statement).mappings()]
    # The database does not sort the counts, because databases differ in where they put null.
    return sorted(counts, key=lambda count: (count["account"], count["state"], count["attention"] or ""))


def count_found(connection: Connection, wanted: OrderSearch, most: int, seconds: float = _COUNT_SECONDS) -> int | None:
    """How many orders match, counted up to `most`; None if counting takes longer than `seconds`."""
    left = countdown(seconds)
    found = _listed(connection, wanted, left).keys(connection, most=most).subquery()
    count = select(func.count()).select_from(found)
    return read_within(connection, left(), partial(connection.scalar, count))


def search_orders(
    connection: Connection, number: str, wanted: OrderSearch, *, after: int | None, most: int, seconds: Bound
) -> Page[Row]:
    """The orders that a number may mean, among those that are wanted; newest first. Must be called in a snapshot.

    The number may be the start of an id, a phone number, or its last four digits. The first page begins with the orders
    whose id or row id is exactly this number, and has a page of other orders after them.
    """
    named = orders_with_id(connection, number)
    row_id = _ROW_ID.fullmatch(number)
    by_row_id = order_by_id(connection, int(row_id[2])) if row_id else None
    exact = {row["id"]: row for row in [*named, *([by_row_id] if by_row_id else [])]}
    if after is None and (len(named) == 1 or (row_id and row_id[1])):
        # The number is the id or the row id of an order. Only this order is meant, even if the ids of others begin with
        # the number.
        rows = named if len(named) == 1 and not (row_id and row_id[1]) else list(exact.values())
        return Page(rows=rows)
    mobile = normalise_mobile(number)
    if mobile:
        narrowed = replace(wanted, mobile=mobile)
    else:
        is_end = _LAST_FOUR.fullmatch(number) is not None
        narrowed = replace(wanted, four=number) if is_end else replace(wanted, prefix=number)
    found = find_orders(connection, narrowed, after=after, most=most, seconds=seconds)
    passed = _wanted_among(connection, wanted, exact) if exact and after is None else set()
    first = [row for order_id, row in exact.items() if order_id in passed]
    return replace(found, rows=[*first, *(row for row in found.rows if row["id"] not in exact)])


def _wanted_among(connection: Connection, wanted: OrderSearch, ids: Collection[int]) -> set[int]:
    """The ids, among `ids`, of the orders that pass the filters of `wanted`."""
    of_act = ids if wanted.act_key is None else read_orders_acted_on(connection, wanted.act_key, _FEW)
    chosen = select(ORDERS.c.id).where(one_of(connection, ORDERS.c.id, list(ids)), *_conditions(ORDERS.c, wanted))
    return set(connection.scalars(chosen)).intersection(of_act)


def unlisted_of_act(connection: Connection, act_key: str) -> int:
    """How many orders of an act are in no list, because a list has only the newest 10,000 of an act."""
    return max(0, read_number_acted_on(connection, act_key) - _FEW)


def has_orders(connection: Connection, account: str) -> bool:
    """Whether this database has a state or orders of an account; True also if the search for orders takes too long."""
    if connection.execute(select(STATES.c.account).where(STATES.c.account == account)).first() is not None:
        return True
    found = find_orders(connection, OrderSearch(accounts=[account]), most=1, seconds=_STRANGER_SECONDS)
    return bool(found.rows) or found.is_partial


def read_deleted_before(connection: Connection) -> datetime | None:
    """The time before which settled orders were deleted; None if no order was deleted."""
    before: datetime | None = connection.scalar(select(DEPLOYMENT.c.orders_deleted_before))
    return before


def unresolved_since(connection: Connection, since: datetime | None, accounts: Collection[str]) -> list[int]:
    """The ids of these accounts' unresolved orders that became unresolved at the time `since` or later; of all their
    unresolved orders if `since` is None."""
    statement = select(ORDERS.c.id).where(ORDERS.c.state == UNRESOLVED_STATE, ORDERS.c.account.in_(accounts))
    if since is not None:
        gave_up = (
            select(EVENTS.c.id)
            .where(EVENTS.c.order_id == ORDERS.c.id, EVENTS.c.kind == EventKind.GAVE_UP, EVENTS.c.at >= since)
            .limit(1)
            .scalar_subquery()
        )
        # An order whose last change was before `since` cannot have become unresolved later. So the condition on
        # `updated_at` leaves out most orders. LIMIT is used instead of EXISTS, because a database may answer EXISTS by
        # reading the events of all orders.
        statement = statement.where(ORDERS.c.updated_at >= since, gave_up.is_not(None))
    return sorted(connection.scalars(statement))


def with_attention(connection: Connection, reason: Attention, account: str | None) -> list[int]:
    """The ids of an account's orders that need a person for this reason; of all accounts' orders if `account` is
    None."""
    # The first condition repeats that of the partial index: without it, no database uses this index.
    statement = select(ORDERS.c.id).where(ORDERS.c.attention.is_not(None), ORDERS.c.attention == reason)
    if account is not None:
        statement = statement.where(ORDERS.c.account == account)
    return sorted(connection.scalars(statement))


def orders_by_id(connection: Connection, ids: Sequence[int]) -> list[Row]:
    """The orders with these row ids, in the order of `ids`, each with its `event_count`. Must be called in a
    snapshot."""
    counts = read_event_counts(connection, ids)
    return [{**row, "event_count": counts[row["id"]]} for row in rows_by_id(connection, ORDERS, ids, SHOWN_COLUMNS)]


def key_of(connection: Connection, order_id: int, wanted: OrderSearch) -> Key | None:
    """The key (time and id) of an order in the list of a search; None if there is no such order, or if the list is by
    the time of the result and the order is not final."""
    key = select(ORDERS.c[wanted.time_columns[0]], ORDERS.c.id).where(ORDERS.c.id == order_id)
    found = connection.execute(key).first()
    return None if found is None or found[0] is None else tuple(found)


def begins_with(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """The condition that an id begins with a text, written as a range so that the unique index serves it.

    The column compares byte by byte on every database, on PostgreSQL by its collation "C"
    (`worker.database.column_types.OrderId`). LIKE does not work: PostgreSQL may not use an index for a pattern that is
    a parameter, and SQLite's LIKE treats A as a. A range would be wrong in the collation of a language, where ids with
    a common start may be far apart.
    """
    # Ids have only characters that Unicode assigns. So there is always a next character after a prefix's last one.
    return and_(column >= prefix, column < prefix[:-1] + chr(ord(prefix[-1]) + 1))


def _listed(connection: Connection, wanted: OrderSearch, left: Countdown) -> Listed:
    """The list that a search describes."""
    by, _ = wanted.time_columns
    ids = _few(connection, wanted, left)
    few = [] if ids is None else [one_of(connection, ORDERS.c.id, ids)]
    ranges, others = _ranges(wanted) if ids is None else ([[]], wanted)
    is_by_result = by == "settled_at" and ids is None and ranges == [[]]
    return Listed(
        key=[ORDERS.c[by], ORDERS.c.id],
        within=[*few, *_in_time(ORDERS.c, wanted, by)],
        ranges=ranges,
        filters=_conditions(apart(connection, ORDERS), others, without=by),
        is_oldest_first=wanted.is_oldest_first,
        hint=(ORDERS, "FORCE INDEX (ix_recharge_orders_results)") if is_by_result else None,
        has_few=ids is not None,
    )


def _ranges(wanted: OrderSearch) -> tuple[list[list[ColumnElement[bool]]], OrderSearch]:
    """For each part of the table that has wanted orders, the conditions that select this part; and the search for the
    wanted orders within the parts."""
    if wanted.attention:
        # The first condition repeats that of the partial index: without it, no database uses this index.
        ranges = [[ORDERS.c.attention.is_not(None), ORDERS.c.attention == reason] for reason in _reasons(wanted)]
        if None in wanted.attention:
            # If every reason is wanted, unresolved orders that show a reason are wanted, too: no condition leaves them
            # out.
            unshown = [] if set(ANY_REASON) <= set(wanted.attention) else [ORDERS.c.attention.is_(None)]
            ranges.append([ORDERS.c.state == UNRESOLVED_STATE, *unshown])
        return ranges, replace(wanted, attention=())
    if wanted.states and wanted.time_columns[0] == "submitted_at":
        # The states are written into the statement, not passed as parameters: `tables.PENDING_STATE` gives the reason.
        states: list[ColumnElement[str]] = [literal_column(f"'{state.value}'") for state in wanted.states]
        return [[ORDERS.c.state == state] for state in states], replace(wanted, states=())
    return [[]], wanted


def _few(connection: Connection, wanted: OrderSearch, left: Countdown) -> list[int] | None:
    """The ids of the orders of the act, the phone number or the start of an id that the search names. None if it names
    none of these, if more than 10,000 orders have the phone number or the start, or if reading the index takes longer
    than the remaining seconds."""
    if wanted.act_key is not None:
        return sorted(read_orders_acted_on(connection, wanted.act_key, _FEW))[-_FEW:]
    # Each of the two ids has a statement of its own: for one statement with OR, some databases would use neither index.
    conditions = [] if wanted.mobile is None else [(ORDERS.c.mobile, ORDERS.c.mobile == wanted.mobile)]
    if wanted.mobile is None and wanted.prefix is not None:
        begin = (ORDERS.c.request_id, ORDERS.c.custom_parm)
        conditions = [(column, begins_with(column, wanted.prefix)) for column in begin]

    def read(column: ColumnElement[Any], condition: ColumnElement[bool]) -> Sequence[int]:
        return connection.scalars(select(ORDERS.c.id).where(condition).order_by(column).limit(_FEW + 1)).all()

    found = [read_within(connection, left(), partial(read, *indexed)) for indexed in conditions]
    ids = sorted(set[int]().union(*filter(None, found)))
    return None if not found or None in found or len(ids) > _FEW else ids


def _conditions(columns: Any, wanted: OrderSearch, *, without: str | None = None) -> list[ColumnElement[bool]]:
    """All conditions of a search, on these columns, except the conditions on the time column `without`."""
    times = [name for name in wanted.time_columns if name != without]
    listed = [condition for name in times for condition in _in_time(columns, wanted, name)]
    for name, values in (("account", wanted.accounts), ("state", wanted.states)):
        if values:
            listed.append(getattr(columns, name).in_(values))
    if wanted.attention:
        unshown = and_(columns.attention.is_(None), columns.state == UNRESOLVED_STATE)
        shown = columns.attention.in_(_reasons(wanted))
        listed.append(or_(shown, unshown) if None in wanted.attention else shown)
    if wanted.mobile is not None:
        listed.append(columns.mobile == wanted.mobile)
    for start in (wanted.prefix, wanted.four):
        if start is not None:
            begin = [begins_with(column, start) for column in (columns.request_id, columns.custom_parm)]
            listed.append(or_(*begin, *([columns.mobile.endswith(start)] if start == wanted.four else [])))
    return listed


def _reasons(wanted: OrderSearch) -> list[Attention]:
    return [reason for reason in wanted.attention if reason is not None]


def _in_time(columns: Any, wanted: OrderSearch, name: str) -> list[ColumnElement[bool]]:
    bounds = {"submitted_at": (wanted.since, wanted.until), "settled_at": (wanted.settled_since, wanted.settled_until)}
    return between(getattr(columns, name), *bounds[name])
