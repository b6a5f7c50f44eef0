"""Worker, beat and producer run with the rights of deploy/redis/users.acl; the doctor names each that is missing."""

import base64
import json
import re
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from kombu.exceptions import OperationalError

from tests.support.command_line import ACCOUNT, CommandLine
from tests.support.databases import Sqlite
from tests.support.processes import environment, inspected, running_beat, running_worker, send_tasks
from tests.support.reconciling import Workbench
from tests.support.redis_users import PASSWORDS, edited
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually
from worker.broker.celery_settings import ORDERS_QUEUE
from worker.database.migrations import upgrade
from worker.doctor.readings import read_broker

pytestmark = pytest.mark.slow

RULES: Mapping[str, list[str]] = {
    user: rules.split() for user, rules in re.findall(r"^user (reconciler|billing) (.*)$", edited(), re.MULTILINE)
}
RIGHTS = [rule for rule in RULES["reconciler"] if rule[0] in "~&+"]
# Without these there is no connection; of the others the doctor's other findings speak.
TO_CONNECT = ("+ping", "+select")
TO_READ = ("+exists", "+info", "~celery*")
IGNORED = {"client|setinfo", "config|get"}
"""What clients and the doctor ask for, and can do without."""


@dataclass
class Guarded:
    """A Redis with these users."""

    server: EmbeddedValkey

    def url(self, user: str) -> str:
        """Of database 3."""
        return self.server.url.replace("://", f"://{user}:{PASSWORDS[user]}@").removesuffix("/0") + "/3"

    def set_up(self, user: str, *, without: str | None = None) -> None:
        """Give a user its rights, but one."""
        with self.server.client() as client:
            rules = [rule for rule in RULES[user] if rule != without]
            client.execute_command("ACL", "SETUSER", user, "reset", *rules)

    def refused(self) -> set[str]:
        """What was refused so far: commands, keys and channels."""
        with self.server.client() as client:
            return {str(one["object"]) for one in client.acl_log()} - IGNORED


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def guarded(server: EmbeddedValkey) -> Guarded:
    with server.client() as client:
        client.flushall()
        client.acl_log_reset()
    guarded = Guarded(server)
    guarded.set_up("reconciler")
    guarded.set_up("billing")
    return guarded


@pytest.fixture
def bench(sqlite_server: Sqlite) -> Iterator[tuple[Workbench, str]]:
    with sqlite_server.migrated(upgrade) as url:
        bench = Workbench(url)
        yield bench, url
        bench.close()


def test_worker_beat_and_producer_run_with_these_rights(
    guarded: Guarded, bench: tuple[Workbench, str], tmp_path: Path
) -> None:
    orders, url = bench
    env = environment(
        database_url=url, broker_url=guarded.url("reconciler"), platform_url="http://127.0.0.1:9", tick_seconds=0.2
    )

    def send(*names: str) -> None:
        send_tasks(guarded.url("billing"), *(("reconciler.enqueue_order", [{"request_id": name}]) for name in names))

    def have_come(*names: str) -> None:
        eventually(lambda: {one.request_id for one in orders.orders()} >= {*names}, f"the orders {names}")

    # The first message comes before any worker has declared a queue.
    send("1")
    with running_beat(env, tmp_path), running_worker(env, tmp_path, name="first") as first:
        have_come("1")
        asked = inspected("ping", env=env, name="first")
        assert asked.returncode == 0, asked.stderr
        with orders.database.write():
            # Messages that a killed worker held come back.
            send("2", "3")
            # A message that is in neither place yet would be lost.
            eventually(lambda: held(guarded) >= {"2", "3"}, "the messages under way")
            first.send_to_all(signal.SIGKILL)
    let_them_time_out(guarded)
    with running_worker(env, tmp_path, name="second") as second:
        have_come("2", "3")
        assert second.stop() == 0
    assert guarded.refused() == set()


def held(guarded: Guarded) -> set[str]:
    """The ids of the orders in messages that are delivered and not acknowledged."""
    with redis.Redis.from_url(guarded.server.url.removesuffix("/0") + "/3") as client:
        bodies = [base64.b64decode(json.loads(entry)[0]["body"]) for entry in client.hvals("unacked")]
    return {order["request_id"] for body in bodies for order in json.loads(body)[0]}


def let_them_time_out(guarded: Guarded) -> None:
    """As if the visibility timeout had passed."""
    with redis.Redis.from_url(guarded.server.url.removesuffix("/0") + "/3") as client:
        for tag in client.zrange("unacked_index", 0, -1):
            client.zadd("unacked_index", {tag: time.time() - 1000})


@pytest.mark.parametrize("right", sorted({*RIGHTS} - {*TO_CONNECT, *TO_READ}))
def test_the_doctor_notices_that_a_right_is_missing(guarded: Guarded, right: str) -> None:
    guarded.set_up("reconciler", without=right)
    refused, _ = read_broker(guarded.url("reconciler"), seconds=5).replies["broker_rights"]
    assert refused, f"nothing is refused without {right}"
    with guarded.server.client() as client:
        assert client.info("keyspace") == {}


@pytest.mark.parametrize("right", TO_CONNECT)
def test_without_a_right_to_connect_the_broker_does_not_answer(guarded: Guarded, right: str) -> None:
    guarded.set_up("reconciler", without=right)
    with pytest.raises(OperationalError, match="no permissions"):
        read_broker(guarded.url("reconciler"), seconds=5)


@pytest.mark.parametrize("right", TO_READ)
def test_what_the_doctor_may_not_read_is_unknown(guarded: Guarded, right: str) -> None:
    guarded.set_up("reconciler", without=right)
    replies = read_broker(guarded.url("reconciler"), seconds=5).replies
    assert replies["broker_rights"] == ([], None)
    assert "permissions" in str((replies["default_queue"][1], replies["maxmemory_policy"][1]))


@pytest.mark.parametrize("renamed", ["MULTI", "EXEC"])
def test_without_a_transaction_that_can_be_discarded_nothing_is_tried(renamed: str) -> None:
    with EmbeddedValkey(rename_command=f'{renamed} ""') as server, server.client() as client:
        client.lpush(ORDERS_QUEUE, "an order")
        reading = read_broker(server.url, seconds=5)
        assert client.lrange(ORDERS_QUEUE, 0, -1) == [b"an order"]
        assert client.keys() == [ORDERS_QUEUE.encode()]
        refused, why_untried = reading.replies["broker_rights"]
        assert refused is None
        assert "MULTI" in str(why_untried)


def test_the_doctor_names_what_is_refused(guarded: Guarded, sqlite_server: Sqlite) -> None:
    with sqlite_server.migrated(upgrade) as url:
        cli = CommandLine(
            {
                **ACCOUNT,
                "RECONCILER_DATABASE_URL": url,
                "RECONCILER_BROKER_URL": guarded.url("reconciler"),
                "RECONCILER_PLATFORM_URL": "http://127.0.0.1:9",
            }
        )
        found = cli.checks()
        assert (found["broker_rights"]["status"], found["broker_rights"]["remedy"]) == ("ok", None)
        guarded.set_up("reconciler", without="&/3.celery.pidbox")
        found = cli.checks()
    assert found["broker_rights"]["status"] == "warning"
    assert "PSUBSCRIBE /3.celery.pidbox" in found["broker_rights"]["detail"]
    assert "docs/deployment.md" in found["broker_rights"]["remedy"]
