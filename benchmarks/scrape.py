"""`python -m benchmarks.scrape --database-url URL`: what a scrape of `/metrics` costs the database.

The database is one that `python -m benchmarks.tick` has filled. Queries, events and what needs a person are added where
it has few, so that there is something to count.
"""

import argparse
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from sqlalchemy import event, text

from benchmarks.bench import APP_ID, SID, TOKEN
from benchmarks.tick.about import about
from benchmarks.tick.plans import scans
from worker.database.migrations import upgrade
from worker.database.transactions import Database
from worker.domain.records.metrics import Stream
from worker.operations.count_metrics import count_further
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
    """The time that each statement of this thread took, in ms, as we see it: with the way to the server and back."""

    def __init__(self, database: Database) -> None:
        self.by_statement: dict[str, list[float]] = defaultdict(list)
        self._began = 0.0
        self._thread = threading.get_ident()
        event.listen(database.engine, "before_cursor_execute", self._begin)
        event.listen(database.engine, "after_cursor_execute", self._end)

    def _begin(self, *_: Any) -> None:
        if threading.get_ident() == self._thread:
            self._began = time.perf_counter()

    def _end(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        self.by_statement[" ".join(statement.split())[:160]].append(1000 * (time.perf_counter() - self._began))

    @contextmanager
    def sum(self) -> Iterator[list[float]]:
        """What the statements within take together: one number, at the end."""
        self.by_statement.clear()
        found: list[float] = []
        yield found
        found.append(sum(sum(times) for times in self.by_statement.values()))


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrape", description=__doc__)
    parser.add_argument("--database-url", required=True, help="SQLAlchemy's URL of PostgreSQL")
    parser.add_argument("--runs", type=int, default=_RUNS)
    arguments = parser.parse_args()
    upgrade(arguments.database_url)
    database = Database(arguments.database_url, pool_size=2)
    try:
        _fill(database)
        # `scans` waits for the end of other sessions.
        database.engine.dispose()
        before = scans(arguments.database_url)
        found = _measure(database, Settings(database_url=arguments.database_url, **_account()), arguments.runs)
    finally:
        database.close()
    after = scans(arguments.database_url)
    whole = None if before is None or after is None else after - before
    print(json.dumps({**found, "scans_of_orders": whole, **about(arguments.database_url)}, indent=2))


def _wait_for_refresh() -> None:
    for thread in threading.enumerate():
        if thread.name == "metrics-refresh":
            thread.join()


def _account() -> dict[str, str]:
    return {"account_sid": SID, "auth_token": TOKEN, "app_id": APP_ID}


def _fill(database: Database) -> None:
    with database.write() as connection:
        if connection.execute(text("SELECT count(*) FROM order_events")).scalar_one() < _EVENTS:
            for statement in _FILL:
                connection.exec_driver_sql(statement)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _measure(database: Database, settings: Settings, runs: int) -> dict[str, Any]:
    clock = Clock()
    source = MetricSource(database, settings.accounts, clock=clock)
    for stream in Stream:
        count_further(database, stream, rules_of(settings))
    costs = Costs(database)
    try:
        began = time.perf_counter()
        source.read()
        first = time.perf_counter() - began
        clock.seconds += _REFRESH_SECONDS
        source.read()
        began = time.perf_counter()
        _wait_for_refresh()
        refresh = time.perf_counter() - began
        times, statements = [], []
        for _ in range(runs):
            clock.seconds += _BETWEEN_SECONDS
            with costs.sum() as taken:
                began = time.perf_counter()
                list(families(source.read()))
                times.append(1000 * (time.perf_counter() - began))
            statements += taken
            _wait_for_refresh()
    finally:
        source.close()
    slowest = {name: round(median(each), 2) for name, each in costs.by_statement.items()}
    return {
        "first_scrape_s": round(first, 2),
        "refresh_ms": round(1000 * refresh),
        "scrape_ms": {"median": round(median(times), 1), "max": round(max(times), 1)},
        "database_ms": {"median": round(median(statements), 1), "max": round(max(statements), 1)},
        "statements": dict(sorted(slowest.items(), key=lambda one: -one[1])),
    }


if __name__ == "__main__":
    main()
