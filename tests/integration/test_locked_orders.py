"""Orders that a person holds locked in a transaction that stays open: what names them is put off, all else comes in."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from tests.support.archiving import archive_all
from tests.support.command_line import CommandLine
from tests.support.processes import environment, running_worker, send_tasks
from tests.support.reconciling import Workbench, errors_of
from tests.support.scraping import Scraper
from tests.support.sql import column_of, execute, insert_rows, rows_of, session
from tests.support.waiting import eventually
from worker.database.tables import PUT_OFF, REJECTED
from worker.database.transactions import DatabaseError
from worker.domain.records.orders import OrderState
from worker.intake import Intake
from worker.operations.enqueue import enqueue

pytestmark = pytest.mark.databases("postgresql", "mariadb")

HELD = ("held0", "held1", "held2", "held3")
MOBILE = "18812340804"
ORDERS, CALLBACKS = "reconciler.enqueue_orders", "reconciler.record_callbacks"
CANCEL, CHECK = "reconciler.cancel_orders", "reconciler.check_orders"
LOCK = "SELECT id FROM {table} WHERE id IN ({ids}) FOR UPDATE"
CHANGE = "UPDATE {table} SET remark = 'mine' WHERE id IN ({ids})"
POISON = """
CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no poison'; END $$ LANGUAGE plpgsql;
CREATE TRIGGER poison BEFORE INSERT ON recharge_orders FOR EACH ROW WHEN (NEW.request_id = 'poison')
EXECUTE FUNCTION refuse();
"""


@contextmanager
def held(url: str, *names: str, by: str = LOCK, table: str = "recharge_orders") -> Iterator[Any]:
    """A person's transaction that has locked these orders, and does nothing more; yields its session."""
    listed = ", ".join(f"'{name}'" for name in names)
    ids = column_of(url, f"SELECT id FROM {table} WHERE account = 'default' AND request_id IN ({listed})")
    assert len(ids) == len(names)
    with session(url) as person:
        person.exec_driver_sql("BEGIN")
        # By their row ids: by another index MariaDB locks the gaps before them as well.
        person.exec_driver_sql(by.format(table=table, ids=", ".join(map(str, ids)))).close()
        yield person
        person.exec_driver_sql("ROLLBACK")


def callback(request_id: str, **fields: str) -> dict[str, str]:
    """A callback body that says that an order was recharged."""
    return {"requestId": request_id, "appid": "app-1", "trafficSts": "1", "oriAmount": "2.94", **fields}


def tick(bench: Workbench) -> None:
    """The tick of a process that has tried nothing of late."""
    Intake(bench.database, bench.rules, bench.app_ids).take_put_off()


def waiting(bench: Workbench) -> list[int]:
    """How many items each row holds that was put off."""
    return [row["item_count"] for row in bench.rows(PUT_OFF)]


@pytest.mark.slow
def test_all_but_the_locked_orders_come_in_while_the_lock_lasts_and_these_afterwards(
    migrated_database_url: str, broker_url: str, tmp_path: Path
) -> None:
    url, orders = migrated_database_url, [{"request_id": name} for name in HELD]
    settings = environment(database_url=url, broker_url=broker_url, app_id="app-1")
    with running_worker(settings, tmp_path) as worker:
        send_tasks(broker_url, (ORDERS, [orders]))
        eventually(lambda: len(column_of(url, "SELECT id FROM recharge_orders")) == 4, "the orders")
        with held(url, *HELD):
            mixed = [
                [{"request_id": name, "mobile": MOBILE}, {"request_id": f"new-{name}-{number}"}]
                for number in range(10)
                for name in HELD
            ]
            send_tasks(
                broker_url,
                *((ORDERS, [each]) for each in mixed),
                (CALLBACKS, [[callback("held0")]]),
                (CHECK, [[{"request_id": "held1"}]]),
                (CANCEL, [[{"request_id": "held2"}]]),
                ("reconciler.enqueue_order", [{"request_id": "held3", "custom_parm": "c3"}]),
                *((ORDERS, [[{"request_id": f"single{number}"}]]) for number in range(400)),
            )
            # A process that waited for the lock would wait 20 s for each of these lists.
            eventually(lambda: len(column_of(url, "SELECT id FROM recharge_orders")) == 444, "all orders that are free")
            assert sum(column_of(url, "SELECT item_count FROM put_off_items")) == 44

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

        eventually(are_applied, "what was put off")
        eventually(lambda: column_of(url, "SELECT id FROM put_off_items") == [], "no rows of what was put off")
        assert worker.stop() == 0
    assert column_of(url, "SELECT id FROM rejected_orders") == []


