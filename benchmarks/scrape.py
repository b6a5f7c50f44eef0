"""`python -m benchmarks.scrape --database-url URL`: what a scrape of `/metrics` costs the database.

The database is one that `python -m benchmarks.tick` has filled. Queries, events and what needs a person are added where
it has few, so that there is something to count.
"""

import argparse
import json
import threading
import time
from statistics import median
from typing import Any

from sqlalchemy import event, text

from benchmarks.bench import settings
from benchmarks.tick.about import about
from worker.database.migrations import upgrade
from worker.database.transactions import Database
from worker.domain.records.metrics import Stream
from worker.operations.upkeep import count_further
from worker.settings import Settings
from worker.settings.rules import rules_of
from worker.web.metrics import MetricSource, families

_RUNS = 30
_BETWEEN_SECONDS = 16.0
_REFRESH_SECONDS = 61.0
_EVENTS = 1_000_000
# Of each kind that a scrape counts by itself, a little less than what it leaves to the refresh.
_FILL = (
    """INSERT INTO platform_queries
    (account, account_sid, slot, work, id_kind, order_count, sent_at, answered_at, outcome, polled_ids)
    SELECT 'default', 'sid', 0, 'batch', 'requestId', 100, at, at, 'answered', n::text
    FROM generate_series(1, 200000) AS n, LATERAL (SELECT now() - (200000 - n) * interval '1 minute' AS at) AS times""",
    """INSERT INTO order_events (order_id, at, kind, source, from_state, to_state)
    SELECT id, settled_at, 'settled', 'callback', 'pending', state FROM recharge_orders
    WHERE state IN ('succeeded', 'failed') ORDER BY id LIMIT 1000000""",
    """UPDATE recharge_orders SET attention = 'too_old'
    WHERE id IN (SELECT id FROM recharge_orders WHERE state = 'failed' ORDER BY settled_at LIMIT 9000)""",
    """UPDATE recharge_orders SET state = 'unresolved'
    WHERE id IN (SELECT id FROM recharge_orders WHERE state = 'failed' ORDER BY settled_at DESC LIMIT 9000)""",
    """INSERT INTO notifications
    (event_id, account, order_id, type, version, rank, body, changed_at, state, due_at, tries, delivered_at)
    SELECT 'msg_' || n, 'default', n, 'order.succeeded', 1, 0, '{}', now(),
    CASE WHEN n > 9000 THEN 'delivered' ELSE 'pending' END, now(), 1, CASE WHEN n > 9000 THEN now() END
    FROM generate_series(1, 209000) AS n""",
    """INSERT INTO unmatched_callbacks (account, request_id, received_at, payload)
    SELECT 'default', 'unmatched' || n, now(), '{}' FROM generate_series(1, 8000) AS n""",
)


class Clock:
    """Seconds that the benchmark counts, so that no run waits for a cache."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """The time now."""
        return self.seconds


class Costs:
    """How long the statements of this thread took, in ms, with the way to the server and back."""

    def __init__(self, database: Database) -> None:
        self.milliseconds = 0.0
        self._began = 0.0
        self._thread = threading.get_ident()
        event.listen(database.engine, "before_cursor_execute", self._begin)
        event.listen(database.engine, "after_cursor_execute", self._end)

    def _begin(self, *_: Any) -> None:
        if threading.get_ident() == self._thread:
            self._began = time.perf_counter()

    def _end(self, *_: Any) -> None:
        if threading.get_ident() == self._thread:
            self.milliseconds += 1000 * (time.perf_counter() - self._began)


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrape", description=__doc__)
    parser.add_argument("--database-url", required=True, help="SQLAlchemy's URL of PostgreSQL")
    arguments = parser.parse_args()
    upgrade(arguments.database_url)
    database = Database(arguments.database_url, pool_size=2)
    try:
        _fill(database)
        found = _measure(database, settings(arguments.database_url))
    finally:
        database.close()
    print(json.dumps({**found, **about(arguments.database_url)}, indent=2))


def _wait_for_refresh() -> None:
    for thread in threading.enumerate():
        if thread.name == "metrics-refresh":
            thread.join()


def _fill(database: Database) -> None:
    with database.write() as connection:
        if connection.execute(text("SELECT count(*) FROM order_events")).scalar_one() < _EVENTS:
            for statement in _FILL:
                connection.exec_driver_sql(statement)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _measure(database: Database, chosen: Settings) -> dict[str, Any]:
    clock = Clock()
    source = MetricSource(database, chosen.accounts, clock=clock)
    for stream in Stream:
        count_further(database, stream, rules_of(chosen))
    costs = Costs(database)
    try:
        source.read()
        clock.seconds += _REFRESH_SECONDS
        source.read()
        began = time.perf_counter()
        _wait_for_refresh()
        refresh = time.perf_counter() - began
        times, statements = [], []
        for _ in range(_RUNS):
            clock.seconds += _BETWEEN_SECONDS
            costs.milliseconds = 0.0
            began = time.perf_counter()
            list(families(source.read()))
            times.append(1000 * (time.perf_counter() - began))
            statements.append(costs.milliseconds)
            _wait_for_refresh()
    finally:
        source.close()
    return {
        "refresh_ms": round(1000 * refresh),
        "scrape_ms": {"median": round(median(times), 1), "max": round(max(times), 1)},
        "database_ms": {"median": round(median(statements), 1), "max": round(max(statements), 1)},
    }


if __name__ == "__main__":
    main()
