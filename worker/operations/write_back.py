"""Write the effects of a query into the database, in one transaction. The transaction may be repeated, but the query is
never sent again."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from worker.adapters.clock import Clock
from worker.database.transactions import Connection, Database, retry_until
from worker.domain.accounts.platform_habits import FEWEST_IDS_AS_EVIDENCE
from worker.domain.accounts.waits import FAILED_AGAIN, back_off, return_to_batch
from worker.domain.queries.after_failure import Blame, after_query_failure
from worker.domain.queries.after_reply import QueryEffects, after_answer
from worker.domain.queries.reply_items import names_besides
from worker.domain.queries.slots_and_clocks import tighten
from worker.domain.queries.which_host_goes_first import CutOffHosts
from worker.domain.records.accounts import AccountState, Reading, Rules, SlotRow
from worker.domain.records.incoming import Answer, QueryError, Unreachable
from worker.domain.records.queries import Query
from worker.operations.learn import add_observations, read_schedule
from worker.operations.maintain_slots import raise_window_of, read_clocks
from worker.operations.save_orders import save_orders
from worker.operations.write_heartbeat import Peers
from worker.stores.accounts import (
    lock_slot_of_token,
    lock_states,
    note_answer_of_host,
    read_cut_off,
    save_cut_off,
    save_state,
    save_turn,
)
from worker.stores.platform_queries import absent_ids_since, end_with_answer, end_with_error
from worker.stores.recharge_orders import lock_by_ids, lock_by_keys, lock_suspects, reset_absences


class _Locked(NamedTuple):
    """The rows that a write-back has locked (the slot and the SID's accounts), and the clocks, read once the slot was
    locked."""

    row: SlotRow | None
    """The slot's row; None if the slot no longer has the token of the query."""
    holder: Query
    now: Reading
    states: Mapping[str, AccountState]
    is_written: bool
    """Whether an earlier try has already written the end of this query: the COMMIT of that try succeeded, but its
    confirmation was lost."""


class WriteBack:
    """Writes answers and query failures into the database. Also writes what they show about the connection of this
    host."""

    def __init__(self, database: Database, clock: Clock, rules: Rules, peers: Peers | None = None) -> None:
        """`peers` is this process and the other processes that take slots. If `peers` is None, nothing is recorded
        about this host."""
        self._database = database
        self._clock = clock
        self._rules = rules
        self._peers = peers
        self._retry = retry_until(seconds=rules.reservation_seconds)

    def answered(self, query: Query, answer: Answer) -> QueryEffects:
        """Write an answer. While the database is away, repeat the transaction until the lease has run out."""
        return self._retry(self._write_answer)(query, answer)

    def failed(self, query: Query, error: QueryError) -> QueryEffects:
        """Write how a query failed. While the database is away, repeat the transaction until the lease has run out."""
        effects = self._retry(self._write_error)(query, error)
        if self._peers is not None and isinstance(error, Unreachable):
            # This is set after the commit. Before the commit, there may be no row about this host, and a process that
            # finds no row would set it back to connected.
            self._peers.is_connected = False
        return effects

    def _write_answer(self, query: Query, answer: Answer) -> QueryEffects:
        with self._database.write() as connection:
            locked = self._lock(connection, query)
            state, now = locked.states[query.account], locked.now.database
            if locked.is_written:
                return QueryEffects(state=state)
            polled = [order.id for order in query.orders]
            rows = lock_by_keys(connection, names_besides(query, answer), besides=polled)
            schedule = read_schedule(connection, query.account, self._rules)
            effects = after_answer(locked.holder, answer, rows, state, schedule=schedule, now=now, rules=self._rules)
            add_observations(connection, {query.account: effects.observations}, now, self._rules)
            counts = {"settled": effects.settled, "pending": effects.pending, "absent": effects.absent}
            end_with_answer(connection, query, answer, **counts, now=now)
            self._note_answer(connection, query, now)
            return self._save(connection, query, effects, locked)

    def _write_error(self, query: Query, error: QueryError) -> QueryEffects:
        with self._database.write() as connection:
            locked = self._lock(connection, query)
            state, now = locked.states[query.account], locked.now.database
            if locked.is_written:
                return QueryEffects(state=state)
            effects = after_query_failure(
                locked.holder,
                error,
                lock_by_ids(connection, [order.id for order in query.orders]),
                state,
                schedule=read_schedule(connection, query.account, self._rules),
                now=now,
                rules=self._rules,
                jitter=random.random(),
                blame=self._note_failure(connection, query, error, state, now),
            )
            end_with_error(connection, query, error, now)
            return self._save(connection, query, effects, locked)

    def _note_answer(self, connection: Connection, query: Query, now: datetime) -> None:
        """Record that the platform has answered this host about the query's account, so that the host is not
        refused."""
        if self._peers is not None and (rows := read_cut_off(connection, host=self._peers.host)):
            is_for_all = self._peers.host in CutOffHosts(rows, now, self._rules).refused_for_all
            note_answer_of_host(connection, self._peers.host, query.account, probe_at=now if is_for_all else None)

    def _note_failure(
        self, connection: Connection, query: Query, error: QueryError, state: AccountState, now: datetime
    ) -> Blame:
        """Record what a failed query shows about this host. Return whether the host is to blame for the failure.
        `state` is the state of the account before the failure."""
        if self._peers is None:
            return Blame.NONE
        hosts, peers = CutOffHosts(read_cut_off(connection), now, self._rules), self._peers
        after, blame = hosts.after_failure(error, query, state, peers.host, peers.processes.values())
        if after is not None:
            save_cut_off(connection, replace(after, credentials=peers.credentials))
        return blame

    def _lock(self, connection: Connection, query: Query) -> _Locked:
        row = lock_slot_of_token(connection, query.account_sid, query.slot, query.token)
        # The clocks are read after the answer came, and once the slot's row is locked.
        now = read_clocks(self._database, connection, self._clock)
        if row is not None:
            row = raise_window_of(connection, row, now, self._rules)
        # If the slot has another token, the query came too late: it must not settle orders or change the slot. Its
        # answer is only recorded.
        holder = query if row is not None else replace(query, token="")
        states = lock_states(connection, query.sid_accounts)
        is_written = row is not None and row.in_flight_query_id != query.id
        return _Locked(row, holder, now, states, is_written)

    def _save(self, connection: Connection, query: Query, effects: QueryEffects, locked: _Locked) -> QueryEffects:
        row, now = locked.row, locked.now
        save_orders(connection, effects.changes, now.database)
        if row is None:
            return replace(effects, reset_absences_since=None, return_suspects=None)
        save_state(connection, locked.states[query.account], effects.state)
        if effects.backs_off_whole_sid:
            for name, state in locked.states.items():
                if name != query.account:
                    jitter = random.random()
                    waiting = back_off(state, self._rules, now.database, jitter=jitter, is_requested=True)
                    save_state(connection, state, waiting)
        slot = tighten(row.slot, now, self._rules) if effects.tightens_slot else row.slot
        save_turn(connection, row.id, slot, now.database, query_id=None, account=query.account)
        self._save_others(connection, query, effects, now)
        return effects

    def _save_others(self, connection: Connection, query: Query, effects: QueryEffects, now: Reading) -> None:
        """Change orders that the query did not poll, but about which its answer says something."""
        if effects.reset_absences_since is not None:
            # These orders were left out of answers that had only one item, so they were not really absent. They become
            # due at once, in the batch lane.
            names = absent_ids_since(
                connection, query, effects.reset_absences_since, fewest_orders=FEWEST_IDS_AS_EVIDENCE
            )
            reset_absences(connection, query.account, query.id_kind, names, now.database)
        if effects.return_suspects is not None:
            suspects = lock_suspects(
                connection, query.account, *effects.return_suspects, before=FAILED_AGAIN, now=now.database
            )
            returned = [return_to_batch(order, query, now.database, self._rules) for order in suspects]
            save_orders(connection, returned, now.database)
