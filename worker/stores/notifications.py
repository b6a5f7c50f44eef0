"""Store notifications and endpoints: add notifications in the transaction that changes their orders, claim them for
delivery, and record the results of deliveries."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)

from worker.database.bulk_statements import RowUpdate, insert_rows, one_of
from worker.database.tables import ENDPOINTS, GAVE_UP, NOTIFICATIONS, PENDING_STATE
from worker.domain.records.notifications import (
    EndedTry,
    Endpoint,
    NewNotification,
    Notification,
    NotificationState,
    Rank,
)

_ENDPOINT_COLUMNS = [ENDPOINTS.c[field.name] for field in fields(Endpoint)]
_ENDPOINTS = select(*_ENDPOINT_COLUMNS).order_by(ENDPOINTS.c.account)
_ENDPOINTS_OF = _ENDPOINTS.where(ENDPOINTS.c.account.in_(bindparam("accounts", expanding=True)))


def read_endpoints(connection: Connection, accounts: Collection[str] | None = None) -> dict[str, Endpoint]:
    """Return the endpoints of these accounts by account, or all endpoints if `accounts` is None. Accounts without an
    endpoint are left out."""
    if accounts is None:
        rows = connection.execute(_ENDPOINTS)
    else:
        rows = connection.execute(_ENDPOINTS_OF, {"accounts": list(accounts)})
    return {row["account"]: Endpoint(**row) for row in rows.mappings()}


def lock_endpoint(connection: Connection, account: str) -> Endpoint | None:
    """Lock and read an account's endpoint. Return None if the account has none."""
    chosen = select(*_ENDPOINT_COLUMNS).where(ENDPOINTS.c.account == account).with_for_update()
    row = connection.execute(chosen).mappings().one_or_none()
    return None if row is None else Endpoint(**row)


def save_endpoint(connection: Connection, endpoint: Endpoint, now: datetime) -> None:
    """Update an endpoint's row, which must exist."""
    chosen = update(ENDPOINTS).where(ENDPOINTS.c.account == endpoint.account)
    connection.execute(chosen.values(**asdict(endpoint), updated_at=now))


def add_endpoint(connection: Connection, endpoint: Endpoint, now: datetime) -> None:
    """Insert an endpoint's row. Raise IntegrityError if the account has one already."""
    connection.execute(insert(ENDPOINTS).values(**asdict(endpoint), updated_at=now))


def delete_endpoint(connection: Connection, account: str) -> None:
    """Delete an endpoint's row."""
    connection.execute(delete(ENDPOINTS).where(ENDPOINTS.c.account == account))


_NEW = tuple(field.name for field in fields(NewNotification))
_FIELDS = tuple(field.name for field in fields(Notification))
NOTIFICATION_COLUMNS = [NOTIFICATIONS.c[name] for name in _FIELDS]


def add_notifications(connection: Connection, added: Iterable[NewNotification], now: datetime) -> None:
    """Insert notifications, which are due at once."""
    insert_rows(connection, NOTIFICATIONS, [_new_row(one, now) for one in added])


def to_notification(row: Any) -> Notification:
    """Return the notification that a row of `NOTIFICATION_COLUMNS` contains."""
    values = dict(zip(_FIELDS, row, strict=True))
    return Notification(**{**values, "rank": Rank(values["rank"])})


def lock_notifications_of(connection: Connection, order_ids: Collection[int]) -> list[Notification]:
    """Lock and read the notifications of these orders that still exist, in the order of their ids."""
    return _lock(connection, one_of(connection, NOTIFICATIONS.c.order_id, order_ids))


def _lock(connection: Connection, condition: ColumnElement[bool]) -> list[Notification]:
    chosen = select(*NOTIFICATION_COLUMNS).where(condition).order_by(NOTIFICATIONS.c.id)
    return [to_notification(row) for row in connection.execute(chosen.with_for_update())]


def send_again(connection: Connection, ids: Collection[int], now: datetime) -> None:
    """Make notifications pending, whatever their state, as if they had never been tried. Their rank is then `BULK`:
    four of five claims take results first."""
    if ids:
        chosen = update(NOTIFICATIONS).where(one_of(connection, NOTIFICATIONS.c.id, ids))
        connection.execute(chosen.values(**_never_tried(now), state=NotificationState.PENDING, delivered_at=None))


def next_delayed(connection: Connection, account: str, after: int, most: int) -> Sequence[int]:
    """Return the ids of an account's pending notifications that have failed: the first `most` whose id is above
    `after`. Lock nothing."""
    delayed = _pending_of(account).where(NOTIFICATIONS.c.tries > 0, NOTIFICATIONS.c.id > after)
    return connection.scalars(delayed.order_by(NOTIFICATIONS.c.id).limit(most)).all()


