"""Read the known accounts, their states, and the worker processes that serve them."""

from collections.abc import Sequence
from dataclasses import fields

from sqlalchemy import Connection, select

from worker.database.read_identity import identity_beside
from worker.database.tables import ORDERS, PENDING_STATE, STATES, WORKERS
from worker.domain.records.accounts import AccountState, DatabaseIdentity
from worker.domain.records.monitoring import WorkerRow
from worker.stores.accounts import STATE_COLUMNS, read_with_pauses

_MOST_ACCOUNTS = 1_000
_WORKER_COLUMNS = [WORKERS.c[field.name] for field in fields(WorkerRow)]


def known_accounts(connection: Connection) -> list[str]:
    """All accounts that a worker has known or that have pending orders, sorted by name. An account may have pending
    orders although no worker has known it: a program may enqueue orders of an account that is only in the program's own
    settings."""
    return sorted({*connection.scalars(select(STATES.c.account)), *accounts_with_pending(connection)})


def accounts_with_pending(connection: Connection) -> list[str]:
    """The accounts that have pending orders, up to 1,000.

    One statement reads these accounts. On PostgreSQL, the statement jumps in an index from each account to the next."""
    account, held = ORDERS.c.account, ORDERS.c.state == PENDING_STATE
    if connection.dialect.name != "postgresql":
        # MariaDB jumps from account to account by itself. SQLite has no statistics of the table and would choose the
        # wrong index for each jump.
        return list(connection.scalars(select(account).where(held).group_by(account).limit(_MOST_ACCOUNTS)))
    following = select(account).where(held).order_by(account).limit(1)
    known = select(following.scalar_subquery().label("name")).cte("known", recursive=True)
    after = following.where(account > known.c.name).scalar_subquery()
    known = known.union_all(select(after).select_from(known).where(known.c.name.is_not(None)))
    names = select(known.c.name).where(known.c.name.is_not(None)).limit(_MOST_ACCOUNTS)
    return list(connection.scalars(names))


def read_state(connection: Connection, account: str) -> AccountState:
    """The state of an account, read without a lock; the initial state if the account has no row."""
    rows = connection.execute(select(*STATE_COLUMNS).where(STATES.c.account == account)).mappings()
    return next(iter(read_with_pauses(connection, rows)), AccountState(account=account))


def read_states(connection: Connection) -> list[AccountState]:
    """The states of all accounts that have a row, ordered by name, read without a lock."""
    rows = connection.execute(select(*STATE_COLUMNS).order_by(STATES.c.account)).mappings()
    return read_with_pauses(connection, rows)


def read_workers(connection: Connection) -> Sequence[WorkerRow]:
    """The rows that worker processes wrote in this database, ordered by name. Rows that a restore brought from another
    database are left out: their processes may be gone."""
    rows = connection.execute(select(*_WORKER_COLUMNS).order_by(WORKERS.c.name)).mappings()
    read = [WorkerRow(**{**row, "accounts": _split(row["accounts"])}) for row in rows]
    written_in = [DatabaseIdentity(row.database_identity or "") for row in read]
    present = identity_beside(connection, written_in)
    return [row for row, its in zip(read, written_in, strict=True) if not present.differs_from(its)]


def _split(accounts: str | None) -> tuple[str, ...] | None:
    # No account's name has a comma, and no name is empty.
    return None if accounts is None else tuple(filter(None, accounts.split(",")))
