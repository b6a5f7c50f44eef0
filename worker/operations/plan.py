"""The next query of an account as it would be chosen now. Nothing here writes or locks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.database.transactions import Connection, Database
from worker.domain.back_off import restart_stepped_backoff
from worker.domain.records.accounts import AccountState
from worker.domain.records.candidates import Choice, Pick
from worker.domain.records.orders import Order
from worker.domain.records.parameters import Rules
from worker.operations.learn import read_schedule
from worker.operations.reserve_slot import choose_due
from worker.stores.account_states import read_state
from worker.stores.due_orders import read_chosen
from worker.stores.query_budgets import read_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What an account's next slot would be spent on."""

    state: AccountState
    slot_due_at: datetime | None
    """When its SID may send the next query, by the database's clock; None where no worker has run yet."""
    choice: Choice | None
    """None where nothing is due."""
    orders: Sequence[tuple[Order, Pick | None]]
    """In the order of the query; without a pick where a group is asked as it stands."""


def read_plans(database: Database, accounts: Sequence[tuple[str, str]], rules: Rules) -> tuple[list[Plan], datetime]:
    """What a grant at this moment would choose for each account (name and SID); and this moment, by the database."""
    with database.read() as connection:
        now = database.now(connection)
        return [_read_plan(connection, name, sid, now, rules) for name, sid in accounts], now


def _read_plan(connection: Connection, account: str, account_sid: str, now: datetime, rules: Rules) -> Plan:
    state = restart_stepped_backoff(read_state(connection, account), now)
    # Without the rows of slots that only another deployment has.
    slots = [row for row in read_rows(connection, {account_sid}) if row.number < rules.slots]
    choice = choose_due(connection, state, read_schedule(connection, account, rules), now, rules)
    orders = () if choice is None else read_chosen(connection, account, choice, now, rules.batch_size)
    picks = {} if choice is None else {pick.order_id: pick for pick in choice.picks}
    return Plan(
        state=state,
        slot_due_at=min((row.slot.due_at for row in slots), default=None),
        choice=choice,
        orders=[(order, picks.get(order.id)) for order in orders],
    )
