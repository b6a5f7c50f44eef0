"""What is known of each account: its row in `account_states`."""

from collections.abc import Collection
from dataclasses import asdict, fields

from sqlalchemy import Connection, insert, select, update

from worker.adapters.database.models import AccountStateRow, table_of
from worker.domain.accounts import AccountState

STATES = table_of(AccountStateRow)
_COLUMNS = [STATES.c[field.name] for field in fields(AccountState)]


def lock_states(connection: Connection, accounts: Collection[str]) -> dict[str, AccountState]:
    """Lock the rows of these accounts, in the order of their names, and read them."""
    statement = select(*_COLUMNS).where(STATES.c.account.in_(accounts)).order_by(STATES.c.account).with_for_update()
    return {row["account"]: AccountState(**row) for row in connection.execute(statement).mappings()}


def read_states(connection: Connection, accounts: Collection[str]) -> dict[str, AccountState]:
    """The same without a lock."""
    statement = select(*_COLUMNS).where(STATES.c.account.in_(accounts))
    return {row["account"]: AccountState(**row) for row in connection.execute(statement).mappings()}


def save_state(connection: Connection, state: AccountState) -> None:
    """Write a locked account's row."""
    connection.execute(update(STATES).where(STATES.c.account == state.account).values(asdict(state)))


def add_state(connection: Connection, account: str) -> None:
    """Begin an account's row."""
    connection.execute(insert(STATES).values(asdict(AccountState(account=account))))
