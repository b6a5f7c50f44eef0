"""Databases of the benchmarks' own, migrated and filled."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy
from sqlalchemy.pool import NullPool

from worker.database.migrations import upgrade
from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import BUCKETS, bucket_edges

LARGE = 1_000_000

_ONE_IN = 10
_KEPT_CALLBACKS = 1000

# Each age bucket has a part of the orders that were polled: the younger they were at that poll, the larger.
_POLLED = [bucket for bucket in range(1, BUCKETS) for _ in range(BUCKETS - bucket)]
_BUCKET_STARTS = [0.0, Rules().grace_seconds, *bucket_edges(Rules())]
# One order in `every` is pending: in turns never polled, due since its grace has ended, and due since its last poll.
# The others are settled.
_FILL = """
INSERT INTO recharge_orders (
    account, request_id, custom_parm, mobile, expected_amount, state, traffic_sts, remark, ori_amount, settled_by,
    submitted_at, due_at, queried_at, query_count, settled_at, created_at, updated_at,
    id_kind, lane, age_bucket, absences, absence_mark, batch_failures, failures_alone, failure_mark
)
SELECT
    'default', to_char(2016010000000000 + n, 'FM0000000000000000'), 'order-' || n,
    '188' || to_char(n % 100000000, 'FM00000000'),
    2.94,
    CASE WHEN waits THEN 'pending' WHEN n % 20 = 7 THEN 'failed' ELSE 'succeeded' END,
    CASE WHEN NOT waits THEN CASE WHEN n % 20 = 7 THEN -1 ELSE 1 END WHEN polled THEN 0 END,
    CASE WHEN NOT waits THEN '成功' END, CASE WHEN NOT waits THEN 2.94 END, CASE WHEN NOT waits THEN 'callback' END,
    submitted, CASE WHEN waits AND NOT polled THEN submitted + interval '10 minutes' ELSE at END,
    CASE WHEN polled THEN at END, polled::int, CASE WHEN NOT waits THEN submitted END,
    submitted, submitted, 'requestId', 'batch', age_bucket, 0, 0, 0, 0, 0
FROM (
    SELECT *, CASE WHEN polled THEN at - interval '1 second' * (30 + (CAST(:starts AS float[]))[age_bucket + 1])
        ELSE at END AS submitted
    FROM (
        SELECT n, n % :every = 0 AS waits, n % (2 * :every) = 0 AS polled,
            CASE WHEN n % (2 * :every) = 0 THEN (CAST(:polled AS int[]))[n / (2 * :every) % :parts + 1] ELSE 0 END
                AS age_bucket,
            clock_timestamp() - interval '1 day' + n * interval '80 milliseconds' * (1000000.0 / nullif(:orders, 0))
                AS at
        FROM generate_series(1, :orders) AS n
    ) AS series
) AS aged
"""
# Callbacks of orders that were not enqueued: each tick reads some of them.
_FILL_CALLBACKS = """
INSERT INTO unmatched_callbacks (account, request_id, received_at, payload)
SELECT 'default', 'unknown-' || n, clock_timestamp(), '{"requestId":"unknown-' || n || '","trafficSts":"1"}'
FROM generate_series(1, :callbacks) AS n
"""


@contextmanager
def database(server_url: str, *, orders: int, pending_one_in: int = _ONE_IN) -> Iterator[str]:
    """A migrated database with so many orders, one in so many of them pending; dropped afterwards. Gives its URL."""
    name = f"reconciler_bench_{secrets.token_hex(4)}"
    server = sqlalchemy.create_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    url = server.url.set(database=name).render_as_string(hide_password=False)
    _execute(server, f"CREATE DATABASE {name}")
    try:
        upgrade(url)
        _fill(url, orders, pending_one_in)
        yield url
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def request_ids(url: str) -> list[str]:
    """The request ids of the pending orders."""
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        pending = "SELECT request_id FROM recharge_orders WHERE state = 'pending'"
        return [str(name) for name in connection.scalars(sqlalchemy.text(pending))]


def _fill(url: str, orders: int, every: int) -> None:
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        buckets = {"starts": _BUCKET_STARTS, "polled": _POLLED, "parts": len(_POLLED)}
        connection.execute(sqlalchemy.text(_FILL), {"orders": orders, "every": every, **buckets})
        connection.execute(sqlalchemy.text(_FILL_CALLBACKS), {"callbacks": _KEPT_CALLBACKS})
    maintenance = engine.execution_options(isolation_level="AUTOCOMMIT")
    # What autovacuum and a checkpoint would do soon, in the middle of the measurement.
    _execute(maintenance, "VACUUM ANALYZE")
    _execute(maintenance, "CHECKPOINT")


def _execute(engine: sqlalchemy.Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
