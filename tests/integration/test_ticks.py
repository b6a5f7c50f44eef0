"""Ticks: what they start, what they skip, and what happens where none comes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from structlog.testing import capture_logs

from tests.support.processes import accounts_file, alike_accounts
from tests.support.raw_query import TOKEN
from tests.support.reconciling import Workbench
from tests.support.scraping import Scraper
from tests.support.waiting import eventually
from tests.support.watching import Watching, unwatched
from worker.database.tables import ORDERS, QUERIES, REJECTED, SCHEDULES
from worker.domain.records.accounts import LongerWindow, Opening, SlotKey
from worker.domain.records.orders import OrderState, Source
from worker.process.runtime import Runtime
from worker.process.ticks import GRANTS_AT_ONCE, Ticks
from worker.settings import Settings
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay, NewOrder, Outcome
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator

pytestmark = pytest.mark.slow

WINDOW = 0.3
SETTLED = {OrderState.SUCCEEDED, OrderState.FAILED}

MANY = tuple(f"h{number}" for number in range(2 * GRANTS_AT_ONCE + 50))
"""Accounts that hang: more than there are threads for grants, and more than there are connections to the database."""


Run = Callable[..., AbstractContextManager[Runtime]]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    accounts = tuple(Account(sid=f"sid-{name}", auth_token=TOKEN, app_id=f"app-{name}") for name in ("a", "b", *MANY))
    config = SimulatorConfig(accounts=accounts, window_seconds=WINDOW, adopt=True, delay=Delay.parse("fixed:0"))
    with Simulator(config) as simulator:
        yield simulator


@contextmanager
def running(
    database_url: str,
    simulator: Simulator,
    tmp_path: Path,
    *,
    names: Sequence[str] = ("a", "b"),
    # A busy machine answers within it: a query that fails makes its orders wait. New slots wait as long.
    deadline_seconds: float = 5.0,
    tick_seconds: float = 0.05,
) -> Iterator[Runtime]:
    """One process's parts, with accounts that share nothing."""
    settings = Settings(
        database_url=database_url,
        platform_url=simulator.url,
        accounts_file=str(accounts_file(tmp_path, alike_accounts(names))),
        query_window_seconds=WINDOW,
        query_margin_seconds=0.05,
        request_deadline_seconds=deadline_seconds,
        callback_grace_seconds=0.05,
        tick_seconds=tick_seconds,
    )
    runtime = Runtime(settings)
    try:
        yield runtime
    finally:
        runtime.close()


@pytest.fixture
def run(bench: Workbench, simulator: Simulator, tmp_path: Path) -> Run:
    """Runs a process on the bench's database."""
    return partial(running, bench.url, simulator, tmp_path)


def enqueue(runtime: Runtime, account: str, count: int = 3) -> None:
    """Orders of one account that are due at once."""
    orders = [
        {"request_id": f"{account}{number}", "account": account, "submitted_at": "2020-01-01T00:00:00+08:00"}
        for number in range(count)
    ]
    assert runtime.intake.enqueue_orders(orders)["accepted"] == count


def states(bench: Workbench, account: str) -> set[OrderState]:
    return {row["state"] for row in bench.rows(ORDERS) if row["account"] == account}


