"""The reads from which a batch is chosen: the first rows of each way of asking, whatever the size of the table."""

from datetime import datetime
from functools import cache

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    bindparam,
    literal_column,
    select,
    union_all,
)

from worker.adapters.database.bulk import one_of
from worker.adapters.database.order_rows import ORDER_COLUMNS, ORDERS, to_order
from worker.domain.accounts import AccountState
from worker.domain.choice import Candidate, Choice
from worker.domain.orders import Lane, Order, OrderState
from worker.domain.reports import IdKind
from worker.domain.turns import Work

_COLUMNS = [
    ORDERS.c.id,
    ORDERS.c.id_kind,
    ORDERS.c.lane,
    ORDERS.c.due_at,
    ORDERS.c.look_group,
    ORDERS.c.check_requested_at,
    ORDERS.c.suspect_group,
]
_LOOK_GROUPS = (0, 1)
# Written out, not a parameter: a plan that is made once for all parameters could not use the partial index.
_PENDING: ColumnElement[str] = literal_column(f"'{OrderState.PENDING.value}'")


def read_candidates(connection: Connection, state: AccountState, now: datetime, limit: int) -> list[Candidate]:
    """The due orders that the next query can be about, each once: up to `limit` of each way of asking."""
    values = {"account": state.account, "now": now}
    rows = connection.execute(_reading(limit), values).mappings()
    found = {
        row["id"]: Candidate(
            order_id=row["id"],
            id_kind=row["id_kind"],
            lane=row["lane"],
            due_at=row["due_at"],
            was_asked=row["look_group"] > 0,
            check_requested_at=row["check_requested_at"],
            suspect_group=row["suspect_group"],
        )
        for row in rows
    }
    return list(found.values())


def claim(connection: Connection, account: str, choice: Choice, now: datetime, limit: int) -> tuple[Order, ...]:
    """Lock what was chosen, as far as nobody else holds it and it is still due. What was locked is the batch."""
    if choice.work is Work.SUSPECTS:
        chosen = ORDERS.c.suspect_group == choice.suspect_group
    else:
        chosen = one_of(connection, ORDERS.c.id, choice.order_ids)
    # An order may have learned its requestId since it was read: a query carries ids of one kind only.
    chosen &= ORDERS.c.id_kind == choice.id_kind
    statement = (
        select(*ORDER_COLUMNS)
        .where(_due(account, now) & chosen)
        .order_by(ORDERS.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    orders = [to_order(row) for row in connection.execute(statement).mappings()]
    place = {order_id: position for position, order_id in enumerate(choice.order_ids)}
    return tuple(sorted(orders, key=lambda order: place.get(order.id, order.id)))


@cache
def _reading(limit: int) -> CompoundSelect[tuple[object, ...]]:
    """Made once: to put these selects together took as long as to run them."""
    due = _due(bindparam("account"), bindparam("now"))
    reads = [
        _first(due & _way(lane, kind, group), ORDERS.c.due_at, limit if lane is Lane.BATCH else 1)
        for lane in Lane
        for kind in IdKind
        for group in _LOOK_GROUPS
    ]
    checked = ORDERS.c.check_requested_at.is_not(None)
    reads.append(_first(due & checked, ORDERS.c.check_requested_at, limit))
    return union_all(*reads)


def _due(account: str | ColumnElement[str], now: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    return (ORDERS.c.account == account) & (ORDERS.c.state == _PENDING) & (ORDERS.c.due_at <= now)


def _way(lane: Lane, kind: IdKind, group: int) -> ColumnElement[bool]:
    return (ORDERS.c.lane == lane) & (ORDERS.c.id_kind == kind) & (ORDERS.c.look_group == group)


def _first(condition: ColumnElement[bool], order: ColumnElement[datetime], limit: int) -> Select[tuple[object, ...]]:
    # SQLite takes ORDER BY and LIMIT inside a union only in a subquery.
    rows = select(*_COLUMNS).where(condition).order_by(order).limit(limit).subquery()
    return select(rows)
