"""Two workers on one database whose boot clocks or windows differ, checked by what the platform saw."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.command_line import PROGRAM
from tests.support.namespaces import in_time_namespace
from tests.support.processes import CELERY, Program, celery, environment, running_platform, running_worker, send_tasks
from tests.support.raw_query import APP_ID, SID, TOKEN, read_control
from tests.support.waiting import eventually

SHORT, LONG = 1.0, 2.5
SETTINGS = {
    "query_window_seconds": SHORT,
    "query_margin_seconds": 0.05,
    "request_deadline_seconds": 1,
    "connect_timeout_seconds": 0.5,
    "callback_grace_seconds": 0.05,
    "unresolved_after_seconds": 31_536_000,
    "tick_seconds": 0.1,
    "batch_size": 1,
}
QUERIES = "querying the platform"
HAS_LONGER_WINDOW = "another worker on this database has a longer window"

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgresql"), pytest.mark.brokers("redis")]


class Deployment:
    """One platform, one database, one broker with its beat; workers come and go."""

    def __init__(self, stack: ExitStack, folder: Path, database_url: str, broker_url: str) -> None:
        self._stack = stack
        self._folder = folder
        options = ("--window", str(SHORT), "--delay", "fixed:86400", "--latency", "uniform:0,0.3")
        account = f"--account={SID}:{TOKEN}:{APP_ID}"
        self._platform = stack.enter_context(running_platform(environment(), folder, *options, account))
        self._urls = {"database_url": database_url, "broker_url": broker_url, "platform_url": self._platform}
        orders = [{"request_id": f"r{n}", "submitted_at": "2026-01-31T00:00:00+08:00"} for n in range(300)]
        send_tasks(broker_url, ("reconciler.enqueue_orders", [orders]))
        stack.enter_context(celery("beat", env=self.settings(), log=folder / "beat.log"))

    def settings(self, window: float = SHORT) -> dict[str, str]:
        return environment(**self._urls, **{**SETTINGS, "query_window_seconds": window})

    def worker(self, name: str, window: float = SHORT, *, within: tuple[str, ...] = ()) -> Program:
        """A worker that is ready."""
        return self._stack.enter_context(
            running_worker(self.settings(window), self._folder, name=name, program=(*within, *CELERY))
        )

    def refused(self, window: float) -> str:
        """What a worker prints that does not start."""
        with celery("worker", env=self.settings(window), log=self._folder / "refused.log") as worker:
            assert worker.wait() == 1
            return worker.output

    def lower(self, window: float) -> str:
        """`reconciler limit --window`; returns what it prints."""
        command = [*PROGRAM, "limit", "--window", str(window)]
        done = subprocess.run(
            command, env=self.settings(window), cwd=self._folder, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def arrivals(self) -> list[float]:
        """When the platform saw queries, in seconds of its monotonic clock."""
        return [one["monotonic"] for one in read_control(self._platform, "record")["arrivals"]]

    def moment(self) -> float:
        """The time of that clock now."""
        return float(read_control(self._platform, "record")["monotonic"])

    def wait_for_queries(self, more: int) -> None:
        wanted = len(self.arrivals()) + more
        eventually(lambda: len(self.arrivals()) >= wanted, f"{more} queries more", seconds=60)


@pytest.fixture
def deployment(migrated_database_url: str, broker_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        yield Deployment(stack, tmp_path, migrated_database_url, broker_url)


def spacings(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def test_workers_in_two_time_namespaces_keep_the_limit(deployment: Deployment) -> None:
    workers = [deployment.worker("plain"), deployment.worker("ahead", within=in_time_namespace())]
    deployment.wait_for_queries(12)
    assert min(spacings(deployment.arrivals())) >= SHORT
    # Both took slots: each had to follow the row that the other one wrote.
    assert all(worker.output.count(QUERIES) >= 2 for worker in workers)


def test_a_longer_window_that_starts_beside_a_shorter_one_holds_from_then_on(deployment: Deployment) -> None:
    short = deployment.worker("short")
    deployment.wait_for_queries(4)
    long = deployment.worker("long", LONG)
    ready = deployment.moment()
    deployment.wait_for_queries(5)

    times = deployment.arrivals()
    assert min(spacings(times)) >= SHORT
    since = [time for time in times if time >= ready]
    assert min(spacings(since)) >= LONG
    assert long.output.count(QUERIES) >= 4
    assert short.output.count(HAS_LONGER_WINDOW) == 1, "all processes of a worker log it once a minute"
    assert "reconciler limit --window 1`" in short.output


def test_a_shorter_window_that_starts_later_is_refused_until_the_window_is_lowered(deployment: Deployment) -> None:
    long = deployment.worker("long", LONG)
    deployment.wait_for_queries(3)
    refusal = deployment.refused(SHORT)
    assert (
        "the worker does not start: RECONCILER_QUERY_WINDOW_SECONDS is 1, but a worker with a window of 2.5" in refusal
    )
    assert "lower it with `reconciler limit --window 1`" in refusal
    assert long.stop() == 0
    before = len(deployment.arrivals())

    assert deployment.lower(SHORT).startswith("The window of 1 slot is 1 s now, and was up to 2.5 s.\n")
    deployment.worker("short")
    deployment.wait_for_queries(4)
    found = spacings(deployment.arrivals())
    assert min(found[:before]) >= LONG, "the first query after it is the longer window away from the last before it"
    assert min(found) >= SHORT
    assert min(found[before:]) < LONG