@pytest.mark.databases("postgresql")
def test_many_accounts_whose_platform_hangs_delay_no_other(bench: Workbench, simulator: Simulator, run: Run) -> None:
    simulator.platform.set_faults(Faults(shares={"silent": 1.0}, sids=frozenset(f"sid-{name}" for name in MANY)))
    names = ("a", *MANY)
    # So long that each query hangs until the end of the test.
    with run(names=names, deadline_seconds=60.0) as runtime:
        # Together, in one list: the slots open while the orders are stored.
        orders = [{"request_id": name, "account": name, "submitted_at": "2020-01-01T00:00:00+08:00"} for name in MANY]
        assert runtime.intake.enqueue_orders(orders)["accepted"] == len(MANY)
        # Begins the slots' rows, whose first query would wait for a whole reservation: none was sent before.
        runtime.ticks.tick()
        bench.run("UPDATE query_budgets SET boot_due_us = 0")

        def are_hanging() -> bool:
            runtime.ticks.tick()
            return len({arrival.sid for arrival in simulator.record.arrivals()}) == len(MANY)

        eventually(are_hanging, "a query of each account that hangs")
        enqueue(runtime, "a")

        def is_settled() -> bool:
            runtime.ticks.tick()
            return states(bench, "a") <= SETTLED

        eventually(is_settled, "the orders of account a")
        assert {row["outcome"] for row in bench.rows(QUERIES) if row["account"] in MANY} == {"in_flight"}
        # Ends the exchanges.
        simulator.stop()
    assert simulator.record.violations() == []


def test_a_slot_that_opens_before_the_next_tick_waits_for_none(
    bench: Workbench, simulator: Simulator, run: Run
) -> None:
    # So long that the slot is closed when the tick reads it, and that no process ticks by itself within this test.
    with run(deadline_seconds=2.0, tick_seconds=60.0) as runtime:
        enqueue(runtime, "a")
        # The first begins the slots' rows, the second finds when they open.
        runtime.ticks.tick()
        runtime.ticks.tick()
        eventually(lambda: states(bench, "a") <= SETTLED, "the orders of account a")
    assert len(simulator.record.arrivals()) == 1


def test_requests_during_a_tick_wait_for_nothing_and_are_one_more_tick(bench: Workbench, run: Run) -> None:
    begun: list[None] = []
    may_end = threading.Event()

    def each_tick() -> None:
        begun.append(None)
        assert may_end.wait(100)

    def begin(count: int) -> None:
        eventually(lambda: len(begun) >= count, f"tick {count}")

    with run() as runtime:
        ticks = ticks_of(maintenance=bench.maintenance, reconciler=runtime.reconciler, each_tick=each_tick)
        ticks.request()
        begin(1)
        for _ in range(1000):
            ticks.request()
        may_end.set()
        begin(2)
        ticks.request()
        begin(3)
        ticks.close()
    assert len(begun) == 3


def test_ticks_learn_when_the_orders_of_each_account_settle(bench: Workbench, simulator: Simulator, run: Run) -> None:
    with run() as runtime:
        for account in ("a", "b"):
            orders = [{"request_id": f"{account}{number}", "account": account} for number in range(3)]
            # Settled before they are polled: when an open order is polled again depends on what is learned.
            settled_order = partial(NewOrder, app_id=f"app-{account}", outcome=Outcome.RECHARGED, settle_after=0.0)
            simulator.register([settled_order(request_id=order["request_id"]) for order in orders])
            assert runtime.intake.enqueue_orders(orders)["accepted"] == 3

        def has_schedule() -> bool:
            runtime.ticks.tick()
            with bench.database.read() as connection:
                accounts = set(connection.scalars(select(SCHEDULES.c.account)))
            return accounts == {"a", "b"} and states(bench, "a") | states(bench, "b") <= SETTLED

        eventually(has_schedule, "schedules for both accounts, and their orders settled")


def test_ticks_count_what_the_metrics_total(bench: Workbench, run: Run) -> None:
    at = bench.now() - timedelta(minutes=10)
    bench.run(insert(REJECTED), {"received_at": at, "source": "reconciler serve", "payload": "{}", "errors": "no"})
    with run() as runtime:
        runtime.ticks.tick()
    with Scraper(bench.url) as scraper:
        assert scraper.samples()['reconciler_rejected_total{source="reconciler serve"}'] == 1


