"""Every pool that the worker accepts polls without a first message and without beat. Any other is refused by name."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.support import command_line
from tests.support.processes import (
    FAST,
    celery,
    environment,
    open_slots,
    refusal_to_start,
    running_platform,
    running_worker,
    send_tasks,
)
from tests.support.raw_query import read_control, write_control
from tests.support.server_process import free_port
from tests.support.servers import EmbeddedValkey
from tests.support.sql import column_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.databases("sqlite")]

POOLS = ("prefork", "threads", "solo")


@dataclass(frozen=True)
class Site:
    """A database and a platform with one settled order. No beat runs, and no message is sent."""

    folder: Path
    database_url: str
    platform: str

    def env(self, broker_url: str) -> dict[str, str]:
        urls = {"database_url": self.database_url, "broker_url": broker_url, "platform_url": self.platform}
        return environment(**urls, **FAST)

    def place(self, request_id: str) -> dict[str, str]:
        order = {"request_id": request_id, "mobile": "18812340804"}
        settled = {**order, "amount": "2.94", "outcome": "1", "settle_after": 0.0}
        assert write_control(self.platform, "orders", {"orders": [settled]}).status == 200
        return order

    def enqueue_by_command(self, order: dict[str, str]) -> None:
        (self.folder / "orders.csv").write_text("request_id,mobile\n{request_id},{mobile}\n".format(**order))
        command = [*command_line.PROGRAM, "enqueue", "orders.csv"]
        subprocess.run(command, env=self.env("redis://127.0.0.1:1/0"), cwd=self.folder, check=True)

    def states(self) -> list[Any]:
        return column_of(self.database_url, "SELECT state FROM recharge_orders")

    def wait_until_settled(self, count: int) -> None:
        eventually(lambda: self.states() == ["succeeded"] * count, f"{count} settled orders")


@pytest.fixture
def site(migrated_database_url: str, tmp_path: Path) -> Iterator[Site]:
    limit = environment(query_window_seconds=1)
    with running_platform(limit, tmp_path, "--no-adopt", "--latency", "fixed:0.3") as platform:
        yield Site(folder=tmp_path, database_url=migrated_database_url, platform=platform)


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_polls_without_a_message_and_accepts_orders(pool: str, site: Site, own_valkey: EmbeddedValkey) -> None:
    site.enqueue_by_command(site.place("2016010000000001"))
    with running_worker(site.env(own_valkey.url), site.folder, "--pool", pool) as worker:
        open_slots(site.database_url)
        site.wait_until_settled(1)
        send_tasks(own_valkey.url, ("reconciler.enqueue_order", [site.place("2016010000000002")]))
        send_tasks(own_valkey.url, ("reconciler.enqueue_orders", [[site.place("2016010000000003")]]))
        site.wait_until_settled(3)
        assert worker.stop() == 0
    assert "Traceback" not in worker.output
    assert read_control(site.platform, "record")["violations"] == []


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_polls_while_its_broker_is_away(pool: str, site: Site) -> None:
    site.enqueue_by_command(site.place("2016010000000001"))
    broker = f"redis://127.0.0.1:{free_port()}/0"
    with celery("worker", "--pool", pool, env=site.env(broker), log=site.folder / "worker.log"):
        open_slots(site.database_url)
        site.wait_until_settled(1)


@pytest.mark.parametrize("pool", POOLS)
def test_a_stop_waits_for_the_query_that_is_under_way(pool: str, site: Site, own_valkey: EmbeddedValkey) -> None:
    with running_worker(site.env(own_valkey.url), site.folder, "--pool", pool) as worker:
        open_slots(site.database_url)
        send_tasks(own_valkey.url, ("reconciler.enqueue_order", [site.place("2016010000000001")]))
        eventually(lambda: read_control(site.platform, "record")["arrivals"], "a query at the platform")
        assert worker.stop() == 0
    assert site.states() == ["succeeded"]


def test_the_main_process_of_prefork_holds_no_connection(site: Site, own_valkey: EmbeddedValkey) -> None:
    with running_worker(site.env(own_valkey.url), site.folder, "--pool", "prefork") as worker:
        open_slots(site.database_url)
        site.enqueue_by_command(site.place("2016010000000001"))
        site.wait_until_settled(1)
        file = str(make_url(site.database_url).database)
        assert file not in open_files(worker.pid)
        # A child that has sent no query opens its connection by its own tick.
        eventually(
            lambda: [file in open_files(child) for child in worker.children()] == [True, True], "two connections"
        )


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--pool", "gevent"], {}),
        # Celery's pool of greenlets, without the package: it is refused before it is made.
        (["--pool", "custom"], {"CELERY_CUSTOM_WORKER_POOL": "celery.concurrency.gevent:TaskPool"}),
    ],
)
def test_a_pool_of_greenlets_is_refused_in_one_sentence(
    arguments: list[str], variables: dict[str, str], tmp_path: Path
) -> None:
    line = refusal_to_start({**environment(), **variables}, tmp_path, *arguments)
    assert line.startswith("the worker does not start: the pool gevent ")
    assert line.endswith(": use --pool prefork (the default), threads or solo")


def open_files(pid: int) -> set[str]:
    folder = Path(f"/proc/{pid}/fd")
    if not folder.is_dir():
        pytest.skip("this system does not show the open files of a process")
    found = set()
    for file in folder.iterdir():
        # It may be closed meanwhile.
        with suppress(FileNotFoundError):
            found.add(os.readlink(file))
    return found
