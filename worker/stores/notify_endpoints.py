"""The endpoints that notifications are sent to, a row for each account that has one."""

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from worker.database.tables import ENDPOINTS
from worker.domain.records.notifications import Endpoint

_FIELDS = tuple(field.name for field in fields(Endpoint))
_COLUMNS = [ENDPOINTS.c[name] for name in _FIELDS]


def read_endpoints(connection: Connection, accounts: Collection[str] | None = None) -> dict[str, Endpoint]:
    """The endpoints of these accounts, or of all, by account; those that have none are missing."""
    chosen = select(*_COLUMNS).order_by(ENDPOINTS.c.account)
    if accounts is not None:
        chosen = chosen.where(ENDPOINTS.c.account.in_(accounts))
    return {row.account: Endpoint(**row) for row in connection.execute(chosen).mappings()}


def lock_endpoint(connection: Connection, account: str) -> Endpoint | None:
    """Lock and read an account's endpoint; None where it has none."""
    chosen = select(*_COLUMNS).where(ENDPOINTS.c.account == account).with_for_update()
    row = connection.execute(chosen).mappings().one_or_none()
    return None if row is None else Endpoint(**row)


def save_endpoint(connection: Connection, endpoint: Endpoint, now: datetime) -> None:
    """Write an endpoint's row, which is there."""
    values = {name: getattr(endpoint, name) for name in _FIELDS if name != "account"}
    connection.execute(
        update(ENDPOINTS).where(ENDPOINTS.c.account == endpoint.account).values(**values, updated_at=now)
    )


def add_endpoint(connection: Connection, endpoint: Endpoint, now: datetime) -> None:
    """Insert an endpoint's row. Raises IntegrityError where there is one."""
    values = {name: getattr(endpoint, name) for name in _FIELDS}
    connection.execute(insert(ENDPOINTS).values(**values, updated_at=now))


def delete_endpoint(connection: Connection, account: str) -> None:
    """Delete an endpoint's row."""
    connection.execute(delete(ENDPOINTS).where(ENDPOINTS.c.account == account))