@pytest.mark.parametrize("by", [LOCK, CHANGE], ids=["locked", "changed"])
def test_what_names_a_held_order_is_put_off_and_the_rest_of_its_list_is_taken_in(bench: Workbench, by: str) -> None:
    bench.add("r1")
    with held(bench.url, "r1", by=by):
        # To wait for the lock would end in an error, after 20 s.
        listed: list[object] = [{"request_id": 17}, {"request_id": "r1", "mobile": MOBILE}, {"request_id": "r2"}, {}]
        done: dict[str, Any] = bench.intake.enqueue_orders(listed)
        assert (done["accepted"], done["duplicates"], done["put_off"]) == (1, 0, 1)
        assert sorted(map(str, errors_of(done))) == ["0", "3"]
        checks = [{"request_id": "r1"}, {"request_id": "r2"}]
        assert bench.intake.check_orders(checks) == {"queued": 1, "rejected": [], "put_off": 1}
        done = bench.intake.record_callbacks([callback("r1"), callback("r2")])
        assert (done["settled"], done["put_off"]) == (1, 1)
        assert bench.intake.cancel_orders([{"request_id": "r1"}])["put_off"] == 1
        tick(bench)
        assert waiting(bench) == [1, 1, 1, 1]
    tick(bench)
    # In the order in which they came: a cancelled order would not be settled.
    assert (bench.order("r1").mobile, bench.order("r1").state) == (MOBILE, OrderState.SUCCEEDED)
    assert [event["kind"] for event in bench.events_of("r1")] == ["filled_in", "check_requested", "settled"]
    assert (waiting(bench), len(bench.rows(REJECTED))) == ([], 2)
    assert "put_off" not in bench.intake.enqueue_orders([{"request_id": "r1"}])


def test_what_is_free_again_by_the_commit_is_taken_in_without_a_tick(bench: Workbench) -> None:
    bench.add("r1")
    with held(bench.url, "r1") as person:

        def end_once_it_is_put_off() -> None:
            if column_of(bench.url, "SELECT id FROM put_off_items"):
                person.exec_driver_sql("ROLLBACK")

        bench.database.before_statements(end_once_it_is_put_off)
        assert bench.intake.cancel_orders([{"request_id": "r1"}])["put_off"] == 1
        assert (bench.order("r1").state, waiting(bench)) == (OrderState.CANCELLED, [])


def test_a_list_that_names_a_held_order_twice_begins_no_second_one(bench: Workbench) -> None:
    bench.add("r1")
    with held(bench.url, "r1"):
        first, second = {"request_id": "r1", "custom_parm": "c1"}, {"custom_parm": "c1", "mobile": MOBILE}
        done = bench.intake.enqueue_orders([first, second, {"request_id": "r2"}])
        assert (done["accepted"], done["put_off"]) == (1, 2)
        tick(bench)
    tick(bench)
    assert [(order.request_id, order.custom_parm) for order in bench.orders()] == [("r1", "c1"), ("r2", None)]
    assert (waiting(bench), bench.rows(REJECTED)) == ([], [])


