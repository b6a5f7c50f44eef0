"""Deliveries of notifications, in SQL: which are due, claims, and how tries ended."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal, literal_column, or_, select, update

from worker.database.bulk_statements import RowUpdate, one_of
from worker.database.tables import ENDPOINTS, NOTIFICATIONS, PENDING_STATE
from worker.domain.records.notifications import DueRow, EndedTry, NotificationState, Rank, TriedRow

Leased = tuple[datetime, datetime]
"""A row is leased while its lease ends after the first of these times and not after the second."""


def accounts_due(
    connection: Connection, accounts: Collection[str], due_by: datetime | None, leased: Leased
) -> set[str]:
    """Of these accounts those that have an endpoint, and a notification that is due by then and not leased.

    None for those that have any pending one, whenever it is due.
    """
    first_due = func.coalesce(*(_first_due(connection, rank, due_by, leased) for rank in Rank))
    statement = select(ENDPOINTS.c.account).where(one_of(connection, ENDPOINTS.c.account, accounts))
    return set(connection.scalars(statement.where(first_due.is_not(None))))


def lock_first(connection: Connection, account: str, rank: Rank, most: int, leased: Leased) -> list[DueRow]:
    """Lock and read an account's first pending notifications of a rank, by the time when they are due.

    Those that are leased, or that somebody else holds locked, are passed over.
    """
    columns = ("id", "event_id", "order_id", "body", "tries", "due_at")
    statement = (
        select(*(NOTIFICATIONS.c[name] for name in columns))
        .where(*_pending(literal(account), rank), _is_free(leased))
        .order_by(NOTIFICATIONS.c.due_at, NOTIFICATIONS.c.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return [DueRow(**row) for row in connection.execute(statement).mappings()]


def lease_rows(connection: Connection, ids: Collection[int], token: str, until: datetime) -> None:
    """Mark locked notifications with a lease."""
    if ids:
        chosen = one_of(connection, NOTIFICATIONS.c.id, ids)
        connection.execute(update(NOTIFICATIONS).where(chosen).values(lease_token=token, leased_until=until))


def note_delivered(connection: Connection, ended: Sequence[EndedTry], now: datetime) -> None:
    """Note successes, whoever holds the lease by now. What was delivered before keeps its first time.

    A row that has another event by now is left alone: SQLite gives the id of a deleted row again, and so does any
    database that was restored.
    """
    if ended:
        shared = {"tried_at": now}
        rows = [_how_it_ended(one) | shared for one in ended]
        _DELIVERED.execute(connection, sorted(rows, key=lambda row: row["row_id"]))


def note_failed(connection: Connection, ended: Sequence[EndedTry], now: datetime) -> None:
    """Note how tries failed, and end their leases. The rows have to be locked."""
    if ended:
        _FAILED.execute(connection, [_how_it_ended(one) | {"tried_at": now} for one in ended])


def lock_tried(connection: Connection, ids: Collection[int]) -> dict[int, TriedRow]:
    """Lock these rows, in the order of their ids; returns those that exist, by id."""
    if not ids:
        return {}
    columns = ("id", "event_id", "order_id", "state", "rank", "tries", "due_at", "refused_since", "lease_token")
    statement = select(*(NOTIFICATIONS.c[name] for name in columns)).where(one_of(connection, NOTIFICATIONS.c.id, ids))
    rows = connection.execute(statement.order_by(NOTIFICATIONS.c.id).with_for_update()).mappings()
    return {row["id"]: TriedRow(**{**row, "rank": Rank(row["rank"])}) for row in rows}


def save_tried(connection: Connection, rows: Sequence[TriedRow]) -> None:
    """Write what failures have changed in locked rows."""
    for row in rows:
        values = {"state": row.state, "rank": int(row.rank), "tries": row.tries, "due_at": row.due_at}
        chosen = update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == row.id)
        connection.execute(chosen.values(values | {"refused_since": row.refused_since}))


def _first_due(connection: Connection, rank: Rank, due_by: datetime | None, leased: Leased) -> ColumnElement[int]:
    due = select(literal(1)).where(*_pending(ENDPOINTS.c.account, rank), _is_free(leased)).limit(1)
    if due_by is not None:
        due = due.where(NOTIFICATIONS.c.due_at <= due_by)
    if connection.dialect.name in ("mysql", "mariadb"):
        # In the index's order it would read the whole index, and by another one every pending row of an account.
        return due.with_hint(NOTIFICATIONS, "FORCE INDEX (ix_notifications_due)").scalar_subquery()
    # In the index's order: otherwise PostgreSQL reads the whole table, for an account that has nothing.
    return due.order_by(NOTIFICATIONS.c.due_at, NOTIFICATIONS.c.id).scalar_subquery()


def _pending(account: ColumnElement[Any], rank: Rank) -> tuple[ColumnElement[bool], ...]:
    # Written out, not a parameter: see `tables.PENDING_STATE`.
    state = NOTIFICATIONS.c.state == PENDING_STATE
    return NOTIFICATIONS.c.account == account, state, NOTIFICATIONS.c.rank == literal_column(str(int(rank)))


def _is_free(leased: Leased) -> ColumnElement[bool]:
    until = NOTIFICATIONS.c.leased_until
    return or_(until.is_(None), until <= leased[0], until > leased[1])


def _how_it_ended(one: EndedTry) -> dict[str, Any]:
    return {
        "row_id": one.claim.id,
        "event": one.claim.event_id,
        "how": one.result.outcome.value,
        "status": one.result.http_status,
        "text": one.result.answer,
    }


_TRY_TYPES = {
    "row_id": NOTIFICATIONS.c.id.type,
    "event": NOTIFICATIONS.c.event_id.type,
    "tried_at": NOTIFICATIONS.c.tried_at.type,
    "how": NOTIFICATIONS.c.outcome.type,
    "status": NOTIFICATIONS.c.http_status.type,
    "text": NOTIFICATIONS.c.answer.type,
}


def _noting(value: Any, **others: Any) -> Any:
    is_it = (NOTIFICATIONS.c.id == value("row_id")) & (NOTIFICATIONS.c.event_id == value("event"))
    return (
        update(NOTIFICATIONS)
        .where(is_it)
        .values(
            lease_token=None,
            leased_until=None,
            tried_at=value("tried_at"),
            outcome=value("how"),
            http_status=value("status"),
            answer=value("text"),
            **others,
        )
    )


_DELIVERED = RowUpdate(
    lambda value: _noting(value, state=NotificationState.DELIVERED, delivered_at=value("tried_at")).where(
        NOTIFICATIONS.c.state != NotificationState.DELIVERED
    ),
    _TRY_TYPES,
)
_FAILED = RowUpdate(_noting, _TRY_TYPES)