def begin_again(connection: Connection, ids: Collection[int], now: datetime) -> None:
    """Make pending notifications due, as if they had never failed. A delivery that is under way continues."""
    chosen = one_of(connection, NOTIFICATIONS.c.id, ids) & (NOTIFICATIONS.c.state == NotificationState.PENDING)
    if ids:
        connection.execute(update(NOTIFICATIONS).where(chosen).values(_never_tried(now)))


def next_unreceived(connection: Connection, account: str, most: int) -> Sequence[int]:
    """Return the ids of up to `most` notifications of an account that were not received: pending ones or, if none is
    pending, those that were given up. Lock nothing."""
    pending = connection.scalars(_pending_of(account).limit(most)).all()
    given_up = select(NOTIFICATIONS.c.id).where(GAVE_UP, NOTIFICATIONS.c.account == account)
    return pending or connection.scalars(given_up.limit(most)).all()


def changed_at(connection: Connection, ids: Collection[int]) -> dict[int, datetime]:
    """Map the id of each of these notifications to the time of the change that it reports."""
    chosen = select(NOTIFICATIONS.c.id, NOTIFICATIONS.c.changed_at).where(one_of(connection, NOTIFICATIONS.c.id, ids))
    return {row.id: row.changed_at for row in connection.execute(chosen)} if ids else {}


def delivered_before(connection: Connection, before: datetime, most: int) -> Sequence[int]:
    """Return the ids of notifications that were delivered before a time, the oldest first. Lock nothing."""
    old = select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.delivered_at < before)
    return connection.scalars(old.order_by(NOTIFICATIONS.c.delivered_at).limit(most)).all()


def delete_notifications(connection: Connection, ids: Collection[int], *, delivered_only: bool = False) -> int:
    """Delete notifications, and return how many existed. `delivered_only` keeps notifications that are not delivered
    any more because somebody has resent them meanwhile."""
    if not ids:
        return 0
    chosen = delete(NOTIFICATIONS).where(one_of(connection, NOTIFICATIONS.c.id, ids))
    if delivered_only:
        chosen = chosen.where(NOTIFICATIONS.c.state == NotificationState.DELIVERED)
    return connection.execute(chosen).rowcount


def _never_tried(now: datetime) -> dict[str, Any]:
    return {"rank": int(Rank.BULK), "tries": 0, "refused_since": None, "due_at": now}


def _pending_of(account: str) -> Select[Any]:
    # The state is written into the statement and is not a parameter: see `tables.PENDING_STATE`.
    return select(NOTIFICATIONS.c.id).where(NOTIFICATIONS.c.account == account, NOTIFICATIONS.c.state == PENDING_STATE)


def _new_row(one: NewNotification, now: datetime) -> dict[str, Any]:
    # The rank is stored as a plain number, because some drivers do not accept a member of an enumeration.
    values = {name: getattr(one, name) for name in _NEW} | {"rank": int(one.rank)}
    return {**values, "state": NotificationState.PENDING, "due_at": now, "tries": 0}


Leased = tuple[datetime, datetime]
"""Two times. A row is leased if its lease ends after the first time, but not after the second."""


def accounts_due(
    connection: Connection, accounts: Collection[str], due_by: datetime | None, leased: Leased
) -> set[str]:
    """Return the accounts among `accounts` that have an endpoint and a pending notification which is not leased and is
    due by `due_by`.

    If `due_by` is None, it does not matter when the notification is due.
    """
    first_due = func.coalesce(*(_first_due(connection, rank, due_by, leased) for rank in Rank))
    statement = select(ENDPOINTS.c.account).where(one_of(connection, ENDPOINTS.c.account, accounts))
    return set(connection.scalars(statement.where(first_due.is_not(None))))


