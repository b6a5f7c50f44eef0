"""Grant a query: one short transaction takes a slot, leases the orders and commits the query's row. Only then may the
query be sent.

The sequence of the steps matters. The clocks are read once the slot is locked. The query's deadline is counted from
before the grant. If it were counted from the commit, a query with a slow grant could reach into the next window.
"""

import uuid
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from worker.adapters.clock import Clock
from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.accounts.waits import restart_stepped_backoff, waits
from worker.domain.queries.choose_batch import (
    INDEX_RANGES,
    accounts_in_turn,
    choose,
    fill,
    first_pages,
    free_positions,
    next_pages,
    refuse_together,
    spare_pages,
    spend,
)
from worker.domain.queries.slots_and_clocks import Permission, clamp, may_query, reserve
from worker.domain.records.accounts import AccountState, Reading, Rules, SlotKey
from worker.domain.records.operators import ActKind
from worker.domain.records.orders import Order
from worker.domain.records.queries import Choice, Pick, Query, Reason, Work
from worker.domain.scheduling.poll_schedule import PollSchedule, prior_schedule
from worker.operations.act_by_hand import Operator, entries_of
from worker.operations.learn import read_schedule
from worker.operations.maintain_slots import note_database, raise_window_of, read_clocks
from worker.stores.accounts import lock_free_slot, lock_states, save_slot, save_state, save_turn
from worker.stores.operators import add_acts
from worker.stores.pending_orders import claim, lease, read_candidates, read_dueness
from worker.stores.platform_queries import add_query, mark_lost
from worker.stores.recharge_orders import lock_free_orders, read_orders


def choose_due(
    connection: Connection, state: AccountState, schedule: PollSchedule, now: datetime, rules: Rules
) -> Choice | None:
    """Read due orders of an account, and choose those that the next query polls. Return None if no order is due.

    The first page of each index range is read, and orders are chosen from these pages. If a batch takes all orders of a
    page, the next page of that range is read, and the orders are chosen again. If positions of the batch are still
    free, they are filled with orders that are not due yet.
    """
    found = read_candidates(connection, state.account, now, first_pages(state, now, rules))
    choice = choose(found, state, schedule, now, rules)
    if choice is not None and choice.exhausted:
        more = read_candidates(connection, state.account, now, next_pages(choice.exhausted, rules.batch_size))
        choice = choose([*found, *more], state, schedule, now, rules)
    if choice is None or not (free := free_positions(choice, state, rules)):
        return choice
    spare = read_candidates(connection, state.account, now, spare_pages(choice.id_kind))
    return fill(choice, spare, free, schedule, now, rules)


def read_resting(database: Database, accounts: Collection[str]) -> set[str]:
    """Return the accounts among these that have no due order, back off, or are paused. Lock nothing.

    The result is only a hint that saves work. The slot of an account without a due order is open all the time, and each
    try to take that slot is a transaction with locks. If a thousand such accounts were tried once a second, they would
    keep a machine busy for nothing. So one statement reads all accounts, and another one reads the pauses of accounts
    that have any. An account without a row in `account_states` is not returned.
    """
    if not accounts:
        return set()
    with database.read() as connection:
        now = database.now(connection)
        known = read_dueness(connection, accounts, now, INDEX_RANGES)
    return {state.account for state, has_due in known if not has_due or waits(state, now)}


def _random_token() -> str:
    return uuid.uuid4().hex


Chosen = tuple[AccountState, Choice, tuple[Order, ...]]
"""The account that a query is about, the choice of its orders, and these orders, locked."""
Choose = Callable[[Connection, SlotKey, str | None, Reading, Rules], Chosen | None]
"""Chooses the orders of a slot's next query. It gets the slot, the account of the slot's last query, the time and the
rules. If it returns None, no query is granted."""


def read_orders_to_poll(database: Database, order_ids: Collection[int]) -> list[Order]:
    """Return the orders among these that still exist."""
    with database.read() as connection:
        return read_orders(connection, order_ids)


