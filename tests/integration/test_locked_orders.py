"""Orders that a person holds locked in a transaction that stays open: what needs them waits, and all else comes in."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.support.processes import environment, running_worker, send_tasks
from tests.support.reconciling import Workbench, errors_of
from tests.support.sql import column_of, execute, rows_of, session
from tests.support.waiting import eventually
from worker.database.tables import REJECTED
from worker.database.transactions import RowsHeld
from worker.domain.records.orders import OrderState
from worker.operations.enqueue import enqueue
from worker.process.intake import Intake

pytestmark = pytest.mark.databases("postgresql", "mariadb")

HELD = ("held0", "held1", "held2", "held3")
MOBILE = "18812340804"


@contextmanager
def held(url: str, *names: str) -> Iterator[None]:
    """A person's transaction that has locked these orders, and does nothing more."""
    listed = ", ".join(f"'{name}'" for name in names)
    ids = column_of(url, f"SELECT id FROM recharge_orders WHERE account = 'default' AND request_id IN ({listed})")
    assert len(ids) == len(names)
    # By their row ids: by another index MariaDB locks the gaps before them as well.
    with left_open(url, f"SELECT id FROM recharge_orders WHERE id IN ({', '.join(map(str, ids))}) FOR UPDATE"):
        yield


@contextmanager
def left_open(url: str, statement: str) -> Iterator[None]:
    """A person's transaction that has made this statement, and does nothing more."""
    with session(url) as person:
        for one in ("BEGIN", statement):
            person.exec_driver_sql(one).close()
        yield
        person.exec_driver_sql("ROLLBACK")


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """What is done within takes no longer: 20 s, where it waits for a lock as a transaction of ours usually does."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def callback(request_id: str) -> dict[str, str]:
    """A callback body that says that an order was recharged."""
    return {"requestId": request_id, "appid": "app-1", "trafficSts": "1", "oriAmount": "2.94"}


def intake_of_a_worker(bench: Workbench) -> Intake:
    """An intake that does not wait."""
    return Intake(bench.database, bench.rules, bench.app_ids, waits=False)


@pytest.mark.slow
def test_all_other_orders_come_in_while_a_lock_lasts_and_afterwards_what_needed_it(
    migrated_database_url: str, broker_url: str, tmp_path: Path
) -> None:
    url, orders = migrated_database_url, "reconciler.enqueue_orders"
    settings = environment(database_url=url, broker_url=broker_url, app_id="app-1")
    with running_worker(settings, tmp_path) as worker:
        send_tasks(broker_url, (orders, [[{"request_id": name} for name in HELD]]))
        eventually(lambda: len(column_of(url, "SELECT id FROM recharge_orders")) == 4, "the orders")
        with held(url, *HELD):
            mixed = [
                [{"request_id": name, "mobile": MOBILE}, {"request_id": f"new-{name}-{number}"}]
                for number in range(10)
                for name in HELD
            ]
            send_tasks(
                broker_url,
                *((orders, [each]) for each in mixed),
                ("reconciler.record_callbacks", [[callback("held0")]]),
                ("reconciler.check_orders", [[{"request_id": "held1"}]]),
                ("reconciler.cancel_orders", [[{"request_id": "held2"}]]),
                ("reconciler.enqueue_order", [{"request_id": "held3", "custom_parm": "c3"}]),
                *((orders, [[{"request_id": f"single{number}"}]]) for number in range(400)),
            )
            # A process that waited for the lock would wait 20 s for each of these lists.
            eventually(lambda: len(column_of(url, "SELECT id FROM recharge_orders")) == 444, "all orders that are free")

        def are_applied() -> bool:
            columns = "state, mobile, custom_parm, check_requested_at"
            found = rows_of(url, f"SELECT {columns} FROM recharge_orders WHERE id <= 4 ORDER BY request_id")
            states, mobiles, parms, checks = zip(*found, strict=True)
            return (
                states == ("succeeded", "pending", "cancelled", "pending")
                and set(mobiles) == {MOBILE}
                and parms[3] == "c3"
                and checks[1] is not None
            )

        eventually(are_applied, "what needed the locked orders")
        assert worker.stop() == 0
    assert column_of(url, "SELECT id FROM rejected_orders") == []


def test_an_order_that_is_sent_again_needs_no_lock(bench: Workbench) -> None:
    bench.add("r1")
    with held(bench.url, "r1"):
        done: dict[str, Any] = bench.intake.enqueue_orders([{"request_id": name} for name in ("r1", "r2")])
        assert (done["accepted"], done["duplicates"]) == (1, 1)


def test_what_is_new_in_a_list_comes_in_though_another_order_of_it_waits(bench: Workbench) -> None:
    intake = intake_of_a_worker(bench)
    bench.add("r1")
    bench.intake.enqueue_orders([{"request_id": "r2", "mobile": "1"}])
    bench.intake.record_callbacks([callback("r2")])
    listed: list[object] = [
        {"request_id": 17},
        {"request_id": "r1", "custom_parm": "c1", "mobile": MOBILE},
        # The same order, by the id that waits to be filled in.
        {"custom_parm": "c1", "mobile": MOBILE},
        {"request_id": "r2"},
    ]
    with held(bench.url, "r1"):
        for _ in range(2):
            with pytest.raises(RowsHeld):
                intake.enqueue_orders(listed)
        assert [order.request_id for order in bench.orders()] == ["r1", "r2"]
        # As for any new order: its callback was waiting, and what was refused of it is over.
        assert bench.order("r2").state is OrderState.SUCCEEDED
        assert [row["is_open"] for row in bench.rows(REJECTED)] == [False]
        assert intake.seconds_since_commit() is not None
    # Whoever delivers the message again gets the answer of its last time.
    done: dict[str, Any] = intake.enqueue_orders(listed)
    assert (done["accepted"], done["duplicates"], sorted(map(str, errors_of(done)))) == (0, 3, ["0"])
    assert [(order.request_id, order.custom_parm) for order in bench.orders()] == [("r1", "c1"), ("r2", None)]
    assert [event["kind"] for event in bench.events_of("r1")] == ["filled_in"]
    assert len(bench.rows(REJECTED)) == 2


@pytest.mark.parametrize("statement", ["UPDATE recharge_orders SET remark = 'x'", "DELETE FROM recharge_orders"])
def test_what_a_person_is_changing_holds_up_no_new_order(bench: Workbench, statement: str) -> None:
    intake = intake_of_a_worker(bench)
    (known,) = bench.add("r1")
    # PostgreSQL cannot tell yet whether an order that is sent again is new.
    waits = pytest.raises(RowsHeld) if bench.database.kind == "postgresql" else nullcontext()
    with left_open(bench.url, f"{statement} WHERE id = {known.id}"):
        for names in (["r1"], ["r1", "r2"], ["r1", "r2", "r3"]):
            with at_most(5), waits:
                intake.enqueue_orders([{"request_id": name} for name in names])
        assert [order.request_id for order in bench.orders()] == ["r1", "r2", "r3"]
    done: dict[str, Any] = intake.enqueue_orders([{"request_id": name} for name in ("r1", "r2", "r4")])
    assert (done["accepted"], done["duplicates"]) == (1, 2)


@pytest.mark.databases("mariadb")
def test_a_new_order_in_a_locked_gap_waits_at_the_end_of_the_queue(bench: Workbench) -> None:
    intake = intake_of_a_worker(bench)
    bench.add("r1", "r3")
    # By its index, as on a long table: a person need not name the account.
    locks = "SELECT id FROM recharge_orders FORCE INDEX (uq_recharge_orders_request_id_account)"
    with left_open(bench.url, f"{locks} WHERE request_id IN ('r1', 'r3') FOR UPDATE"):
        for _ in range(2):
            with at_most(5), pytest.raises(RowsHeld):
                intake.enqueue_orders([{"request_id": "r2"}])
    done: dict[str, Any] = intake.enqueue_orders([{"request_id": "r2"}])
    assert done["accepted"] == 1


def test_the_wait_of_other_transactions_is_as_long_as_before(bench: Workbench) -> None:
    shown = {"postgresql": "SHOW lock_timeout", "mysql": "SELECT @@innodb_lock_wait_timeout"}[bench.database.kind]

    def wait() -> object:
        with bench.database.read() as connection:
            return connection.exec_driver_sql(shown).scalar_one()

    before = wait()
    intake = intake_of_a_worker(bench)
    intake.enqueue_orders([{"request_id": "r1"}])
    with held(bench.url, "r1"), pytest.raises(RowsHeld):
        intake.check_orders([{"request_id": "r1"}])
    assert wait() == before


@pytest.mark.databases("mariadb")
def test_a_session_that_is_lost_in_such_a_wait_is_replaced(bench: Workbench) -> None:
    losses = iter([execute])

    def lose_once(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO recharge_orders"):
            next(losses, lambda *_: None)(bench.url, f"KILL {cursor.connection.thread_id()}")

    sqlalchemy.event.listen(bench.database.engine, "before_cursor_execute", lose_once)
    done: dict[str, Any] = intake_of_a_worker(bench).enqueue_orders([{"request_id": "r1"}])
    assert (done["accepted"], next(losses, None)) == (1, None)


def test_a_kept_callback_of_a_locked_order_waits_alone(bench: Workbench) -> None:
    names = ["r1", "r2", "r3", "r4"]
    for name in names:
        bench.intake.record_callbacks([callback(name)])
    # As left by a process that was killed between its commit and its match.
    enqueue(bench.database, bench.rules, bench.app_ids, [{"request_id": name} for name in names], "test")
    intake = intake_of_a_worker(bench)
    with held(bench.url, "r1", "r3"):
        for _ in range(3):
            with at_most(5):
                intake.match_some_callbacks()
        settled = [order.request_id for order in bench.orders() if order.state is OrderState.SUCCEEDED]
        assert settled == ["r2", "r4"]
    for _ in range(2):
        intake.match_some_callbacks()
    assert {order.state for order in bench.orders()} == {OrderState.SUCCEEDED}


def test_a_new_order_is_committed_though_its_callback_names_a_locked_one_too(bench: Workbench) -> None:
    bench.add("r0")
    bench.intake.record_callbacks([{**callback("r1"), "customParm": "c1"}])
    bench.run("UPDATE recharge_orders SET custom_parm = 'c1'")
    intake = intake_of_a_worker(bench)
    with held(bench.url, "r0"), at_most(5):
        done: dict[str, Any] = intake.enqueue_orders([{"request_id": "r1"}])
    assert done["accepted"] == 1


def test_callbacks_checks_and_cancellations_of_a_locked_order_change_nothing_until_it_is_free(bench: Workbench) -> None:
    intake = intake_of_a_worker(bench)
    bench.add("r1", "r2")
    both: list[object] = [{"request_id": "r1"}, {"request_id": "r2"}]
    calls: list[Callable[[], object]] = [
        lambda: intake.record_callbacks([callback("r1"), callback("r2")]),
        lambda: intake.check_orders(both),
        lambda: intake.cancel_orders(both),
    ]
    with held(bench.url, "r1"):
        for call in calls:
            with pytest.raises(RowsHeld):
                call()
        assert [order.state for order in bench.orders()] == [OrderState.PENDING] * 2
        assert (bench.events_of("r1"), bench.events_of("r2")) == ([], [])
    done: dict[str, Any] = intake.record_callbacks([callback("r1"), callback("r2")])
    assert done["settled"] == 2


def test_an_order_that_changes_before_its_lock_is_filled_in_as_it_is_then(bench: Workbench) -> None:
    bench.add("r1")
    changes = iter([lambda: execute(bench.url, "UPDATE recharge_orders SET remark = 'meanwhile'")])

    def change_once(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FOR UPDATE" in statement:
            next(changes, lambda: None)()

    sqlalchemy.event.listen(bench.database.engine, "before_cursor_execute", change_once)
    bench.intake.enqueue_orders([{"request_id": "r1", "mobile": MOBILE}])
    order = bench.order("r1")
    assert (order.remark, order.mobile) == ("meanwhile", MOBILE)
    assert next(changes, None) is None


def test_a_long_list_gets_its_locks_while_others_hold_some_of_its_orders_for_a_moment(bench: Workbench) -> None:
    names = [f"r{number}" for number in range(200)]
    bench.add(*names)
    ids = [order.id for order in bench.orders()]
    ended = threading.Event()

    def hold_one_after_the_other(start: int) -> None:
        with session(bench.url) as other:
            for row in cycle(ids[start::7]):
                if ended.is_set():
                    return
                other.exec_driver_sql("BEGIN")
                other.exec_driver_sql(f"SELECT id FROM recharge_orders WHERE id = {row} FOR UPDATE").close()
                ended.wait(0.02)
                other.exec_driver_sql("ROLLBACK")

    with ThreadPoolExecutor(4) as threads:
        others = [threads.submit(hold_one_after_the_other, start) for start in range(4)]
        try:
            checks: dict[str, Any] = intake_of_a_worker(bench).check_orders([{"request_id": name} for name in names])
        finally:
            ended.set()
        assert [one.result() for one in others] == [None] * 4
    assert checks["queued"] == 200