def lock_first(connection: Connection, account: str, rank: Rank, most: int, leased: Leased) -> list[Notification]:
    """Lock and read an account's first pending notifications of a rank, in the order in which they are due.

    Skip notifications that are leased, or that another transaction has locked.
    """
    statement = (
        select(*NOTIFICATION_COLUMNS)
        .where(*_pending(literal(account), rank), _is_free(leased))
        .order_by(NOTIFICATIONS.c.due_at, NOTIFICATIONS.c.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return [to_notification(row) for row in connection.execute(statement)]


def lease_rows(connection: Connection, ids: Collection[int], token: str, until: datetime) -> None:
    """Mark locked notifications with a lease."""
    if ids:
        chosen = one_of(connection, NOTIFICATIONS.c.id, ids)
        connection.execute(update(NOTIFICATIONS).where(chosen).values(lease_token=token, leased_until=until))


def note_delivered(connection: Connection, ended: Sequence[EndedTry], now: datetime) -> None:
    """Record successful deliveries, even if another claim has leased the notification since. A notification that was
    recorded as delivered before keeps its first time.

    A row that has another event id than the delivery is another notification, and does not change. SQLite gives the id
    of a deleted row to a new row, and so does any database after a restore.
    """
    if ended:
        rows = [_how_it_ended(one, now) for one in ended]
        _DELIVERED.execute(connection, sorted(rows, key=lambda row: row["row_id"]))


def note_failed(connection: Connection, ended: Sequence[EndedTry], now: datetime) -> None:
    """Record how deliveries failed, and end the leases of their notifications. The rows must be locked."""
    if ended:
        _FAILED.execute(connection, [_how_it_ended(one, now) for one in ended])


def lock_tried(connection: Connection, ids: Collection[int]) -> dict[int, Notification]:
    """Lock these notifications in the order of their ids. Return those that exist, by id."""
    return {row.id: row for row in _lock(connection, one_of(connection, NOTIFICATIONS.c.id, ids))} if ids else {}


def save_tried(connection: Connection, rows: Sequence[Notification]) -> None:
    """Write locked notifications as failed deliveries have changed them."""
    for row in rows:
        values = {"state": row.state, "rank": int(row.rank), "tries": row.tries, "due_at": row.due_at}
        chosen = update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == row.id)
        connection.execute(chosen.values(values | {"refused_since": row.refused_since}))


def _first_due(connection: Connection, rank: Rank, due_by: datetime | None, leased: Leased) -> ColumnElement[int]:
    due = select(literal(1)).where(*_pending(ENDPOINTS.c.account, rank), _is_free(leased)).limit(1)
    if due_by is not None:
        due = due.where(NOTIFICATIONS.c.due_at <= due_by)
    if connection.dialect.name in ("mysql", "mariadb"):
        # This index is forced, and ORDER BY is left out. With another index, the server would read every pending row of
        # the account; with ORDER BY, it would read the whole index.
        return due.with_hint(NOTIFICATIONS, "FORCE INDEX (ix_notifications_due)").scalar_subquery()
    # The order is that of the index. Without it, PostgreSQL reads the whole table for an account that has nothing due.
    return due.order_by(NOTIFICATIONS.c.due_at, NOTIFICATIONS.c.id).scalar_subquery()


def _pending(account: ColumnElement[Any], rank: Rank) -> tuple[ColumnElement[bool], ...]:
    # The state is written into the statement and is not a parameter: see `tables.PENDING_STATE`.
    state = NOTIFICATIONS.c.state == PENDING_STATE
    return NOTIFICATIONS.c.account == account, state, NOTIFICATIONS.c.rank == literal_column(str(int(rank)))


def _is_free(leased: Leased) -> ColumnElement[bool]:
    until = NOTIFICATIONS.c.leased_until
    return or_(until.is_(None), until <= leased[0], until > leased[1])


def _how_it_ended(one: EndedTry, now: datetime) -> dict[str, Any]:
    return {
        "row_id": one.claim.id,
        "event": one.claim.event_id,
        "tried_at": now,
        "outcome": one.result.outcome.value,
        "http_status": one.result.http_status,
        "answer": one.result.answer,
    }


_NOTED = ("tried_at", "outcome", "http_status", "answer")
_NOTED_TYPES = {name: NOTIFICATIONS.c[name].type for name in _NOTED}
_NOTED_TYPES |= {"row_id": NOTIFICATIONS.c.id.type, "event": NOTIFICATIONS.c.event_id.type}


def _noting(value: Any, **others: Any) -> Any:
    is_it = (NOTIFICATIONS.c.id == value("row_id")) & (NOTIFICATIONS.c.event_id == value("event"))
    written = {name: value(name) for name in _NOTED}
    return update(NOTIFICATIONS).where(is_it).values(**written, lease_token=None, leased_until=None, **others)


_DELIVERED = RowUpdate(
    lambda value: _noting(value, state=NotificationState.DELIVERED, delivered_at=value("tried_at")).where(
        NOTIFICATIONS.c.state != NotificationState.DELIVERED
    ),
    _NOTED_TYPES,
)
_FAILED = RowUpdate(_noting, _NOTED_TYPES)
