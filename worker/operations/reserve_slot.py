"""The grant: one short transaction that takes a slot, leases the orders and commits the query's row; then we may send.

The order of its steps is the point; `worker.domain.budget` says why. A clock that is read before a lock wait is stale
after it; a deadline that starts after the commit would let a slow grant eat into the next window.
"""

import math
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from worker.adapters.clock import Clock
from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.back_off import restart_stepped_backoff
from worker.domain.budget import Permission, begin, clamp, is_longer, may_query, opens_in, reserve
from worker.domain.choose_batch import choose, spend
from worker.domain.index_ranges import first_pages, next_pages
from worker.domain.lane_shares import accounts_in_turn
from worker.domain.records.accounts import AccountState
from worker.domain.records.candidates import Choice
from worker.domain.records.orders import Order
from worker.domain.records.parameters import Rules
from worker.domain.records.queries import Query
from worker.domain.records.slots import LongerWindow, Opening, Reading, SlotKey
from worker.domain.scheduling.poll_schedule import PollSchedule, prior_schedule
from worker.operations.learn import read_schedule
from worker.operations.slot_windows import raise_window_of, read_clocks
from worker.stores.account_states import lock_states, save_state
from worker.stores.due_orders import claim, read_candidates
from worker.stores.platform_queries import add_query, mark_lost
from worker.stores.query_budgets import (
    SlotRow,
    add_slot,
    lock_free_slot,
    lock_rows,
    mark_in_flight,
    read_rows,
    save_slot,
)
from worker.stores.recharge_orders import lease


def _random_token() -> str:
    return uuid.uuid4().hex


