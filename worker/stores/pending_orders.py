"""Read and lease pending orders: the candidates for a query, the chosen orders, the overdue orders, and how many orders
are pending."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    Select,
    Update,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.types import TypeEngine

from worker.database.bulk_statements import is_one_of
from worker.database.tables import ORDERS, PENDING_STATE, STATES, UNRESOLVED_STATE
from worker.domain.records.accounts import AccountState
from worker.domain.records.orders import IdKind, Lane, Order, OrderState
from worker.domain.records.queries import Candidate, Choice, IndexRange, Pages, Work
from worker.stores.accounts import read_with_pauses
from worker.stores.candidates_sql import candidates_sql
from worker.stores.recharge_orders import ORDER_COLUMNS, to_order

_KIND = {kind.value: kind for kind in IdKind}
_LANE = {lane.value: lane for lane in Lane}
# The columns of an account's state that say whether the account waits.
_WAITS = ("account", "backoff_until", "backoff_seconds", "has_pauses")


def read_candidates(connection: Connection, account: str, now: datetime, pages: Pages) -> list[Candidate]:
    """Return the orders in these pages of the index, each with the values by which a query is chosen. An order that is
    in two of the pages is returned twice."""
    reading = _reading_of(connection.dialect, pages)
    rows = connection.exec_driver_sql(reading.statement, reading.parameters(account, now)).all()
    time = reading.time
    return [
        Candidate(
            order_id,
            _KIND[id_kind],
            _LANE[lane],
            time(submitted_at),
            time(due_at),
            bucket,
            None if queried_at is None else time(queried_at),
            None if checked_at is None else time(checked_at),
            suspects,
            state == OrderState.UNRESOLVED,
        )
        for order_id, id_kind, lane, bucket, submitted_at, due_at, queried_at, checked_at, suspects, state in rows
    ]


def claim(connection: Connection, account: str, choice: Choice, now: datetime, limit: int) -> tuple[Order, ...]:
    """Lock and return the orders to poll. These are the chosen orders that are still due or spare, and that no other
    transaction has locked. A spare order is not due, but fills a free position of the batch."""
    return _read_chosen(connection, account, choice, now, limit, locks=True)


def lease(connection: Connection, orders: Sequence[Order], token: str, until: datetime) -> None:
    """Mark locked orders with a query's token. The orders are due again at `until`, when this lease runs out."""
    given = {"ids": [order.id for order in orders], "due_at": until, "lease_token": token}
    connection.execute(_lease(connection.dialect.name), given)


def read_chosen(connection: Connection, account: str, choice: Choice, now: datetime, limit: int) -> tuple[Order, ...]:
    """Return the orders that `claim` would lock, without locking them."""
    return _read_chosen(connection, account, choice, now, limit, locks=False)


def read_dueness(
    connection: Connection, accounts: Collection[str], now: datetime, ranges: Sequence[IndexRange]
) -> list[tuple[AccountState, bool]]:
    """Return the state of each of these accounts that has a row, and whether an order of the account is due. Only
    orders in these index ranges, and orders with a requested check, count.

    The states contain only the account, the back-off and the pauses.
    """
    statement = _dueness(connection.dialect.name, tuple(ranges))
    rows = connection.execute(statement, {"now": now, "accounts": list(accounts)}).all()
    states = read_with_pauses(connection, (dict(zip(_WAITS, row, strict=False)) for row in rows))
    return [(state, row.first_due is not None) for state, row in zip(states, rows, strict=True)]


def read_pending_count(connection: Connection, account: str, most: int) -> int:
    """Return how many of the account's orders are pending; `most` if more than this are pending."""
    pending = select(ORDERS.c.id).where(ORDERS.c.account == account, ORDERS.c.state == PENDING_STATE).limit(most)
    return connection.scalar(select(func.count()).select_from(pending.subquery())) or 0


def is_any_polled_alone(connection: Connection, account: str) -> bool:
    """Whether a pending order of the account may be polled in a query of its own, because of its lane or id kind."""
    is_alone = (ORDERS.c.lane != Lane.BATCH) | (ORDERS.c.id_kind != IdKind.REQUEST_ID)
    alone = select(ORDERS.c.id).where(ORDERS.c.account == account, ORDERS.c.state == PENDING_STATE, is_alone).limit(1)
    return connection.scalar(alone) is not None