@pytest.mark.workbench(app_ids={"default": "app-1", "other": "app-2"})
def test_an_order_of_another_account_with_the_same_id_comes_in(bench: Workbench) -> None:
    bench.add("r1")
    bench.enqueue({"request_id": "r2", "account": "other"})
    with held(bench.url, "r1"):
        done: dict[str, Any] = bench.intake.enqueue_orders(
            [{"request_id": "r1"}, {"request_id": "r1", "account": "other"}]
        )
        assert (done["accepted"], done["put_off"]) == (1, 1)
        # A callback without an appid may be about either.
        sent = [callback("r1", appid="app-2"), callback("r2", appid=""), callback("r1", appid="")]
        done = bench.intake.record_callbacks(sent)
        assert (done["settled"], done["put_off"]) == (2, 1)


def test_a_callback_that_names_a_held_order_and_a_free_one_changes_neither(bench: Workbench) -> None:
    bench.add("r1")
    bench.enqueue({"custom_parm": "c1", "mobile": MOBILE})
    with held(bench.url, "r1"):
        assert bench.intake.record_callbacks([callback("r1", customParm="c1")])["put_off"] == 1
        assert [order.state for order in bench.orders()] == [OrderState.PENDING] * 2


def test_a_kept_callback_stays_kept_while_its_order_is_locked(bench: Workbench) -> None:
    assert bench.intake.record_callbacks([callback("r1"), callback("r2")])["kept"] == 2
    # Their commit, as if the process had ended before it looked for callbacks.
    enqueue(bench.database, bench.rules, bench.app_ids, [{"request_id": "r1"}, {"request_id": "r2"}], "a test")
    with held(bench.url, "r1"):
        bench.intake.match_some_callbacks()
        assert (bench.order("r1").state, bench.order("r2").state) == (OrderState.PENDING, OrderState.SUCCEEDED)
        assert waiting(bench) == []
    bench.intake.match_some_callbacks()
    assert bench.order("r1").state is OrderState.SUCCEEDED


def test_an_archived_order_that_is_locked_is_put_off_too(bench: Workbench) -> None:
    bench.add("r1")
    bench.intake.cancel_orders([{"request_id": "r1"}])
    assert archive_all(bench) == 1
    with held(bench.url, "r1", table="archived_orders"):
        assert bench.intake.enqueue_orders([{"request_id": "r1"}, {"request_id": "r2"}])["put_off"] == 1
    tick(bench)
    assert (waiting(bench), len(bench.orders())) == ([], 2)


def test_what_is_refused_later_is_kept_with_its_task_and_what_is_new_then_was_submitted_when_it_came(
    bench: Workbench,
) -> None:
    bench.enqueue({"request_id": "r1", "custom_parm": "c1", "mobile": MOBILE})
    with held(bench.url, "r1"):
        other = {"request_id": "r1", "custom_parm": "c2"}
        bench.intake.enqueue_orders([other, {"custom_parm": "c2", "mobile": MOBILE}])
        came = bench.now()
    bench.database.step = timedelta(hours=1)
    tick(bench)
    ((source, payload),) = [(row["source"], row["payload"]) for row in bench.rows(REJECTED)]
    assert source == ORDERS
    assert '"custom_parm": "c2"' in payload
    assert abs(bench.order("c2").submitted_at - came) < timedelta(minutes=1)
    assert waiting(bench) == []


def test_an_item_that_is_free_is_taken_out_of_its_row(bench: Workbench) -> None:
    bench.add("r1", "r2")
    with held(bench.url, "r1"):
        with held(bench.url, "r2"):
            assert bench.intake.cancel_orders([{"request_id": "r1"}, {"request_id": "r2"}])["put_off"] == 2
        tick(bench)
        assert (waiting(bench), bench.order("r2").state) == ([1], OrderState.CANCELLED)
    tick(bench)
    assert (waiting(bench), bench.order("r1").state) == ([], OrderState.CANCELLED)


