"""Orders that a person holds locked, in a transaction that stays open: what names them waits, all others come in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import environment, running_worker, send_tasks
from tests.support.reconciling import Workbench
from tests.support.sql import column_of, rows_of, session
from tests.support.waiting import eventually
from worker.database.transactions import HeldOrders
from worker.domain.records.orders import OrderState
from worker.intake import Intake
from worker.operations.enqueue import enqueue

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgresql", "mariadb")]

HELD = ("held0", "held1", "held2", "held3")


@contextmanager
def held(url: str, *request_ids: str) -> Iterator[None]:
    """A person's transaction that has locked these orders, and does nothing more."""
    names = ", ".join(f"'{name}'" for name in request_ids)
    with session(url) as person:
        person.exec_driver_sql("BEGIN")
        # By an index: without one MariaDB locks all rows. It locks the gaps before these as well.

        chosen = f"SELECT id FROM recharge_orders WHERE account = 'default' AND request_id IN ({names}) FOR UPDATE"
        assert len(person.exec_driver_sql(chosen).all()) == len(request_ids)
        yield
        person.exec_driver_sql("ROLLBACK")


def callback(request_id: str) -> dict[str, str]:
    return {"requestId": request_id, "appid": "app-1", "trafficSts": "1", "oriAmount": "2.94"}


def test_all_but_the_locked_orders_come_in_while_the_lock_lasts_and_these_afterwards(
    migrated_database_url: str, broker_url: str, tmp_path: Path
) -> None:
    url, orders = migrated_database_url, [{"request_id": name} for name in HELD]
    settings = environment(database_url=url, broker_url=broker_url, app_id="app-1")
    with running_worker(settings, tmp_path) as worker:
        send_tasks(broker_url, ("reconciler.enqueue_orders", [orders]))
        eventually(lambda: len(column_of(url, "SELECT id FROM recharge_orders")) == 4, "the orders")
        with held(url, *HELD):
            mixed = [
                [{"request_id": name, "mobile": "18812340804"}, {"request_id": f"new-{name}-{number}"}]
                for number in range(10)
                for name in HELD
            ]
            send_tasks(
                broker_url,
                *(("reconciler.enqueue_orders", [each]) for each in mixed),
                ("reconciler.record_callbacks", [[callback("held0")]]),
                ("reconciler.check_orders", [[{"request_id": "held1"}]]),
                ("reconciler.cancel_orders", [[{"request_id": "held2"}]]),
                ("reconciler.enqueue_order", [{"request_id": "held3", "custom_parm": "c3"}]),
            )
            # A process that waited for the lock would wait 20 s for each of these lists.
            eventually(lambda: len(column_of(url, "SELECT id FROM recharge_orders")) == 44, "all orders that are free")

        def are_applied() -> bool:
            columns = "state, mobile, custom_parm, check_requested_at"
            found = rows_of(url, f"SELECT {columns} FROM recharge_orders WHERE id <= 4 ORDER BY request_id")
            states, mobiles, parms, checks = zip(*found, strict=True)
            return (
                states == ("succeeded", "pending", "cancelled", "pending")
                and set(mobiles) == {"18812340804"}
                and parms[3] == "c3"
                and checks[1] is not None
            )

        eventually(are_applied, "what was put off")
        assert worker.stop() == 0
    assert column_of(url, "SELECT id FROM rejected_orders") == []


@pytest.fixture
def intake(bench: Workbench) -> Intake:
    """An intake as the tasks have it."""
    return Intake(bench.database.passing_over(), bench.rules, bench.app_ids)


def test_a_callback_that_names_a_locked_order_and_a_free_one_changes_neither(bench: Workbench, intake: Intake) -> None:
    bench.add("r1")
    bench.enqueue({"custom_parm": "c1", "mobile": "18812340804"})
    with held(bench.url, "r1"), pytest.raises(HeldOrders) as raised:
        intake.record_callbacks([callback("r1") | {"customParm": "c1"}])
    assert raised.value.names == {"r1"}
    assert [order.state for order in bench.orders()] == [OrderState.PENDING] * 2


def test_a_kept_callback_waits_for_its_locked_order_and_keeps_no_other_from_its_own(
    bench: Workbench, intake: Intake
) -> None:
    assert intake.record_callbacks([callback("r1"), callback("r2")])["kept"] == 2
    # Their commit, as if the process had ended before it looked for callbacks.
    enqueue(bench.database, bench.rules, bench.app_ids, [{"request_id": "r1"}, {"request_id": "r2"}], "a test")
    with held(bench.url, "r1"):
        intake.match_some_callbacks()
        assert (bench.order("r1").state, bench.order("r2").state) == (OrderState.PENDING, OrderState.SUCCEEDED)
    intake.match_some_callbacks()
    assert bench.order("r1").state is OrderState.SUCCEEDED
