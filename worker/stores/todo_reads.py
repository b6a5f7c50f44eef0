"""The orders and accounts that may need a person. Nothing here writes or locks, and each read is bounded."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, TextClause, UnaryExpression, and_, func, select

from worker.database.tables import GAVE_UP, NOTIFICATIONS, ORDERS
from worker.domain.records.orders import Attention
from worker.stores.recharge_orders import PENDING, UNRESOLVED

Row = dict[str, Any]

_SHOWN = [
    ORDERS.c[name]
    for name in ("id", "account", "request_id", "custom_parm", "state", "attention", "submitted_at", "updated_at")
]
_MOST_ACCOUNTS = 1_000


def orders_with_attention(
    connection: Connection, reason: Attention, most: int, most_counted: int
) -> tuple[int, list[Row]]:
    """How many orders show a reason, as far as they are counted, and those of them that were changed last."""
    shown = and_(ORDERS.c.attention.is_not(None), ORDERS.c.attention == reason)
    by_index = (ORDERS.c.attention.desc(), ORDERS.c.id.desc())
    counted = select(ORDERS.c.id).where(shown).order_by(*by_index).limit(most_counted).subquery()
    # No index has the times: what was counted is sorted, and no more.
    known = select(*_SHOWN).where(shown).order_by(*by_index).limit(most_counted).subquery()
    return _count(connection, counted), _rows(connection, select(known).order_by(*_last_changed(known)).limit(most))


def unresolved_without_attention(connection: Connection, most: int, most_read: int) -> tuple[int, list[Row]]:
    """The same of unresolved orders that show no reason; as far as they are among the first `most_read`."""
    by_index = (ORDERS.c.state, ORDERS.c.account, ORDERS.c.submitted_at)
    unresolved = select(*_SHOWN).where(ORDERS.c.state == UNRESOLVED).order_by(*by_index).limit(most_read).subquery()
    without: ColumnElement[bool] = unresolved.c.attention.is_(None)
    listed = select(unresolved).where(without).order_by(*_last_changed(unresolved)).limit(most)
    return _count(connection, select(unresolved.c.id).where(without).subquery()), _rows(connection, listed)


def accounts_with_pending(connection: Connection) -> list[str]:
    """The accounts that have pending orders, up to 1,000."""
    return _accounts(connection, ORDERS.c.account, ORDERS.c.state == PENDING)


def accounts_with_unreceived(connection: Connection) -> list[str]:
    """The accounts that have pending notifications, and those that have some which were given up, up to 1,000 each."""
    account = NOTIFICATIONS.c.account
    pending = _accounts(connection, account, NOTIFICATIONS.c.state == PENDING)
    return [*pending, *_accounts(connection, account, GAVE_UP)]


def _accounts(connection: Connection, account: ColumnElement[str], held: ColumnElement[bool] | TextClause) -> list[str]:
    """By a look into an index for each."""
    found: list[str] = []
    while len(found) < _MOST_ACCOUNTS:
        following = select(account).where(held)
        if found:
            following = following.where(account > found[-1])
        next_account = connection.scalar(following.order_by(account).limit(1))
        if next_account is None:
            break
        found.append(next_account)
    return found


def _last_changed(orders: Subquery) -> tuple[UnaryExpression[Any], ...]:
    return (orders.c.updated_at.desc(), orders.c.id.desc())


def _count(connection: Connection, rows: Any) -> int:
    return connection.scalar(select(func.count()).select_from(rows)) or 0


def _rows(connection: Connection, statement: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(statement).mappings()]
