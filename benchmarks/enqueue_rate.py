"""Orders enqueued per second: lists of 500, through the broker, by one real worker with two processes."""

import secrets
import time

import redis
import sqlalchemy
from celery import Celery
from sqlalchemy.pool import NullPool

from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.processes import celery, environment, wait_for_worker, wait_until

_QUEUE = "reconciler.orders"
_LIST = 500
_LISTS = 100
_RUNS = 5
_FIRST_ROW = "SELECT min(created_at) FROM recharge_orders WHERE id > :after"
_COUNT = "SELECT count(*) FROM recharge_orders WHERE id > :after"


def run(bench: Bench) -> list[Figure]:
    """Fill the queue while the worker does not consume it, then let it, and time that by the database's clock."""
    url = bench.large_database
    env = environment(url, bench.broker.url, log_level="INFO")
    engine = sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    app = Celery(broker=bench.broker.url)
    with (
        celery("worker", "-c", "2", env=env),
        engine.connect() as connection,
        redis.Redis.from_url(bench.broker.url) as broker,
    ):
        wait_for_worker(app)
        # The first run opens connections and fills caches.
        rates = [_rate(app, connection, broker) for _ in range(1 + _RUNS)][1:]
    return [
        Figure(
            what="orders enqueued by lists of 500, one worker with 2 processes",
            unit="orders/s",
            values=tuple(rates),
            target=20_000,
            more_is_better=True,
            bound_by="processors: the two processes, PostgreSQL and the broker share those of the machine",
        )
    ]


def _rate(app: Celery, connection: sqlalchemy.Connection, broker: redis.Redis) -> float:
    app.control.cancel_consumer(_QUEUE, reply=True, timeout=5, limit=1)
    tag = secrets.token_hex(4)
    for number in range(_LISTS):
        app.send_task("reconciler.enqueue_orders", args=[_orders(f"{tag}-{number}")], queue=_QUEUE)
    after = connection.scalar(sqlalchemy.text("SELECT max(id) FROM recharge_orders"))
    app.control.add_consumer(_QUEUE)

    def is_done() -> bool:
        # A message is acknowledged once its list is committed; both look empty while one goes from here to there.
        waiting = broker.llen(_QUEUE) or broker.hlen("unacked")
        return not waiting and connection.scalar(sqlalchemy.text(_COUNT), {"after": after}) == _LIST * _LISTS

    wait_until(is_done, "the last order", poll=0.005)
    # The first row's time is read at the beginning of the first transaction.
    elapsed = connection.scalar(sqlalchemy.text(f"SELECT clock_timestamp() - ({_FIRST_ROW})"), {"after": after})
    if elapsed is None:
        raise RuntimeError("no order was enqueued")
    time.sleep(0.5)
    return _LIST * _LISTS / float(elapsed.total_seconds())


def _orders(tag: str) -> list[dict[str, str]]:
    return [
        {
            "request_id": f"2026{tag}{number:06d}",
            "custom_parm": f"bill-{tag}-{number}",
            "mobile": f"188{number:08d}",
            "submitted_at": "2026-01-31T18:05:00+08:00",
            "expected_amount": "2.94",
        }
        for number in range(_LIST)
    ]
