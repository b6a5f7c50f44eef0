"""Grant a query: one short transaction takes a slot, leases the orders and commits the query's row. Then we may send.

The order of the steps matters. The clocks are read under the slot's lock. The deadline starts before the grant. If it
started after the commit, a slow grant could reach into the next window.
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
    """Read due orders, and choose those on which the account's next slot is spent. Return None if nothing is due.

    The first page of each index range is read, and a choice is made. If a batch exhausts pages, the next page of those
    ranges is read, and the choice is made again. If due orders leave positions of a batch free, orders that are not due
    are read for these positions.
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
    """Return those of these accounts that have nothing due, back off or are paused, as a read without a lock shows.

    This is a hint that saves work. An account without a due order has an open slot all the time, and each try to take
    the slot is a transaction with locks. A thousand such accounts, tried once a second each, would keep a machine busy
    for nothing. So one statement reads all accounts, and another one reads the pauses of accounts that have any. An
    account without a row is not returned.
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
"""The account on which a slot is spent, the choice, and the locked orders."""
Choose = Callable[[Connection, SlotKey, str | None, Reading, Rules], Chosen | None]
"""Chooses for a slot, given the account of its last query, the time and the rules; None leaves the slot unspent."""


def read_orders_to_poll(database: Database, order_ids: Collection[int]) -> list[Order]:
    """Return those of these orders that still exist."""
    with database.read() as connection:
        return read_orders(connection, order_ids)


class Grants:
    """Takes slots. `new_token` makes the token of a lease, and must never return the same one twice."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        rules: Rules,
        new_token: Callable[[], str] = _random_token,
        choose: Choose | None = None,
    ) -> None:
        """`choose` decides for which orders a slot is taken: by default, for those of highest priority."""
        self._database = database
        self._clock = clock
        self._rules = rules
        self._new_token = new_token
        self._choose = choose or _choose_in_turn
        # This takes a while, so it is computed and cached now, and not under the lock of the first grant.
        prior_schedule(rules)

    @retry_contention
    def take(self, slot: SlotKey) -> Query | None:
        """Take a slot for the chosen orders, and return the query. The slot's reservation is then committed.

        Return None if the slot is locked or not yet due, if nothing is chosen, or if another database wrote the row. A
        deadlock is retried: nothing was sent yet.
        """
        rules = self._rules
        with self._database.write() as connection:
            # A pass that finds the slot locked gives up, so that passes do not queue for the lock.
            row = lock_free_slot(connection, slot.account_sid, slot.number)
            if row is None:
                return None
            # Read under the lock: a clock that was read before a wait for the lock would be stale.
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
            # Lease and reservation outlast the deadline and then run out: nothing has to clean up after a crash.
            mark_lost(connection, row.in_flight_query_id)
            query = add_query(connection, slot, state.account, choice, orders, self._new_token(), now.database)
            # For the other orders, which a person has named, the answer is only recorded.
            held = [order for order in orders if order.state.may_settle]
            lease(connection, held, query.token, now.database + timedelta(seconds=rules.reservation_seconds))
            reserved = reserve(now, rules, query.token)
            save_turn(connection, row.id, reserved, now.database, query_id=query.id, account=state.account)
            save_state(connection, state, spend(state, choice, now.database, rules))
            return query


def _choose_in_turn(
    connection: Connection, slot: SlotKey, last_account: str | None, now: Reading, rules: Rules
) -> Chosen | None:
    """Return the first account in turn with due orders that could be locked, the choice, and these orders."""
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
    """Choose, for `Grants`, the orders that a person has named: all of them or none, due or not, in any state. They are
    of one account and id kind. The act is recorded with the grant."""
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
