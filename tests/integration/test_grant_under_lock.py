"""The budget's row is locked from outside for ten windows. On release a window still lies between any two queries.

The same test catches a grant that waits for the row, reads its clocks before the wait and starts its deadline after it.
"""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC

import pytest
from sqlalchemy import select

from tests.support.reconciling import SID, Workbench
from tests.support.waiting import eventually
from worker.adapters.clock import HostClock
from worker.adapters.platform.client import PlatformClient
from worker.database.tables import BUDGETS
from worker.database.transactions import Database
from worker.domain.queries.budget import Permission, may_query, reserve
from worker.domain.queries.choose_batch import choose, first_pages
from worker.domain.records.accounts import AccountState
from worker.domain.records.parameters import Rules
from worker.domain.records.queries import Query
from worker.domain.records.query_errors import QueryError
from worker.domain.records.slots import Reading, SlotKey
from worker.domain.scheduling.poll_schedule import prior_schedule
from worker.domain.wire.signed_requests import Credentials
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack
from worker.reconcile import Reconciler
from worker.simulator.config import Account, SimulatorConfig
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay
from worker.simulator.server import Simulator
from worker.stores.pending_orders import claim, read_candidates
from worker.stores.platform_queries import add_query
from worker.stores.slots_and_accounts import lock_slot_of_token, mark_in_flight, save_slot

pytestmark = pytest.mark.slow

RULES = Rules(window_seconds=0.2, margin_seconds=0.05, deadline_seconds=0.2, grace_seconds=0.05, batch_size=5)
CREDENTIALS = Credentials(account_sid=SID, auth_token="fedcba9876543210fedcba9876543210", app_id="app-1")


@dataclass
class WaitingGrants:
    """The broken grant: it waits for the row, and decides by clocks that it read before."""

    database: Database
    clock: HostClock
    rules: Rules

    def take(self, slot: SlotKey) -> Query | None:
        """Take the slot by stale clocks."""
        with self.database.write() as connection:
            now = Reading(
                boot_id=self.clock.boot_id,
                boot=self.clock.boot(),
                database=self.database.now(connection).astimezone(UTC),
            )
            token = connection.execute(select(BUDGETS.c.token)).scalar_one()
            row = lock_slot_of_token(connection, slot.account_sid, slot.number, token)
            if row is None or may_query(row.slot, now, self.rules) is not Permission.QUERY:
                return None
            state = AccountState(account="default")
            candidates = read_candidates(
                connection, state.account, now.database, first_pages(state, now.database, self.rules)
            )
            choice = choose(candidates, state, prior_schedule(self.rules), now.database, self.rules)
            orders = claim(connection, "default", choice, now.database, self.rules.batch_size) if choice else ()
            if choice is None or not orders:
                return None
            query = add_query(connection, slot, "default", choice, orders, uuid.uuid4().hex, now.database)
            save_slot(connection, row.id, reserve(now, self.rules, query.token), now.database)
            mark_in_flight(connection, row.id, query.id, "default")
            return query


class LateReconciler(Reconciler):
    """Its deadline starts after the grant."""

    def reconcile(self, slot: SlotKey) -> Query | None:
        """One pass, with a deadline that a slow grant does not count against."""
        query = self._grants.take(slot)
        if query is not None:
            with suppress(QueryError):
                answer = self._client.query(
                    credentials=CREDENTIALS, id_kind=query.id_kind, ids=query.ids, started=self._clock.boot()
                )
                self._settle(query, answer)
        return query


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    config = SimulatorConfig(
        accounts=(Account(sid=SID, auth_token=CREDENTIALS.auth_token, app_id=CREDENTIALS.app_id),),
        window_seconds=RULES.window_seconds,
        adopt=True,
        faults=Faults(latency=Delay.parse("fixed:0.1")),
    )
    with Simulator(config) as simulator:
        yield simulator


@pytest.fixture
def bench(migrated_database_url: str) -> Iterator[Workbench]:
    bench = Workbench(migrated_database_url, RULES)
    clock = HostClock()
    bench.maintenance = SlotMaintenance(bench.database, clock, RULES)
    bench.grants = Grants(bench.database, clock, RULES)
    bench.write_back = WriteBack(bench.database, clock, RULES)
    bench.maintenance.prepare(bench.slots)
    bench.add(*(f"r{number}" for number in range(400)))
    yield bench
    bench.close()


def reconciler(bench: Workbench, simulator: Simulator, *, broken: bool = False) -> Reconciler:
    """A pass over the workbench's database and the simulated platform."""
    clock = HostClock()
    client = PlatformClient(
        base_url=simulator.url,
        version="201512",
        bracketed_ids=False,
        timezone=UTC,
        connect_timeout=RULES.deadline_seconds,
        deadline=RULES.deadline_seconds,
        clock=clock,
    )
    kind = LateReconciler if broken else Reconciler
    grants = WaitingGrants(bench.database, clock, RULES) if broken else bench.grants
    return kind(
        grants=grants,  # type: ignore[arg-type]  # the broken one is not the real one, on purpose
        client=client,
        write_back=bench.write_back,
        clock=clock,
        credentials={"default": CREDENTIALS},
        match_callbacks=bench.intake.match_callbacks,
    )


def query_while_the_row_is_locked_for_ten_windows(passes: Reconciler, bench: Workbench, simulator: Simulator) -> None:
    """Three loops query whenever they may, while an open slot's row is locked, and for six queries more."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            passes.reconcile(bench.slot)
            stop.wait(0.01)

    holder = Database(bench.url)
    with ThreadPoolExecutor(3) as threads:
        with holder.write() as connection:
            if bench.database.kind != "sqlite":
                connection.exec_driver_sql("SELECT * FROM query_budgets FOR UPDATE")
            # This tests real time on real databases. First the reservation passes: a grant that now reads its clocks
            # before the row finds the slot open.
            threading.Event().wait(RULES.reservation_seconds)
            loops = [threads.submit(loop) for _ in range(3)]
            threading.Event().wait(10 * RULES.window_seconds)
        try:
            eventually(lambda: len(simulator.record.arrivals()) >= 6, "six queries")
        finally:
            stop.set()
        for one in loops:
            one.result()
    holder.close()


def test_a_row_that_was_locked_for_ten_windows_opens_no_limit(bench: Workbench, simulator: Simulator) -> None:
    query_while_the_row_is_locked_for_ten_windows(reconciler(bench, simulator), bench, simulator)
    assert simulator.record.violations() == []
    smallest = simulator.record.smallest_spacings()[SID]
    assert smallest is not None
    assert smallest >= RULES.window_seconds


@pytest.mark.databases("postgresql", "mariadb")
def test_this_test_catches_a_grant_that_waits_for_the_row_with_clocks_read_before(
    bench: Workbench, simulator: Simulator
) -> None:
    passes = reconciler(bench, simulator, broken=True)
    query_while_the_row_is_locked_for_ten_windows(passes, bench, simulator)
    assert simulator.record.violations() != []
