"""The floor of a pass: the bare statements of a grant and of a write-back of 100 orders, by psycopg alone.

It locks, updates and inserts the rows that a pass has to (slot, orders, query, events) in two transactions, and decides
nothing. Its SQL stays as it is, so that `pass_over_floor` of two versions can be compared. On PostgreSQL only.
"""

import time
from collections.abc import Sequence
from datetime import timedelta

import psycopg
from sqlalchemy import make_url

from benchmarks.bench import SID

Connection = psycopg.Connection[tuple[object, ...]]

ORDERS = 100
AMONG_IDS = 20_000
_LEASE = timedelta(seconds=90)

_LOCK_SLOT = "SELECT due_at, token FROM query_budgets WHERE account_sid = %(sid)s AND slot = 0 FOR UPDATE"
_SAVE_SLOT = "UPDATE query_budgets SET updated_at = now() WHERE account_sid = %(sid)s AND slot = 0"
_LOCK = "SELECT id, request_id, custom_parm, state FROM recharge_orders WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE"
_LEASE_ORDERS = "UPDATE recharge_orders SET due_at = due_at + %(lease)s, lease_token = 'floor' WHERE id = ANY(%(ids)s)"
_ADD_QUERY = """\
INSERT INTO platform_queries (account, account_sid, slot, work, id_kind, order_count, sent_at, outcome, polled_ids)
VALUES ('floor', 'floor', 0, 'batch', 'request_id', 100, now(), 'in_flight', %(names)s)
RETURNING id
"""
# Of ten orders seven succeed and one fails, as in `answer_to`.
_SAVE_ORDERS = """\
UPDATE recharge_orders
SET state = saved.state, traffic_sts = saved.traffic_sts, remark = 'recharged', ori_amount = 2.94, settled_by = 'query',
    settled_at = CASE saved.state WHEN 'pending' THEN NULL ELSE now() END, due_at = now(), queried_at = now(),
    query_count = query_count + 1, age_bucket = 5, lease_token = NULL, updated_at = now(), version = version + 1
FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(statuses)s::smallint[]) AS saved (id, state, traffic_sts)
WHERE recharge_orders.id = saved.id
"""
_ADD_EVENTS = """\
INSERT INTO order_events (order_id, at, kind, source, query_id, from_state, to_state, traffic_sts, remark, ori_amount)
SELECT saved.id, now(), 'settled', 'query', %(query)s, 'pending', saved.state, saved.traffic_sts, 'recharged', '2.94'
FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(statuses)s::text[]) AS saved (id, state, traffic_sts)
"""
_END_QUERY = "UPDATE platform_queries SET outcome = 'answered', answered_at = now() WHERE id = %(query)s"

_PENDING = """\
SELECT id FROM recharge_orders
WHERE id > (SELECT max(id) FROM recharge_orders) - %(among)s AND state = 'pending' AND lease_token IS NULL
ORDER BY id
"""
_KEEP = "CREATE TEMPORARY TABLE kept AS SELECT * FROM recharge_orders WHERE id = ANY(%(ids)s)"
_RESTORE = """\
UPDATE recharge_orders
SET state = kept.state, traffic_sts = kept.traffic_sts, remark = kept.remark, ori_amount = kept.ori_amount,
    settled_by = kept.settled_by, settled_at = kept.settled_at, due_at = kept.due_at, queried_at = kept.queried_at,
    query_count = kept.query_count, age_bucket = kept.age_bucket, lease_token = kept.lease_token,
    updated_at = kept.updated_at, version = kept.version
FROM kept
WHERE recharge_orders.id = kept.id
"""


def floor_seconds(url: str, runs: int) -> list[float]:
    """How long the bare statements took, `runs` times; empty on other databases, and with too few pending orders.

    Each time 100 pending orders, evenly spread among the last 20,000 ids. The tables are left as they were.
    """
    parts = make_url(url)
    if parts.get_backend_name() != "postgresql":
        return []
    with psycopg.connect(parts.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        pending = [row[0] for row in connection.execute(_PENDING, {"among": AMONG_IDS})]
        connection.commit()
        apart = len(pending) // ORDERS
        return [_timed(connection, pending[run % apart :: apart][:ORDERS]) for run in range(runs)] if apart else []


def _timed(connection: Connection, ids: Sequence[object]) -> float:
    connection.execute(_KEEP, {"ids": ids})
    connection.commit()
    start = time.perf_counter()
    query = _grant(connection, ids)
    _write_back(connection, ids, query)
    seconds = time.perf_counter() - start
    connection.execute(_RESTORE)
    connection.execute("DROP TABLE kept")
    connection.execute("DELETE FROM order_events WHERE query_id = %s", [query])
    connection.execute("DELETE FROM platform_queries WHERE id = %s", [query])
    connection.commit()
    return seconds


def _grant(connection: Connection, ids: Sequence[object]) -> object:
    connection.execute(_LOCK_SLOT, {"sid": SID}).fetchone()
    rows = connection.execute(_LOCK, {"ids": ids}).fetchall()
    connection.execute(_LEASE_ORDERS, {"ids": ids, "lease": _LEASE})
    (query,) = connection.execute(_ADD_QUERY, {"names": ",".join(str(row[1]) for row in rows)}).fetchone() or ()
    connection.execute(_SAVE_SLOT, {"sid": SID})
    connection.commit()
    return query


def _write_back(connection: Connection, ids: Sequence[object], query: object) -> None:
    statuses = [{0: 0, 1: 0, 2: -1}.get(number % 10, 1) for number in range(len(ids))]
    states = [{0: "pending", -1: "failed"}.get(status, "succeeded") for status in statuses]
    connection.execute(_LOCK_SLOT, {"sid": SID}).fetchone()
    connection.execute(_LOCK, {"ids": ids}).fetchall()
    given = {"ids": ids, "states": states, "statuses": statuses, "query": query}
    connection.execute(_SAVE_ORDERS, given)
    connection.execute(_ADD_EVENTS, given)
    connection.execute(_END_QUERY, {"query": query})
    connection.execute(_SAVE_SLOT, {"sid": SID})
    connection.commit()
