"""A beat whose clock is wrong: its ticks fail to come, or come expired. The worker then ticks and queries by itself."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import Program, environment, running_worker, send_tasks
from tests.support.raw_query import APP_ID, SID, TOKEN
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually
from worker.simulator.config import Account, SimulatorConfig
from worker.simulator.orders import Delay
from worker.simulator.server import Simulator

pytestmark = pytest.mark.slow

WINDOW = 0.3
SELF_TICK = "self_tick"

# A real beat. As soon as its file exists, its wall clock is an hour slow.
_BEAT = """
import sys, threading, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
import time_machine
from worker.celery import app

mark = Path(sys.argv[1])

def step():
    time_machine.travel(datetime.now(UTC) - timedelta(hours=1), tick=True).start()
    print("the clock was set back", flush=True)

def watch():
    while not mark.exists():
        time.sleep(0.05)
    step()

step() if mark.exists() else threading.Thread(target=watch, daemon=True).start()
app.start(["beat"])
"""


@dataclass
class Deployment:
    """A worker of one process, and the platform that it queries."""

    simulator: Simulator
    worker: Program
    env: dict[str, str]
    folder: Path

    def beat(self, mark: Path) -> Program:
        return Program(sys.executable, "-c", _BEAT, str(mark), env=self.env, log=self.folder / "beat.log")

    def wait_until_it_queries_by_itself(self) -> None:
        """The process ticks by itself after ten periods, or 2 s, without a tick: thrice, with two queries."""
        ticks, arrivals = self.worker.output.count(SELF_TICK), len(self.simulator.record.arrivals())
        self.worker.wait_for(SELF_TICK, times=ticks + 3)
        eventually(lambda: len(self.simulator.record.arrivals()) >= arrivals + 2, "two more queries", seconds=10)
        assert self.simulator.record.violations() == []


@pytest.fixture
def deployment(migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Deployment]:
    config = SimulatorConfig(
        accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),),
        window_seconds=WINDOW,
        adopt=True,
        delay=Delay.parse("fixed:0"),
    )
    with Simulator(config) as simulator:
        env = environment(
            database_url=migrated_database_url,
            broker_url=own_valkey.url,
            platform_url=simulator.url,
            query_window_seconds=WINDOW,
            query_margin_seconds=0.05,
            request_deadline_seconds=0.5,
            callback_grace_seconds=0.05,
            tick_seconds=0.1,
            # There is always one more to poll.
            batch_size=1,
            log_level="DEBUG",
        )
        orders = [{"request_id": f"r{number}", "submitted_at": "2020-01-01T00:00:00Z"} for number in range(500)]
        with running_worker(env, tmp_path, "--concurrency", "1") as worker:
            send_tasks(own_valkey.url, ("reconciler.enqueue_orders", [orders]))
            yield Deployment(simulator=simulator, worker=worker, env=env, folder=tmp_path)


@pytest.mark.databases("sqlite")
def test_a_beat_whose_clock_was_set_back_sends_nothing_and_queries_continue(
    deployment: Deployment, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    with deployment.beat(mark) as beat:
        eventually(lambda: len(deployment.simulator.record.arrivals()) >= 3, "queries by beat's ticks")
        mark.touch()
        beat.wait_for("the clock was set back")
        deployment.wait_until_it_queries_by_itself()


@pytest.mark.databases("sqlite")
def test_a_beat_whose_clock_is_slow_sends_expired_ticks_and_queries_continue(
    deployment: Deployment, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    with deployment.beat(mark):
        deployment.worker.wait_for("Discarding revoked task: reconciler.reconcile", times=10)
        deployment.wait_until_it_queries_by_itself()