def test_rows_that_a_restore_left_out_are_created_again_without_a_restart(
    bench: Workbench, simulator: Simulator, run: Run
) -> None:
    with run() as runtime:
        for account in ("a", "b"):
            enqueue(runtime, account, 1000)

        def queries_of(account: str) -> int:
            runtime.ticks.tick()
            return sum(row["account"] == account for row in bench.rows(QUERIES))

        eventually(lambda: queries_of("a") and queries_of("b"), "queries of both accounts")
        bench.run("DELETE FROM account_states")
        bench.run("DELETE FROM query_budgets WHERE account_sid = 'sid-a'")
        before = queries_of("a")
        # The first of these queries may have been under way.
        eventually(lambda: queries_of("a") > before + 1, "more queries of account a")
    assert simulator.record.violations() == []


def test_a_tick_while_the_database_is_away_is_harmless(simulator: Simulator, tmp_path: Path) -> None:
    away = "postgresql://postgres@127.0.0.1:1/nowhere"
    with running(away, simulator, tmp_path) as runtime:
        runtime.ticks.tick()
    assert simulator.record.arrivals() == []


def test_an_order_that_learns_its_request_id_by_an_answer_is_settled_by_the_callback_that_waited_for_it(
    bench: Workbench, simulator: Simulator, run: Run
) -> None:
    simulator.register(
        [NewOrder(request_id="R1", custom_parm="C1", app_id="app-a", mobile="18812340804", outcome=Outcome.STUCK)]
    )
    with run() as runtime:
        order = {"custom_parm": "C1", "account": "a", "mobile": "18812340804", "submitted_at": "2020-01-01T00:00:00Z"}
        assert runtime.intake.enqueue_orders([order])["accepted"] == 1
        callback = {"requestId": "R1", "appid": "app-a", "trafficSts": "1", "oriAmount": "2.94"}
        assert runtime.intake.record_callbacks([callback])["kept"] == 1

        def is_settled() -> bool:
            runtime.ticks.tick()
            return states(bench, "a") == {OrderState.SUCCEEDED}

        eventually(is_settled, "the callback's result")
    assert (bench.order("C1").request_id, bench.order("C1").settled_by) == ("R1", Source.CALLBACK)


def ticks_of(**parts: Any) -> Ticks:
    """The ticks of a process that has these parts, and no tick but those that the test requests."""
    plain: dict[str, Any] = {
        "slots": (),
        "idle_accounts": lambda _: (),
        "each_tick": lambda: None,
        "period_seconds": 60.0,
        "watchdog": unwatched(),
    }
    return Ticks(**plain | parts)


def slots_of_one_sid(count: int) -> list[SlotKey]:
    return [SlotKey(account_sid="sid", number=number, app_ids={"a": "app"}) for number in range(count)]


class Hanging:
    """Stands for a reconciler whose grant waits until it may end, as one whose thread never starts."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def take(self, _: SlotKey) -> None:
        self.has_begun.set()
        assert self.may_end.wait(300)


def test_a_pass_that_hangs_is_found_however_often_the_process_ticks(bench: Workbench) -> None:
    watching, hanging = Watching(), Hanging()
    ticks = ticks_of(maintenance=bench.maintenance, slots=[bench.slot], reconciler=hanging, watchdog=watching.dog)

    def under_way() -> set[str]:
        return {watched.what for watched in list(watching.dog.under_way)}

    def has_begun() -> bool:
        ticks.request()
        return hanging.has_begun.is_set()

    eventually(has_begun, "a pass")
    watching.pass_time(150)
    ticks.request()
    eventually(lambda: watching.hanging() == {"a pass"}, "a pass that hangs, and ticks that go on")
    watching.pass_time(51)
    assert set(watching.ended) == {"a pass"}
    hanging.may_end.set()
    eventually(lambda: "a pass" not in under_way(), "the end of the pass")
    assert watching.dog.seconds_hanging() is None
    ticks.close()
    assert under_way() == set()


class Openings:
    """Stands for the slots' rows: each opens after `in_seconds`, and had the query of its last token before."""

    longer_windows: Sequence[LongerWindow] = ()
    last_token = "first"
    in_seconds = 0.0

    def openings(self, slots: Sequence[SlotKey], *, within_seconds: float) -> list[Opening]:
        return [Opening(slot=slot, in_seconds=self.in_seconds, last_token=self.last_token) for slot in slots]


