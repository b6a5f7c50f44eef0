"""A beat whose clock is slow: its ticks come expired. The worker then ticks and queries by itself."""

import sys
from pathlib import Path

import pytest

from tests.support.processes import Program, environment, running_worker, send_tasks
from tests.support.raw_query import APP_ID, SID, TOKEN
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually
from worker.simulator.orders import Delay
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator

pytestmark = pytest.mark.slow

WINDOW = 0.3
SELF_TICK = "self_tick"
_SLOW_BEAT = """
from datetime import UTC, datetime, timedelta
import time_machine
from worker.celery import app
time_machine.travel(datetime.now(UTC) - timedelta(hours=1), tick=True).start()
app.start(["beat"])
"""


@pytest.mark.databases("sqlite")
def test_a_beat_whose_clock_is_slow_sends_expired_ticks_and_queries_continue(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    accounts = (Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),)
    config = SimulatorConfig(accounts=accounts, window_seconds=WINDOW, adopt=True, delay=Delay.parse("fixed:0"))
    orders = [{"request_id": f"r{number}", "submitted_at": "2020-01-01T00:00:00Z"} for number in range(500)]
    with Simulator(config) as simulator:
        env = environment(
            database_url=migrated_database_url,
            broker_url=own_valkey.url,
            platform_url=simulator.url,
            query_window_seconds=WINDOW,
            query_margin_seconds=0.05,
            # Long: a query that was given up may arrive after the next one.
            request_deadline_seconds=5,
            callback_grace_seconds=0.05,
            tick_seconds=0.1,
            # There is always one more to poll.
            batch_size=1,
            log_level="DEBUG",
        )
        beat = Program(sys.executable, "-c", _SLOW_BEAT, env=env, log=tmp_path / "beat.log")
        with running_worker(env, tmp_path, "--concurrency", "1") as worker, beat:
            send_tasks(own_valkey.url, ("reconciler.enqueue_orders", [orders]))
            worker.wait_for("Discarding revoked task: reconciler.reconcile", times=10)
            # The process ticks by itself: thrice, with two queries.
            ticks, arrivals = worker.output.count(SELF_TICK), len(simulator.record.arrivals())
            worker.wait_for(SELF_TICK, times=ticks + 3)
            eventually(lambda: len(simulator.record.arrivals()) >= arrivals + 2, "two more queries")
    assert simulator.record.violations() == []