class Grants:
    """Takes slots for queries. `new_token` makes the token of a lease, and must never return the same token twice."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        rules: Rules,
        new_token: Callable[[], str] = _random_token,
        choose: Choose | None = None,
    ) -> None:
        """`choose` decides which orders a query polls; by default, those with the highest priority."""
        self._database = database
        self._clock = clock
        self._rules = rules
        self._new_token = new_token
        self._choose = choose or _choose_in_turn
        # Computing the prior schedule takes a while. So it is computed and cached now, and not while the first grant
        # has a slot locked.
        prior_schedule(rules)

    @retry_contention
    def take(self, slot: SlotKey) -> Query | None:
        """Take a slot for the chosen orders, and return the query. When this returns, the slot's reservation is
        committed.

        Return None if the slot is locked or not yet due, if no orders are chosen, or if another database wrote the
        slot's row. After a deadlock the transaction is repeated, which is safe because nothing was sent yet.
        """
        rules = self._rules
        with self._database.write() as connection:
            # If the slot is locked, this pass ends, so that passes do not queue for the lock.
            row = lock_free_slot(connection, slot.account_sid, slot.number)
            if row is None:
                return None
            # The clocks are read once the slot is locked: a time that was read before a wait for the lock would be too
            # old.
            now = read_clocks(self._database, connection, self._clock)
            row = raise_window_of(connection, row, now, rules)
            (row,) = note_database(connection, [row], now, rules)
            permission = may_query(row.slot, now, rules)
            if permission is Permission.CLAMP:
                save_slot(connection, row.id, clamp(row.slot, now, rules), now.database)
            if permission is not Permission.QUERY:
                return None
            chosen = self._choose(connection, slot, row.last_account, now, rules)
            if chosen is None:
                return None
            state, choice, orders = chosen
            # The lease and the reservation last longer than the query's deadline, and then run out by themselves. So
            # nothing has to be cleaned up after a crash.
            mark_lost(connection, row.in_flight_query_id)
            query = add_query(connection, slot, state.account, choice, orders, self._new_token(), now.database)
            # Only orders that may settle are leased. A person may also have named other orders; for these, the answer
            # is only recorded.
            held = [order for order in orders if order.state.may_settle]
            lease(connection, held, query.token, now.database + timedelta(seconds=rules.reservation_seconds))
            reserved = reserve(now, rules, query.token)
            save_turn(connection, row.id, reserved, now.database, query_id=query.id, account=state.account)
            save_state(connection, state, spend(state, choice, now.database, rules))
            return query


def _choose_in_turn(
    connection: Connection, slot: SlotKey, last_account: str | None, now: Reading, rules: Rules
) -> Chosen | None:
    """Go through the slot's accounts, beginning with the one whose turn it is. For the first account that has due
    orders, return the account, the choice, and the orders that could be locked."""
    states = lock_states(connection, slot.app_ids)
    for account in accounts_in_turn(tuple(slot.app_ids), last_account):
        state = states[account]
        if not _may_be_queried(connection, state, now):
            continue
        choice = choose_due(connection, state, read_schedule(connection, account, rules), now.database, rules)
        orders = () if choice is None else claim(connection, account, choice, now.database, rules.batch_size)
        if choice is not None and orders:
            return state, choice, orders
    return None


def choose_named(
    connection: Connection,
    slot: SlotKey,
    _: str | None,
    now: Reading,
    rules: Rules,
    *,
    ids: Collection[int],
    by: Operator,
) -> Chosen | None:
    """Choose the orders that a person has named, as a `Choose` function of `Grants`. All of them are chosen, or none.
    They may be in any state, and need not be due, but must have the same account and id kind. The person's act is
    recorded in the transaction of the grant."""
    states = lock_states(connection, slot.app_ids)
    orders = tuple(one for one in lock_free_orders(connection, ids) if not one.is_leased(now.database))
    if len(orders) < len(ids):
        return None
    state = states[orders[0].account]
    if refuse_together(orders, state, rules) or not _may_be_queried(connection, state, now):
        return None
    add_acts(connection, entries_of(orders, by.act(now.database), ActKind.POLL))
    picks = tuple(Pick(order_id=order.id, reason=Reason.CHECKED) for order in orders)
    work = Work.SINGLE if len(orders) == 1 else Work.BATCH
    return state, Choice(work=work, id_kind=orders[0].id_kind, picks=picks), orders


def _may_be_queried(connection: Connection, state: AccountState, now: Reading) -> bool:
    restarted = restart_stepped_backoff(state, now.database)
    if restarted != state:
        save_state(connection, state, restarted)
    return not state.is_paused(now.database) and not restarted.is_backed_off(now.database)
