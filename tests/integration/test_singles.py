"""What a broker has accepted is applied, whichever process dies: single orders on real workers, brokers and databases.

None is lost, and none fails with another. Lists of all kinds are killed in fault 22 (tests/faults).
"""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support.processes import environment, running_worker, send_tasks
from tests.support.servers import EmbeddedPostgres, EmbeddedValkey
from tests.support.sql import column_of, execute, rows_of, session
from tests.support.waiting import eventually, locked_table
from worker.database.migrations import upgrade

pytestmark = pytest.mark.slow

QUEUE = "reconciler.orders"
MANY = 150

# Unlike tests.support.processes.send_tasks: all are sent before the first answer is waited for.
_CALLER = """
import json, sys
from celery import Celery
app = Celery(broker=sys.argv[1], backend=sys.argv[2] or None)
sent = [app.send_task("reconciler.enqueue_order", [order], queue="reconciler.orders") for order in json.load(sys.stdin)]
if sys.argv[2]:
    for one in sent:
        print(json.dumps(one.get(timeout=100)))
"""


def calling(broker: str, orders: Sequence[object], backend: str = "") -> "subprocess.Popen[str]":
    """A program that sends each order by itself, and then prints the answers where there is a backend."""
    caller = subprocess.Popen(
        [sys.executable, "-c", _CALLER, broker, backend], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert caller.stdin is not None
    caller.stdin.write(json.dumps(orders))
    caller.stdin.close()
    # communicate() would flush it.
    caller.stdin = None
    return caller


def answers_of(caller: "subprocess.Popen[str]") -> list[Any]:
    output, _ = caller.communicate(timeout=200)
    assert caller.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


def send(broker: str, *names: str) -> None:
    answers_of(calling(broker, [{"request_id": name} for name in names]))


def names_of(count: int, letter: str = "s") -> list[str]:
    return [f"{letter}{number:04d}" for number in range(count)]


def ids_in(url: str) -> list[str]:
    return column_of(url, "SELECT request_id FROM recharge_orders ORDER BY request_id")


def before_the_seventh(url: str, action: str) -> None:
    """Let PostgreSQL run an action before it inserts the order s0007."""
    execute(
        url,
        "CREATE FUNCTION seventh() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN IF new.request_id = 's0007' THEN {action}; END IF; RETURN new; END $$",
        "CREATE TRIGGER seventh BEFORE INSERT ON recharge_orders FOR EACH ROW EXECUTE FUNCTION seventh()",
    )


@pytest.mark.databases("postgresql")
@pytest.mark.brokers("redis")
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_each_caller_has_an_answer_of_its_own(
    migrated_database_url: str, broker_url: str, own_valkey: EmbeddedValkey, tmp_path: Path, pool: str
) -> None:
    good, other = {"request_id": "r1", "custom_parm": "c1"}, {"request_id": "r2"}
    orders: list[object] = [good, good, {**good, "custom_parm": "c2"}, "no order", {"request_id": "a,b"}, other]
    env = environment(database_url=migrated_database_url, broker_url=broker_url, result_backend=own_valkey.url)
    with running_worker(env, tmp_path, "--pool", pool, "--concurrency", "1") as worker:
        answers = answers_of(calling(broker_url, orders, own_valkey.url))
        assert [(one["accepted"], one["duplicates"], len(one["rejected"])) for one in answers] == [
            (1, 0, 0),
            (0, 1, 0),
            (0, 0, 1),
            (0, 0, 1),
            (0, 0, 1),
            (1, 0, 0),
        ]
        refused = [one["rejected"][0] for one in answers if one["rejected"]]
        assert [one["index"] for one in refused] == [0, 0, 0]
        assert [one["errors"][0].partition(":")[0] for one in refused] == ["custom_parm", "order", "request_id"]
        assert worker.output.count("action=orders_enqueued") == len(orders)
        # Celery has two lines of its own for each task, which are left out.
        assert worker.output.count("reconciler.enqueue_order[") == 0
        with redis.Redis.from_url(broker_url) as broker:
            eventually(lambda: not broker.hlen("unacked"), "that every message is acknowledged")
        assert worker.stop() == 0


@pytest.mark.databases("postgresql")
@pytest.mark.brokers("redis")
def test_an_order_that_the_database_refuses_stops_no_other(
    migrated_database_url: str, broker_url: str, tmp_path: Path
) -> None:
    names = names_of(20)
    before_the_seventh(migrated_database_url, "RAISE 'refused'")
    env = environment(database_url=migrated_database_url, broker_url=broker_url)
    with running_worker(env, tmp_path) as worker:
        send(broker_url, *names)
        others = [name for name in names if name != "s0007"]
        eventually(lambda: ids_in(migrated_database_url) == others, "the other orders")
        worker.wait_for("action=task_failed")
        execute(migrated_database_url, "DROP TRIGGER seventh ON recharge_orders")
        eventually(lambda: ids_in(migrated_database_url) == names, "the order that was tried again")
        assert worker.stop() == 0


@pytest.mark.databases("postgresql")
@pytest.mark.brokers("redis")
def test_an_order_whose_task_is_revoked_is_enqueued_like_the_others(
    migrated_database_url: str, broker_url: str, tmp_path: Path
) -> None:
    names = names_of(20)
    before_the_seventh(migrated_database_url, "PERFORM pg_advisory_xact_lock(7)")
    env = environment(database_url=migrated_database_url, broker_url=broker_url)
    with (
        running_worker(env, tmp_path) as worker,
        Celery(broker=broker_url) as app,
        session(migrated_database_url) as holder,
    ):
        holder.exec_driver_sql("SELECT pg_advisory_lock(7)")
        for name in names:
            app.send_task("reconciler.enqueue_order", [{"request_id": name}], task_id=name, queue=QUEUE)
        # The view is of the whole server.
        waits = (
            "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database"
            " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
        )
        eventually(lambda: holder.exec_driver_sql(waits).all(), "the order that waits for the lock")
        app.control.revoke("s0007", terminate=True)
        worker.wait_for("command_refused")
        holder.exec_driver_sql("SELECT pg_advisory_unlock(7)")
        eventually(lambda: ids_in(migrated_database_url) == names, "all of them")
        assert worker.stop() == 0


class KilledAndStopped:
    """What holds on every pair of servers."""

    def test_orders_whose_process_is_killed_are_delivered_again(
        self, migrated_database_url: str, broker_url: str, tmp_path: Path
    ) -> None:
        names = names_of(MANY)
        env = environment(database_url=migrated_database_url, broker_url=broker_url)
        with running_worker(env, tmp_path) as worker:
            with locked_table(migrated_database_url, "recharge_orders") as lock:
                send(broker_url, *names)
                lock.wait_for_waiting()
                for child in worker.children():
                    os.kill(child, signal.SIGKILL)
            eventually(lambda: ids_in(migrated_database_url) == names, "all orders")
            assert worker.stop() == 0

    def test_a_worker_that_stops_leaves_what_it_has_not_begun_to_the_next(
        self, migrated_database_url: str, broker_url: str, tmp_path: Path
    ) -> None:
        names = names_of(MANY)
        env = environment(database_url=migrated_database_url, broker_url=broker_url)
        with running_worker(env, tmp_path) as worker:
            with locked_table(migrated_database_url, "recharge_orders") as lock:
                send(broker_url, *names)
                lock.wait_for_waiting()
                worker.send_signal(signal.SIGTERM)
                worker.wait_for("Warm shutdown")
            assert worker.wait() == 0
        assert ids_in(migrated_database_url)
        with running_worker(env, tmp_path, name="next"):
            eventually(lambda: ids_in(migrated_database_url) == names, "the orders that were left")


@pytest.mark.databases("postgresql")
@pytest.mark.brokers("redis")
class TestPostgresqlAndRedis(KilledAndStopped):
    def test_what_a_killed_worker_held_is_at_the_broker(
        self, migrated_database_url: str, broker_url: str, tmp_path: Path
    ) -> None:
        # It is delivered again after the visibility timeout of minutes: the test searches the broker instead.
        names = names_of(1000)
        env = environment(database_url=migrated_database_url, broker_url=broker_url)
        with running_worker(env, tmp_path) as worker:
            caller = calling(broker_url, [{"request_id": name} for name in names])
            eventually(lambda: len(ids_in(migrated_database_url)) > 50, "some orders", every=0.005)
            worker.kill()
            answers_of(caller)
        with redis.Redis.from_url(broker_url) as broker:
            waiting = [json.loads(one) for one in broker.lrange(QUEUE, 0, -1)]
            waiting += [json.loads(entry)[0] for entry in broker.hvals("unacked")]
        held = {json.loads(base64.b64decode(one["body"]))[0][0]["request_id"] for one in waiting}
        # kombu takes a message from the queue before it records it as unacknowledged: one message may be lost then.
        assert len(set(names) - held - set(ids_in(migrated_database_url))) <= 1


@pytest.mark.databases("mariadb")
@pytest.mark.brokers("rabbitmq")
class TestMariadbAndRabbitmq(KilledAndStopped):
    def test_a_stream_whose_worker_is_killed_again_and_again_loses_none(
        self, migrated_database_url: str, broker_url: str, tmp_path: Path
    ) -> None:
        names = names_of(600)
        env = environment(database_url=migrated_database_url, broker_url=broker_url)
        for number in range(2):
            # Each has orders of its own: the first may take in all that there are before it is killed.
            caller = calling(broker_url, [{"request_id": name} for name in names[300 * number : 300 * (number + 1)]])
            with running_worker(env, tmp_path, name=f"killed-{number}") as worker:
                worker.wait_for("action=orders_enqueued", times=50)
                worker.kill()
            answers_of(caller)
        with running_worker(env, tmp_path, name="last"):
            eventually(lambda: ids_in(migrated_database_url) == names, "all orders")


# Celery waits for up to 60 s before it tries a task again.
def test_singles_and_what_concerns_them_wait_for_a_database_that_is_away(
    own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    names = names_of(30)
    callback = {"requestId": "s0000", "trafficSts": "1", "oriAmount": "2.94"}
    expected = dict.fromkeys(names, "pending") | {"s0000": "succeeded", "s0001": "cancelled", "listed": "pending"}
    with EmbeddedPostgres() as postgres:
        upgrade(postgres.url)
        env = environment(database_url=postgres.url, broker_url=own_valkey.url)
        with running_worker(env, tmp_path) as worker:
            send(own_valkey.url, *names[:2])
            eventually(lambda: ids_in(postgres.url) == names[:2], "the first orders")
            postgres.kill()
            send(own_valkey.url, *names)
            send_tasks(
                own_valkey.url,
                ("reconciler.record_callbacks", [[callback]]),
                ("reconciler.cancel_orders", [[{"request_id": "s0001"}]]),
                ("reconciler.enqueue_orders", [[{"request_id": "listed"}]]),
            )
            worker.wait_for("Retry in")
            postgres.start()
            states = "SELECT request_id, state FROM recharge_orders"
            eventually(
                lambda: dict(map(tuple, rows_of(postgres.url, states))) == expected, "what was sent while it was away"
            )
            assert worker.stop() == 0
