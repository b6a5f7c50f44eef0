"""The write-back: what a query's end changes, in one guarded transaction that may be repeated; the query never is."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from sqlalchemy import Connection, update

from worker.adapters.clock import Clock
from worker.database.engine import Database
from worker.domain.accounts import AccountState, back_off
from worker.domain.answered import after_answer
from worker.domain.bad_ends import after_bad_end
from worker.domain.budget import Reading, tighten
from worker.domain.identity import OrderKey
from worker.domain.orders import Lane, OrderState
from worker.domain.outages import FAILED_AGAIN, return_to_batch
from worker.domain.queries import Aftermath, Query
from worker.domain.query_errors import QueryError
from worker.domain.reports import Answer, IdKind
from worker.domain.rules import Rules
from worker.stores.account_states import lock_states, save_state
from worker.stores.platform_queries import absent_ids_since, end_with_answer, end_with_error
from worker.stores.poll_schedules import read_prices
from worker.stores.query_budgets import (
    lock_slot_of_token,
    mark_in_flight,
    raise_window_of,
    read_clocks,
    save_slot,
)
from worker.stores.recharge_orders import ORDERS, lock_by_ids, lock_by_keys, lock_suspects, save_changes
from worker.stores.settlement_observations import add_notes

_MOST_NAMED = 10


class WriteBack:
    """Writes the ends of queries into the database."""

    def __init__(self, database: Database, clock: Clock, rules: Rules) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules

    def answered(self, query: Query, answer: Answer) -> Aftermath:
        """Write what an answer said. Repeated while the database is away, until the lease has run out."""

        def attempt(connection: Connection, now: Reading, holder: Query, state: AccountState) -> Aftermath:
            asked = [order.id for order in query.orders]
            rows = lock_by_keys(connection, self._named(query, answer), besides=asked)
            prices = read_prices(connection, query.account, self._rules)
            aftermath = after_answer(holder, answer, rows, state, prices=prices, now=now.database, rules=self._rules)
            add_notes(connection, {query.account: aftermath.notes}, now.database, self._rules)
            end_with_answer(connection, query, answer, aftermath, now.database)
            return aftermath

        return self._insist(query, attempt)

    def failed(self, query: Query, error: QueryError) -> Aftermath:
        """Write how a query failed, likewise."""

        def attempt(connection: Connection, now: Reading, holder: Query, state: AccountState) -> Aftermath:
            rows = lock_by_ids(connection, [order.id for order in query.orders])
            aftermath = after_bad_end(
                holder,
                error,
                rows,
                state,
                prices=read_prices(connection, query.account, self._rules),
                now=now.database,
                rules=self._rules,
                jitter=random.random(),
            )
            end_with_error(connection, query, error, now.database)
            return aftermath

        return self._insist(query, attempt)

    def _insist(
        self, query: Query, attempt: Callable[[Connection, Reading, Query, AccountState], Aftermath]
    ) -> Aftermath:
        return self._database.insisting(lambda: self._write(query, attempt), seconds=self._rules.reservation_seconds)

    def _write(
        self, query: Query, attempt: Callable[[Connection, Reading, Query, AccountState], Aftermath]
    ) -> Aftermath:
        with self._database.write() as connection:
            row = lock_slot_of_token(connection, query.account_sid, query.slot, query.token)
            # Read after the answer and under the row's lock.
            now = read_clocks(self._database, connection, self._clock)
            if row is not None:
                row = raise_window_of(connection, row, now, self._rules)
            # A stale token settles nothing and moves no slot: what was said is recorded only.
            holder = query if row is not None else replace(query, token="")
            states = lock_states(connection, query.sid_accounts)
            if row is not None and row.in_flight_query_id != query.id:
                # Written already: its COMMIT went through, only the word of it was lost.
                return Aftermath(state=states[query.account])
            aftermath = attempt(connection, now, holder, states[query.account])
            save_changes(connection, aftermath.changes, now.database)
            if row is None:
                return replace(aftermath, forgive_since=None, return_suspects=None)
            self._save_states(connection, query, aftermath, states, now)
            if aftermath.tightens_slot:
                save_slot(connection, row.id, tighten(row.slot, now, self._rules), now.database)
            mark_in_flight(connection, row.id, None, query.account)
            self._save_others(connection, query, aftermath, now)
            return aftermath

    def _save_states(
        self,
        connection: Connection,
        query: Query,
        aftermath: Aftermath,
        states: Mapping[str, AccountState],
        now: Reading,
    ) -> None:
        save_state(connection, aftermath.state)
        if aftermath.backs_off_whole_sid:
            for account in states.keys() - {query.account}:
                save_state(connection, back_off(states[account], self._rules, now.database, jitter=random.random()))

    def _named(self, query: Query, answer: Answer) -> list[OrderKey]:
        """The names that an item gives besides those that were asked about."""
        # Several items for one id settle nothing anyway, so a hostile answer's thousands need not all be looked up.
        spoken_of = [report for reports in answer.said.values() for report in reports[:_MOST_NAMED]]
        if query.is_alone:
            spoken_of.extend(answer.added[:_MOST_NAMED])
        named = {(IdKind.REQUEST_ID, report.request_id) for report in spoken_of}
        named |= {(IdKind.CUSTOM_PARM, report.custom_parm) for report in spoken_of}
        named -= {(kind, order.key.id_of(kind)) for order in query.orders for kind in IdKind}
        return [OrderKey(account=query.account).with_id(kind, name) for kind, name in named if name is not None]

    def _save_others(self, connection: Connection, query: Query, aftermath: Aftermath, now: Reading) -> None:
        """What an answer does to orders that it was not about."""
        if aftermath.forgive_since is not None:
            self._forgive(connection, query, aftermath.forgive_since, now)
        if aftermath.return_suspects is not None:
            suspects = lock_suspects(
                connection, query.account, *aftermath.return_suspects, before=FAILED_AGAIN, now=now.database
            )
            returned = [return_to_batch(order, query, now.database, self._rules) for order in suspects]
            save_changes(connection, returned, now.database)

    def _forgive(self, connection: Connection, query: Query, since: int, now: Reading) -> None:
        """What one-item answers left out was not absent: it is due at once, and asked like any other again."""
        names = absent_ids_since(connection, query, since)
        column = ORDERS.c.request_id if query.id_kind is IdKind.REQUEST_ID else ORDERS.c.custom_parm
        forgiven = (ORDERS.c.account == query.account) & column.in_(names) & ORDERS.c.lease_token.is_(None)
        connection.execute(
            update(ORDERS)
            .where(forgiven, ORDERS.c.state == OrderState.PENDING, ORDERS.c.suspect_group.is_(None))
            .values(absences=0, absence_mark=0, lane=Lane.BATCH, due_at=now.database, updated_at=now.database)
        )