class Grants:
    """The budget as the database keeps it. `new_token` draws what names a lease: it must never repeat itself."""

    def __init__(
        self, database: Database, clock: Clock, rules: Rules, new_token: Callable[[], str] = _random_token
    ) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules
        self._new_token = new_token
        self._longer_windows: Sequence[LongerWindow] = ()
        # They take a while to compute: better now than under the lock of the first grant.
        prior_schedule(rules)

    @property
    def longer_windows(self) -> Sequence[LongerWindow]:
        """The slots on which nothing is asked, as the last call of `openings` found them."""
        return self._longer_windows

    @retry_contention
    def prepare(self, slots: Sequence[SlotKey]) -> None:
        """Begin the rows that slots and their accounts lack."""
        sids = {slot.account_sid for slot in slots}
        with self._database.write() as connection:
            known = read_rows(connection, sids)
            known_slots = {(row.account_sid, row.number) for row in known}
            now = read_clocks(self._database, connection, self._clock)
            for slot in slots:
                if slot.key not in known_slots:
                    windows = [row.slot.window_seconds for row in known if row.account_sid == slot.account_sid]
                    begun = begin(now, self._rules, longest_window_seconds=max(windows, default=0.0))
                    add_slot(connection, slot.account_sid, slot.number, begun, now.database)
            lock_states(connection, {account for slot in slots for account in slot.app_ids})

    @retry_contention
    def raise_windows(self, sids: Collection[str], *, waits: bool = True) -> None:
        """Raise the windows of these SIDs' rows that are shorter than ours: of all rows, those of slots included that
        only another deployment has. `waits`: for whoever holds a row; else that one stays for the next time."""
        with self._database.write() as connection:
            shorter = self._shorter(read_rows(connection, sids))
            rows = lock_rows(connection, shorter, waits=waits) if shorter else []
            now = read_clocks(self._database, connection, self._clock)
            for row in rows:
                raise_window_of(connection, row, now, self._rules)

    def openings(self, slots: Sequence[SlotKey], *, within_seconds: float = 0.0) -> list[Opening]:
        """The slots that may carry a query within so many seconds, as far as one look without a lock can tell.

        A slot without a row, seen for the first time or lost in a restore, is given one and waits. A window that is
        shorter than ours is raised: a worker that has it may have begun the row, or brought it from a backup.
        """
        sids = {slot.account_sid for slot in slots}
        with self._database.read() as connection:
            rows = read_rows(connection, sids)
            now = read_clocks(self._database, connection, self._clock)
        own = self._rules.window_seconds
        if self._shorter(rows):
            # Not waiting: whoever holds a row must hold up no other slot.
            self.raise_windows(sids, waits=False)
        windows = {(row.account_sid, row.number): row.slot.window_seconds for row in rows}
        self._longer_windows = [
            LongerWindow(slot=slot, its_window=windows[slot.key], our_window=own)
            for slot in slots
            if is_longer(windows.get(slot.key, 0.0), own)
        ]
        opens = {(row.account_sid, row.number): opens_in(row.slot, now, self._rules) for row in rows}
        if any(slot.key not in opens for slot in slots):
            self.prepare(slots)
        openings = [Opening(slot=slot, in_seconds=opens.get(slot.key, math.inf)) for slot in slots]
        return [opening for opening in openings if opening.in_seconds <= within_seconds]

    @retry_contention
    def take(self, slot: SlotKey) -> Query | None:
        """Take a slot for the orders that are most worth it.

        None where the slot is not to be had, not yet due, or nothing is worth asking. A deadlock is retried:
        nothing was sent yet. Once this returns a query, its reservation is committed.
        """
        with self._database.write() as connection:
            row = lock_free_slot(connection, slot.account_sid, slot.number)
            if row is None:
                return None
            now = read_clocks(self._database, connection, self._clock)
            row = raise_window_of(connection, row, now, self._rules)
            match may_query(row.slot, now, self._rules):
                case Permission.CLAMP:
                    save_slot(connection, row.id, clamp(row.slot, now, self._rules), now.database)
                    return None
                case Permission.WAIT | Permission.REFUSE:
                    return None
            states = lock_states(connection, slot.app_ids)
            for account in accounts_in_turn(tuple(slot.app_ids), row.last_account):
                if not _may_be_queried(connection, states[account], now):
                    continue
                query = self._query_account(connection, slot, row, states[account], now)
                if query is not None:
                    return query
            return None

    def _query_account(
        self, connection: Connection, slot: SlotKey, row: SlotRow, state: AccountState, now: Reading
    ) -> Query | None:
        schedule = read_schedule(connection, state.account, self._rules)
        choice = choose_due(connection, state, schedule, now.database, self._rules)
        if choice is None:
            return None
        orders = claim(connection, state.account, choice, now.database, self._rules.batch_size)
        if not orders:
            return None
        return self._reserve(connection, slot, row, state, choice, orders, now)

    def _reserve(
        self,
        connection: Connection,
        slot: SlotKey,
        row: SlotRow,
        state: AccountState,
        choice: Choice,
        orders: tuple[Order, ...],
        now: Reading,
    ) -> Query:
        token = self._new_token()
        mark_lost(connection, row.in_flight_query_id)
        query_id = add_query(
            connection,
            {
                "account": state.account,
                "account_sid": slot.account_sid,
                "slot": slot.number,
                "work": choice.work.value,
                "id_kind": choice.id_kind,
                "order_count": len(orders),
                "sent_at": now.database,
                "polled_ids": ",".join(order.polled_id for order in orders),
            },
        )
        # Past the deadline: a crash needs no sweeper, the lease runs out.
        until = now.database + timedelta(seconds=self._rules.reservation_seconds)
        lease(connection, orders, token, until)
        save_slot(connection, row.id, reserve(now, self._rules, token), now.database)
        mark_in_flight(connection, row.id, query_id, state.account)
        save_state(connection, spend(state, choice, now.database, self._rules))
        return Query(
            id=query_id,
            account=state.account,
            app_id=slot.app_ids[state.account],
            account_sid=slot.account_sid,
            slot=slot.number,
            sid_accounts=tuple(slot.app_ids),
            token=token,
            id_kind=choice.id_kind,
            work=choice.work,
            sent_at=now.database,
            orders=orders,
        )

    def _shorter(self, rows: Sequence[SlotRow]) -> list[int]:
        own = self._rules.window_seconds
        return [row.id for row in rows if is_longer(own, row.slot.window_seconds)]


def choose_due(
    connection: Connection, state: AccountState, schedule: PollSchedule, now: datetime, rules: Rules
) -> Choice | None:
    """Read what is due and choose what the account's next slot is spent on; None where nothing is due.

    The first page of each index range is read, and a choice made. Where a batch exhausts pages, the next page of those
    ranges is read, and the choice is made again.
    """
    found = read_candidates(connection, state.account, now, first_pages(state, now, rules))
    choice = choose(found, state, schedule, now, rules)
    if choice is None or not choice.exhausted:
        return choice
    more = read_candidates(connection, state.account, now, next_pages(choice.exhausted, rules))
    return choose([*found, *more], state, schedule, now, rules)


def _may_be_queried(connection: Connection, state: AccountState, now: Reading) -> bool:
    restarted = restart_stepped_backoff(state, now.database)
    if restarted != state:
        save_state(connection, restarted)
    return state.paused_at is None and not restarted.is_backed_off(now.database)