def overdue_orders(*columns: Any, before: datetime, most: int) -> Select[Any]:
    """Return the statement that reads these columns of the overdue orders, the oldest first.

    An order is overdue if it is pending and was submitted before `before`. If it was reopened, this must also be before
    `before`. An order is not overdue if it has an attention, or had one that was dismissed.
    """
    overdue = (
        (ORDERS.c.state == PENDING_STATE)
        & ORDERS.c.attention.is_(None)
        & (ORDERS.c.submitted_at < before)
        & (ORDERS.c.reopened_at.is_(None) | (ORDERS.c.reopened_at < before))
        & ORDERS.c.dismissed_at.is_(None)
    )
    # The order names both columns of the index. By `submitted_at` alone, PostgreSQL would sort the rows, because it
    # does not know that all of them have the same `attention`.
    return select(*columns).where(overdue).order_by(ORDERS.c.attention, ORDERS.c.submitted_at).limit(most)


def has_overdue(connection: Connection, before: datetime) -> bool:
    """Whether there is an overdue order."""
    return connection.scalar(overdue_orders(ORDERS.c.id, before=before, most=1)) is not None


def lock_overdue(connection: Connection, before: datetime, most: int) -> list[Order]:
    """Lock and read at most `most` overdue orders. Skip orders that another transaction has locked."""
    statement = overdue_orders(*ORDER_COLUMNS, before=before, most=most).with_for_update(skip_locked=True)
    return [to_order(row) for row in connection.execute(statement)]


@lru_cache(maxsize=2)
def _dueness(kind: str, ranges: Sequence[IndexRange]) -> Select[Any]:
    """Return the statement of `read_dueness`. It is cached, because building it, or finding it among SQLAlchemy's
    compiled statements, takes longer than running it."""
    # Each subquery reads the first due order of one index range. The first order that is found ends the search.
    first_due = func.coalesce(*(_first_due(index_range) for index_range in ranges), _first_checked())
    waits = select(*(STATES.c[name] for name in _WAITS), first_due.label("first_due"))
    return waits.where(is_one_of(kind, STATES.c.account, "accounts"))


def _first_due(index_range: IndexRange) -> ColumnElement[int]:
    lane, kind, bucket = index_range
    in_range = and_(
        ORDERS.c.lane == literal_column(f"'{lane.value}'"),
        ORDERS.c.id_kind == literal_column(f"'{kind.value}'"),
        ORDERS.c.age_bucket == literal_column(str(bucket)),
    )
    # LIMIT is used and not EXISTS, because for an EXISTS PostgreSQL might read every due order of all accounts.
    due = select(literal(1)).where(is_due(STATES.c.account, bindparam("now")), in_range).limit(1)
    # The order is that of the index. Without it, if many orders are due, PostgreSQL would read the table row by row
    # until it finds one of them.
    return due.order_by(ORDERS.c.due_at).scalar_subquery()


def _first_checked() -> ColumnElement[int]:
    """Return the subquery that reads a due order with a requested check. It is needed because an unresolved order is in
    none of the index ranges."""
    checked = (ORDERS.c.check_requested_at.is_not(None), ORDERS.c.state.in_([PENDING_STATE, UNRESOLVED_STATE]))
    due = (ORDERS.c.account == STATES.c.account, ORDERS.c.due_at <= bindparam("now"))
    return select(literal(1)).where(*due, *checked).order_by(ORDERS.c.check_requested_at).limit(1).scalar_subquery()


