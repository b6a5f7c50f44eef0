"""Orders that a person holds locked in a transaction that stays open: what names them is put off, all else comes in."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from tests.support.archiving import archive_all
from tests.support.command_line import CommandLine
from tests.support.notifying import put_endpoint
from tests.support.processes import environment, running_worker, send_tasks
from tests.support.reconciling import Workbench, errors_of
from tests.support.scraping import Scraper
from tests.support.sql import column_of, execute, insert_rows, rows_of, session, statements_of
from tests.support.waiting import eventually
from worker.database.tables import NOTIFICATIONS, OBSERVATIONS, PUT_OFF, REJECTED
from worker.database.transactions import DatabaseError
from worker.domain.records.notifications import Rank
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
    """The tick of a process that has tried nothing of late, and that has the time."""
    Intake(bench.database, bench.rules, bench.app_ids).take_put_off(Steps())


class Steps:
    """A clock that goes on by a step each time it is read. `before` is what is done before a reading, by its number."""

    def __init__(self, step: float = 0.0, before: Mapping[int, Callable[[], object]] | None = None) -> None:
        self.step, self.before, self.readings = step, before or {}, 0

    def __call__(self) -> float:
        """The time at this reading: 0 at the first one."""
        self.before.get(self.readings, lambda: None)()
        self.readings += 1
        return self.step * (self.readings - 1)


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


def test_a_task_leaves_what_it_has_put_off_to_a_tick(bench: Workbench) -> None:
    bench.add("r1")
    with held(bench.url, "r1"), statements_of(bench.database.engine) as executed:
        assert bench.intake.cancel_orders([{"request_id": "r1"}])["put_off"] == 1
    assert not [one for one, _ in executed if "FROM put_off_items" in one]


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


@pytest.mark.databases("mariadb")
def test_a_lock_by_request_id_keeps_no_new_ids_out_with_read_committed(bench: Workbench) -> None:
    bench.add("r1", "r5", "r9")
    with session(bench.url) as person:
        # With REPEATABLE READ the gaps before and after r5 are locked as well.
        person.exec_driver_sql("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        person.exec_driver_sql("BEGIN")
        person.exec_driver_sql("SELECT id FROM recharge_orders WHERE request_id = 'r5' FOR UPDATE").close()
        done = bench.intake.enqueue_orders([{"request_id": name} for name in ("r4", "r5", "r6")])
        person.exec_driver_sql("ROLLBACK")
    assert (done["accepted"], done["put_off"]) == (2, 1)


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


def test_rows_that_cannot_be_read_keep_no_others_out_and_stay(bench: Workbench) -> None:
    bench.add("r1")
    row = {"received_at": "2016-01-31 18:05:00", "item_count": 1, "source": CANCEL}
    payloads = ({"payload": "[{"}, {"payload": '[{"request_id": "r1"}]'}, {"source": "a later task", "payload": "[1]"})
    insert_rows(bench.url, "put_off_items", *(row | one for one in payloads))
    tick(bench)
    assert (bench.order("r1").state, bench.rows(REJECTED)) == (OrderState.CANCELLED, [])
    assert [(row["source"], row["payload"]) for row in bench.rows(PUT_OFF)] == [(CANCEL, "[{"), ("a later task", "[1]")]


@pytest.mark.databases("postgresql")
def test_a_row_that_makes_the_transaction_fail_stays_and_keeps_out_only_what_names_its_orders(bench: Workbench) -> None:
    row = {"received_at": "2016-01-31 18:05:00", "item_count": 1}
    rows = [(ORDERS, "r1"), (ORDERS, "poison"), (CHECK, "poison"), (ORDERS, "r2")]
    payloads = [{"source": source, "payload": f'[{{"request_id": "{name}"}}]'} for source, name in rows]
    insert_rows(bench.url, "put_off_items", *(row | one for one in payloads))
    with session(bench.url) as connection:
        connection.exec_driver_sql(POISON)
    tick(bench)
    assert ([order.request_id for order in bench.orders()], waiting(bench)) == (["r1", "r2"], [1, 1])
    execute(bench.url, "DROP TRIGGER poison ON recharge_orders")
    tick(bench)
    # Had it been tried earlier, the check would have been refused: it named no order.
    assert (bench.order("poison").check_requested_at is not None, waiting(bench), bench.rows(REJECTED)) == (
        True,
        [],
        [],
    )


def test_a_tick_without_the_table_ends_and_what_waits_is_taken_in_later(bench: Workbench) -> None:
    bench.add("r1")
    with held(bench.url, "r1"):
        bench.intake.cancel_orders([{"request_id": "r1"}])
    execute(bench.url, "ALTER TABLE put_off_items RENAME TO renamed")
    tick(bench)
    execute(bench.url, "ALTER TABLE renamed RENAME TO put_off_items")
    tick(bench)
    assert (bench.order("r1").state, waiting(bench)) == (OrderState.CANCELLED, [])


@pytest.mark.parametrize("later", [{"request_id": "r1"}, {"custom_parm": "c1"}], ids=["same-id", "other-id"])
def test_what_comes_free_during_a_tick_is_taken_in_as_it_came(bench: Workbench, later: dict[str, str]) -> None:
    bench.enqueue({"request_id": "r1", "custom_parm": "c1"})
    with held(bench.url, "r1") as person:
        bench.intake.enqueue_orders([{"request_id": "r1", "mobile": MOBILE}])
        bench.intake.cancel_orders([later])
        bench.intake.take_put_off(Steps(before={2: lambda: person.exec_driver_sql("ROLLBACK")}))
    # The cancellation was free by then, but not what came before it.
    assert (waiting(bench), bench.order("r1").state) == ([1, 1], OrderState.PENDING)
    tick(bench)
    assert (waiting(bench), bench.order("r1").state, bench.order("r1").mobile) == ([], OrderState.CANCELLED, MOBILE)


def test_a_tick_ends_after_half_a_second_and_the_next_one_goes_on(bench: Workbench) -> None:
    names = [f"r{number}" for number in range(4)]
    bench.add(*names)
    with held(bench.url, *names):
        for name in names:
            bench.intake.enqueue_orders([{"request_id": name, "mobile": MOBILE}])
        bench.intake.cancel_orders([{"request_id": "r0"}])
        bench.intake.take_put_off(Steps(0.2))
    # The first two were tried in vain. What names their orders waits until these are tried again.
    bench.intake.take_put_off(Steps(0.1))
    assert [order.mobile for order in bench.orders()] == [None, None, MOBILE, MOBILE]
    assert (waiting(bench), bench.order("r0").state) == ([1, 1, 1], OrderState.PENDING)
    tick(bench)
    assert (waiting(bench), bench.order("r0").state, bench.order("r0").mobile) == ([], OrderState.CANCELLED, MOBILE)


def test_a_try_in_vain_writes_nothing_and_looks_once_for_a_held_order(bench: Workbench) -> None:
    bench.add("r1")
    with held(bench.url, "r1"):
        bench.intake.cancel_orders([{"request_id": "r1"}])
        bench.intake.record_callbacks([callback("r1")])
        with statements_of(bench.database.engine) as executed:
            tick(bench)
        assert [one for one, _ in executed if one.startswith(("INSERT", "UPDATE", "DELETE"))] == []
        # What was skipped is locked again, after a look into the archive.
        assert len([one for one, _ in executed if "FROM recharge_orders" in one and "FOR UPDATE" in one]) == 2


def test_a_locked_row_is_passed_over_with_the_later_ones_of_its_orders(bench: Workbench) -> None:
    bench.add("r1", "r2")
    with held(bench.url, "r1", "r2"):
        bench.intake.enqueue_orders([{"request_id": "r1", "mobile": MOBILE}])
        bench.intake.cancel_orders([{"request_id": "r1"}])
        bench.intake.cancel_orders([{"request_id": "r2"}])
    with session(bench.url) as person:
        person.exec_driver_sql("BEGIN")
        person.exec_driver_sql("SELECT id FROM put_off_items WHERE id = 1 FOR UPDATE").close()
        tick(bench)
        assert (waiting(bench), bench.order("r2").state) == ([1, 1], OrderState.CANCELLED)
        person.exec_driver_sql("ROLLBACK")
    tick(bench)
    assert (bench.order("r1").state, bench.order("r1").mobile) == (OrderState.CANCELLED, MOBILE)


def test_a_callback_that_waited_is_observed_when_it_came_and_notified_as_if_it_had_not_waited(bench: Workbench) -> None:
    put_endpoint(bench)
    bench.enqueue({"request_id": "r1"}, {"request_id": "r2"}, {"request_id": "r3"}, age_seconds=0)
    with held(bench.url, "r1", "r3"):
        bench.intake.record_callbacks([callback("r1"), callback("r2")])
        bench.intake.cancel_orders([{"request_id": "r3"}])
    bench.database.step = timedelta(hours=1)
    tick(bench)
    assert (bench.order("r1").state, bench.order("r3").state) == (OrderState.SUCCEEDED, OrderState.CANCELLED)
    observed = [json.loads(row["observations"]) for row in bench.rows(OBSERVATIONS)]
    assert observed[-1] == observed[-2]
    assert [row["rank"] for row in bench.rows(NOTIFICATIONS)] == [Rank.RESULT] * 3


@pytest.mark.workbench(app_ids={"default": "app-1"} | {f"a{number}": f"id{number}" for number in range(3000)})
def test_callbacks_that_may_be_of_any_of_many_accounts_do_not_wait_for_the_orders_of_one(bench: Workbench) -> None:
    bench.add("r0", "r1")
    with held(bench.url, "r0"):
        sent: list[object] = [callback(f"r{number}", appid="") for number in range(1000)]
        done: dict[str, Any] = bench.intake.record_callbacks(sent)
        assert (done["settled"], done["put_off"], len(done["rejected"])) == (1, 1, 998)
    tick(bench)
    assert (bench.order("r0").state, waiting(bench)) == (OrderState.SUCCEEDED, [])


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


def test_many_rows_of_a_locked_order_do_not_keep_others_out(bench: Workbench) -> None:
    bench.add("r1", "r2")
    row = {"received_at": bench.now(), "source": CANCEL, "item_count": 1}
    names = ["r1"] * 100 + ["r2"]
    bench.run(insert(PUT_OFF), *(row | {"payload": f'[{{"request_id": "{name}"}}]'} for name in names))
    with held(bench.url, "r1"):
        bench.intake.take_put_off(Steps(0.004))
        assert (bench.order("r2").state, waiting(bench)) == (OrderState.CANCELLED, [1] * 100)
    tick(bench)
    assert (bench.order("r1").state, waiting(bench)) == (OrderState.CANCELLED, [])


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