class Taken:
    """Stands for a reconciler that takes no slot, and notes which it was to take."""

    def __init__(self) -> None:
        self.slots: list[int] = []

    def take(self, slot: SlotKey) -> object | None:
        self.slots.append(slot.number)
        return None


def test_a_tick_starts_the_passes_of_the_slots_that_are_in_turn() -> None:
    taken, openings = Taken(), Openings()
    parts: dict[str, Any] = {"maintenance": openings, "reconciler": taken, "in_turn": lambda wanted: wanted[1:]}
    ticks = ticks_of(slots=slots_of_one_sid(3), **parts)
    ticks.tick()
    eventually(lambda: sorted(taken.slots) == [1, 2], "passes for the slots in turn")
    # As they open, too.
    openings.in_seconds, openings.last_token = 0.05, "second"
    taken.slots.clear()
    ticks.tick()
    eventually(lambda: sorted(taken.slots) == [1, 2], "passes for the slots in turn")
    ticks.close()


class OneByOne:
    """Stands for a reconciler on a slow database: each grant waits until it is let through."""

    def __init__(self) -> None:
        self.may_end = threading.Semaphore(0)
        self.begun: list[int] = []

    def take(self, slot: SlotKey) -> None:
        self.begun.append(slot.number)
        assert self.may_end.acquire(timeout=100)


def test_passes_that_wait_for_their_turn_do_not_hang_while_grants_are_made() -> None:
    watching, slow = Watching(), OneByOne()
    slots = slots_of_one_sid(GRANTS_AT_ONCE + 2)
    ticks = ticks_of(maintenance=Openings(), slots=slots, reconciler=slow, watchdog=watching.dog)
    ticks.tick()
    eventually(lambda: len(slow.begun) == GRANTS_AT_ONCE, "a grant in each thread")
    watching.pass_time(150)
    assert len(watching.all_hanging()) >= len(slots)
    slow.may_end.release()
    eventually(lambda: len(slow.begun) == GRANTS_AT_ONCE + 1, "the turn of the next one")
    # Neither that one nor the one behind it.
    eventually(lambda: watching.all_hanging().count("a pass") == GRANTS_AT_ONCE - 1, "steps of the other passes")
    slow.may_end.release(2 * len(slots))
    ticks.close()


def test_a_longer_window_of_another_worker_is_logged_once_with_what_to_do() -> None:
    slots = Openings()
    (slot,) = slots_of_one_sid(1)
    slots.longer_windows = [LongerWindow(slot=slot, its_window=120.0, our_window=60.0)]
    ticks = ticks_of(maintenance=slots, reconciler=OneByOne())
    with capture_logs() as logs:
        for _ in range(3):
            ticks.tick()
    ticks.close()
    (line,) = [one for one in logs if one["action"] == "longer_window"]
    assert (line["log_level"], line["accounts"], line["their_window_seconds"]) == ("error", ["a"], 120.0)
    assert "reconciler limit --window 60" in line["help"]


def test_closing_waits_for_the_query_that_is_under_way(bench: Workbench, simulator: Simulator, run: Run) -> None:
    simulator.platform.set_faults(Faults(latency=Delay.parse("fixed:0.3")))
    with run(deadline_seconds=60.0) as runtime:
        enqueue(runtime, "a")
        # The first query would wait for a whole reservation.
        runtime.ticks.tick()
        bench.run("UPDATE query_budgets SET boot_due_us = 0")

        def is_querying() -> bool:
            runtime.ticks.tick()
            return bool(simulator.record.arrivals())

        eventually(is_querying, "a query")
    assert [row["outcome"] for row in bench.rows(QUERIES)] == ["answered"]