def _read_chosen(
    connection: Connection, account: str, choice: Choice, now: datetime, limit: int, *, locks: bool
) -> tuple[Order, ...]:
    statement = _chosen(
        connection.dialect.name,
        is_group=choice.work is Work.SUSPECTS,
        has_spare=bool(choice.spare_ids),
        locks=locks,
    )
    rows = connection.execute(
        statement,
        {
            "account": account,
            "id_kind": choice.id_kind,
            "now": now,
            "most": limit,
            "group": choice.suspect_group,
            "ids": list(choice.order_ids),
            "spare_ids": list(choice.spare_ids),
        },
    )
    positions = {order_id: position for position, order_id in enumerate(choice.order_ids)}
    return tuple(sorted(map(to_order, rows), key=lambda order: positions.get(order.id, order.id)))


# This statement and that of `_lease` are cached, because making one in each pass takes longer than running it.
@lru_cache(maxsize=8)
def _chosen(kind: str, *, is_group: bool, has_spare: bool, locks: bool) -> Select[tuple[Any, ...]]:
    chosen = ORDERS.c.suspect_group == bindparam("group") if is_group else is_one_of(kind, ORDERS.c.id, "ids")
    # The id kind is checked again: a query carries ids of one kind only, and an order may have learned its requestId
    # since it was read.
    chosen &= ORDERS.c.id_kind == bindparam("id_kind")
    is_open: ColumnElement[bool] = ORDERS.c.due_at <= bindparam("now")
    if has_spare:
        is_open |= is_one_of(kind, ORDERS.c.id, "spare_ids") & ORDERS.c.lease_token.is_(None)
    column: ColumnElement[str] = ORDERS.c.account
    if kind == "sqlite":
        # Without the plus, SQLite would use the index of due orders and read every pending order. With the plus, it
        # searches by the ids.
        column = literal_column("+recharge_orders.account", ORDERS.c.account.type)
    is_checked = (ORDERS.c.state == UNRESOLVED_STATE) & ORDERS.c.check_requested_at.is_not(None)
    may_be_polled = (ORDERS.c.state == PENDING_STATE) | is_checked
    chosen &= (column == bindparam("account")) & may_be_polled & is_open
    statement = select(*ORDER_COLUMNS).where(chosen).order_by(ORDERS.c.id).limit(bindparam("most", type_=Integer))
    return statement.with_for_update(skip_locked=True) if locks else statement


@lru_cache(maxsize=4)
def _lease(kind: str) -> Update:
    return update(ORDERS).where(is_one_of(kind, ORDERS.c.id, "ids"))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """The statement that reads candidates, in the form that the database's driver takes.

    It is cached for each dialect and set of pages, because building it each time, or finding it in SQLAlchemy's cache,
    took longer than running it.
    """

    statement: str
    positions: Sequence[str] | None
    """The names of the parameters in their order, if the driver takes parameters by position; None if it takes them by
    name."""
    bound_time: Callable[[datetime], object]
    time: Callable[[Any], Any]

    def parameters(self, account: str, now: datetime) -> Any:
        """Return the parameters by position or by name, as the driver takes them."""
        given = {"account": account, "now": self.bound_time(now)}
        return given if self.positions is None else tuple(given[name] for name in self.positions)


# The cache has room for each kind of first pages, and for some sets of next pages.
@lru_cache(maxsize=72)
def _reading_of(dialect: Dialect, pages: Pages) -> _Reading:
    times: TypeEngine[Any] = ORDERS.c.due_at.type
    kept_time: TypeEngine[Any] = times.dialect_impl(dialect)
    parameters = (bindparam("account", type_=ORDERS.c.account.type), bindparam("now", type_=times))
    compiled = text(candidates_sql(dialect.name, pages)).bindparams(*parameters).compile(dialect=dialect)
    return _Reading(
        statement=str(compiled),
        positions=getattr(compiled, "positiontup", None),
        bound_time=kept_time.bind_processor(dialect) or _unchanged,
        # PostgreSQL's driver needs no conversion: it returns times in the zone of the session, which is UTC.
        time=_unchanged if dialect.name == "postgresql" else kept_time.result_processor(dialect, None) or _unchanged,
    )


def _unchanged(value: datetime) -> datetime:
    return value


def is_due(account: ColumnElement[str], now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return the condition that an order of the account is pending, and due at this time."""
    return (ORDERS.c.account == account) & (ORDERS.c.state == PENDING_STATE) & (ORDERS.c.due_at <= now)