def test_rows_that_cannot_be_read_keep_no_others_out_and_are_refused(bench: Workbench) -> None:
    bench.add("r1")
    row = {"received_at": "2016-01-31 18:05:00", "item_count": 1, "source": CANCEL}
    payloads = ({"payload": "[{"}, {"payload": '[{"request_id": "r1"}]'}, {"source": "a later task", "payload": "[1]"})
    insert_rows(bench.url, "put_off_items", *(row | one for one in payloads))
    tick(bench)
    assert (bench.order("r1").state, waiting(bench)) == (OrderState.CANCELLED, [])
    assert [(row["source"], row["payload"]) for row in bench.rows(REJECTED)] == [
        (CANCEL, "[{"),
        ("a later task", "[1]"),
    ]
    assert bench.rows(REJECTED)[0]["errors"].startswith("put off: could not be taken in (the row was kept in part only")


@pytest.mark.databases("postgresql")
def test_a_row_that_makes_the_transaction_fail_keeps_no_others_out_and_can_be_retried(bench: Workbench) -> None:
    row = {"received_at": "2016-01-31 18:05:00", "item_count": 1, "source": ORDERS}
    names = ("r1", "poison", "r2")
    insert_rows(bench.url, "put_off_items", *(row | {"payload": f'[{{"request_id": "{name}"}}]'} for name in names))
    with session(bench.url) as connection:
        connection.exec_driver_sql(POISON)
    tick(bench)
    assert ([order.request_id for order in bench.orders()], waiting(bench)) == (["r1", "r2"], [])
    (refused,) = bench.rows(REJECTED)
    assert refused["errors"] == "put off: could not be taken in (no poison)"
    execute(bench.url, "DROP TRIGGER poison ON recharge_orders")
    assert bench.intake.retry_rejected(refused["id"], actor="ann")["done"] == 1
    assert bench.order("poison").state is OrderState.PENDING


def test_an_intake_that_fails_leaves_neither_its_orders_nor_what_it_put_off(bench: Workbench) -> None:
    bench.add("r1")
    listed = [{"request_id": "r1"}, {"request_id": "r2"}]
    with held(bench.url, "r1"):
        execute(bench.url, "ALTER TABLE put_off_items RENAME TO renamed")
        with pytest.raises(DatabaseError):
            bench.intake.enqueue_orders(listed)
        assert len(bench.orders()) == 1
        execute(bench.url, "ALTER TABLE renamed RENAME TO put_off_items")
        assert bench.intake.enqueue_orders(listed)["put_off"] == 1
    assert (len(bench.orders()), waiting(bench)) == (2, [1])


@pytest.mark.slow
def test_many_rows_of_a_locked_order_do_not_keep_others_out(bench: Workbench) -> None:
    bench.add("r1", "r2")
    row = {"received_at": bench.now(), "source": CANCEL, "item_count": 1}
    names = ["r1"] * 100 + ["r2"]
    bench.run(insert(PUT_OFF), *(row | {"payload": f'[{{"request_id": "{name}"}}]'} for name in names))

    def is_cancelled(name: str) -> bool:
        bench.intake.take_put_off()
        return bench.order(name).state is OrderState.CANCELLED

    with held(bench.url, "r1"):
        # After a try in vain it rests for a while.
        eventually(lambda: is_cancelled("r2"), "the other order")
        assert waiting(bench) == [1] * 100
    eventually(lambda: is_cancelled("r1") and waiting(bench) == [], "the order that was locked")


def test_items_that_have_waited_for_ten_minutes_are_reported(bench: Workbench, cli: CommandLine) -> None:
    row = {"source": CANCEL, "payload": "[{}, {}]", "item_count": 2}
    bench.run(insert(PUT_OFF).values(received_at=bench.now() - timedelta(minutes=9), **row))
    with Scraper(bench.url) as scraper:
        assert scraper.samples()['reconciler_finding{name="orders_put_off"}'] == 0
    assert "orders_put_off" not in [one["name"] for one in cli.json("status")["findings"]]
    execute(bench.url, "UPDATE put_off_items SET received_at = '2016-01-31 18:05:00'")
    (found,) = [one for one in cli.json("status")["findings"] if one["name"] == "orders_put_off"]
    assert found["level"] == "warning"
    assert found["in_words"].startswith("2 items have waited, the first for ")
    with Scraper(bench.url) as scraper:
        assert scraper.samples()['reconciler_finding{name="orders_put_off"}'] == 1
