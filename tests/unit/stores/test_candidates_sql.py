"""The statement that picks candidates, as a database administrator reads it."""

from worker.domain.records.orders import Lane
from worker.domain.records.queries import Pages
from worker.domain.records.reports import IdKind
from worker.stores.candidates_sql import candidates_sql

NEVER_ASKED, ASKED = (Lane.BATCH, IdKind.REQUEST_ID, 0), (Lane.BATCH, IdKind.REQUEST_ID, 1)

ON_SQLITE = """\
SELECT * FROM (
    SELECT id, id_kind, lane, age_bucket, submitted_at, due_at, queried_at, check_requested_at, suspect_group, state
    FROM recharge_orders
    WHERE account = :account AND state = 'pending' AND due_at <= :now
        AND lane = 'batch' AND id_kind = 'requestId' AND age_bucket = 0
    ORDER BY due_at ASC
    LIMIT 100
)
UNION ALL
SELECT * FROM (
    SELECT id, id_kind, lane, age_bucket, submitted_at, due_at, queried_at, check_requested_at, suspect_group, state
    FROM recharge_orders
    WHERE account = :account AND state = 'pending' AND due_at <= :now
        AND lane = 'batch' AND id_kind = 'requestId' AND age_bucket = 1
    ORDER BY due_at DESC
    LIMIT 25
)
UNION ALL
SELECT * FROM (
    SELECT id, id_kind, lane, age_bucket, submitted_at, due_at, queried_at, check_requested_at, suspect_group, state
    FROM recharge_orders
    WHERE account = :account AND state IN ('pending', 'unresolved') AND due_at <= :now
        AND check_requested_at IS NOT NULL
    ORDER BY check_requested_at
    LIMIT 100
) AS checked
"""
ON_POSTGRESQL = """\
SELECT page_first_25.*
FROM (VALUES ('batch', 'requestId', 0), ('batch', 'requestId', 1)) AS ranges_first_25 (lane, id_kind, age_bucket)
JOIN LATERAL (
    SELECT id, id_kind, lane, age_bucket, submitted_at, due_at, queried_at, check_requested_at, suspect_group, state
    FROM recharge_orders
    WHERE account = :account AND state = 'pending' AND due_at <= :now
        AND recharge_orders.lane = ranges_first_25.lane
        AND recharge_orders.id_kind = ranges_first_25.id_kind
        AND recharge_orders.age_bucket = ranges_first_25.age_bucket
    ORDER BY due_at ASC
    LIMIT 25
) AS page_first_25 ON true
"""


def test_sqlite_and_mariadb_read_each_page_by_itself() -> None:
    pages = Pages(first=((NEVER_ASKED, 100),), last=((ASKED, 25),), checked=100)
    assert candidates_sql("sqlite", pages) == ON_SQLITE
    *pages_of_sqlite, checked = ON_SQLITE.split("UNION ALL\n")
    # MariaDB would store each subquery apart.
    ordered = [page.removeprefix("SELECT * FROM ") for page in pages_of_sqlite]
    assert candidates_sql("mariadb", pages) == "UNION ALL\n".join([*ordered, checked])


def test_postgresql_repeats_one_read_for_all_pages_of_a_size() -> None:
    assert candidates_sql("postgresql", Pages(first=((NEVER_ASKED, 25), (ASKED, 25)))) == ON_POSTGRESQL


def test_orders_that_are_not_due_are_read_from_now_on_past_those_that_a_query_holds() -> None:
    due = candidates_sql("mariadb", Pages(first=((ASKED, 25),)))
    not_due = candidates_sql("mariadb", Pages(first=(), not_due=((ASKED, 25),)))
    assert not_due == due.replace("due_at <= :now", "due_at > :now AND lease_token IS NULL")
    on_postgresql = candidates_sql("postgresql", Pages(first=(), not_due=((ASKED, 25),)))
    assert "due_at > :now AND lease_token IS NULL" in on_postgresql
