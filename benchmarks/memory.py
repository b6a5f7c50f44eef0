"""Resident memory of a worker process, after a few passes and after many."""

import sqlalchemy
from celery import Celery
from sqlalchemy.pool import NullPool

from benchmarks import tables
from benchmarks.bench import APP_ID, SID, TOKEN, Bench
from benchmarks.figures import Figure
from benchmarks.processes import (
    celery,
    environment,
    pool_processes,
    resident_megabytes,
    wait_for_worker,
    wait_until,
)
from worker.simulator.orders import Delay, NewOrder
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator

_FEW, _MANY = 200, 1000
_ORDERS = 110_000
_WINDOW = 0.05
_SLOTS = 4
_PASSES = "SELECT count(*) FROM platform_queries WHERE outcome = 'answered'"


def run(bench: Bench) -> list[Figure]:
    """Let one pool process make passes as fast as it can, in four slots, and measure its size after some of them."""
    with (
        tables.database(bench.postgres.url, orders=_ORDERS, pending_one_in=1) as database_url,
        Simulator(_platform()) as simulator,
    ):
        simulator.register(NewOrder(request_id=name, amount="2.94") for name in tables.request_ids(database_url))
        env = environment(
            database_url,
            bench.broker.url,
            platform_url=simulator.url,
            query_window_seconds=_WINDOW,
            queries_per_window=_SLOTS,
            query_margin_seconds=0.05,
            request_deadline_seconds=5,
            tick_seconds=0.05,
        )
        with celery("worker", "-c", "1", env=env), celery("beat", env=env):
            few, many = _sizes(database_url, bench.broker.url)
    return [
        Figure(
            what=f"resident memory of a worker process after {_MANY:,} passes of 100 orders",
            unit="MB",
            values=(many,),
            target=130,
            bound_by="the libraries that are imported; a part is shared with the parent process",
        ),
        Figure(
            what=f"  its growth since pass {_FEW}",
            unit="MB",
            values=(many - few,),
            target=2,
            bound_by="nothing is kept from one pass to the next",
        ),
    ]


def _sizes(database_url: str, broker_url: str) -> tuple[float, float]:
    app = Celery(broker=broker_url)
    engine = sqlalchemy.create_engine(database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    wait_for_worker(app)
    (pid,) = pool_processes(app)
    sizes = []
    with engine.connect() as connection:
        for passes in (_FEW, _MANY):

            def is_there(passes: int = passes) -> bool:
                return bool(connection.scalar(sqlalchemy.text(_PASSES)) >= passes)

            wait_until(is_there, f"pass {passes}", seconds=300, poll=0.1)
            sizes.append(resident_megabytes(pid))
    return sizes[0], sizes[1]


def _platform() -> SimulatorConfig:
    return SimulatorConfig(
        accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),),
        window_seconds=_WINDOW,
        queries_per_window=_SLOTS,
        delay=Delay.parse("fixed:0"),
    )
