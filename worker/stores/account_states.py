"""What is known of each account: its row in `account_states`."""

from collections.abc import Collection
from dataclasses import asdict, fields

from sqlalchemy import Connection, insert, select, update

from worker.database.tables import AccountStateRow, table_of
from worker.domain.records.accounts import AccountState

STATES = table_of(AccountStateRow)
_COLUMNS = [STATES.c[field.name] for field in fields(AccountState)]


def lock_states(connection: Connection, accounts: Collection[str]) -> dict[str, AccountState]:
    """Lock the rows of these accounts, in the order of their names, and read them. A row that is missing is begun."""
    statement = select(*_COLUMNS).where(STATES.c.account.in_(accounts)).order_by(STATES.c.account).with_for_update()
    states = {row["account"]: AccountState(**row) for row in connection.execute(statement).mappings()}
    for account in sorted(set(accounts) - states.keys()):
        states[account] = AccountState(account=account)
        connection.execute(insert(STATES).values(asdict(states[account])))
    return states


def read_state(connection: Connection, account: str) -> AccountState:
    """What is known of an account, without a lock; of one without a row, nothing yet."""
    row = connection.execute(select(*_COLUMNS).where(STATES.c.account == account)).mappings().one_or_none()
    return AccountState(account=account) if row is None else AccountState(**row)


def save_state(connection: Connection, state: AccountState) -> None:
    """Write a locked account's row."""
    connection.execute(update(STATES).where(STATES.c.account == state.account).values(asdict(state)))
