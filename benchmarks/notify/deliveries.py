"""Deliveries by a real worker with two processes: how many a second, and how long one takes on an idle system."""

import random
import time

from celery import Celery

from benchmarks import tables
from benchmarks.bench import APP_ID, Bench
from benchmarks.figures import Figure
from benchmarks.notify.receiver import SECRET, receiver
from benchmarks.notify.rows import Rows
from benchmarks.processes import celery, environment, wait_for_worker, wait_until
from worker.database.transactions import Database
from worker.domain.records.accounts import Rules
from worker.process.intake import Intake

_TAKES = "0.02"
_ORDERS = 1_000


def rate(bench: Bench, *, count: int, runs: int) -> list[Figure]:
    """Deliver so many notifications that were all written at once, several times."""
    with tables.database(bench.postgres.url, orders=_ORDERS) as url, receiver(_TAKES) as hook:
        rows, rates = Rows(url), []
        env = environment(url, bench.broker.url, notify_url=hook, notify_secret=SECRET)
        with celery("worker", "-c", "2", env=env):
            wait_for_worker(Celery(broker=bench.broker.url))
            for _ in range(runs):
                before = rows.add(count)
                wait_until(lambda after=before: rows.delivered(after) == count, "the last delivery", seconds=600)  # type: ignore[misc]  # a default binds the loop's variable
                rates.append((count - 1) / rows.seconds_of_deliveries(before))
    return [
        Figure(
            what=f"deliveries to one endpoint that takes {1000 * float(_TAKES):g} ms, one worker with 2 processes",
            unit="deliveries/s",
            values=tuple(rates),
            target=300,
            more_is_better=True,
            bound_by="processors: two processes of 8 threads each, PostgreSQL and the receiver share them",
        )
    ]


def delay(bench: Bench, *, runs: int) -> list[Figure]:
    """Settle orders one by one, by callbacks, while nothing else happens."""
    with tables.database(bench.postgres.url, orders=_ORDERS) as url, receiver(_TAKES) as hook:
        rows, database = Rows(url), Database(url)
        names = tables.request_ids(url)[:runs]
        intake = Intake(database, Rules(), {"default": APP_ID})
        env = environment(url, bench.broker.url, notify_url=hook, notify_secret=SECRET)
        with celery("worker", "-c", "2", env=env):
            wait_for_worker(Celery(broker=bench.broker.url))
            wait_until(rows.has_endpoint, "the endpoint")
            for name in names:
                # At any moment of the processes' polls.
                time.sleep(random.uniform(0.5, 1.0))
                intake.record_callbacks([{"requestId": name, "appid": APP_ID, "trafficSts": "1", "oriAmount": "2.94"}])
            wait_until(lambda: rows.delivered(0) == len(names), "the last delivery")
        database.close()
        delays = rows.delays(0)
    return [
        Figure(
            what="from a settled order to its noted delivery, idle system",
            unit="s",
            values=tuple(delays),
            target=1,
            bound_by="each process reads every 0.5 s what is due",
        )
    ]
