"""Build the statement that reads candidates: the due orders from which the next query is chosen.

The statement reads a page of each range of `ix_recharge_orders_due` (account, state, lane, id_kind, age_bucket,
due_at): the rows that became due first, and in some ranges also those that became due last. To fill free positions of a
batch, the statement reads the rows that become due next. So the number of rows that it reads does not depend on the
size of the table. Its parameters are `:account` and `:now`. Everything else is written out, because one statement has
dozens of ranges.
"""

from collections.abc import Iterator, Mapping, Sequence

from worker.domain.records.queries import Page, Pages

_COLUMNS = "id, id_kind, lane, age_bucket, submitted_at, due_at, queried_at, check_requested_at, suspect_group, state"

_PAGE = """\
(
    SELECT {columns}
    FROM recharge_orders
    WHERE account = :account AND state = 'pending' AND {when}
        AND lane = '{lane}' AND id_kind = '{id_kind}' AND age_bucket = {age_bucket}
    ORDER BY due_at {direction}
    LIMIT {most}
)
"""
# Inside a union, SQLite accepts ORDER BY and LIMIT only in a subquery. The other databases get no subquery, because
# MariaDB would store the rows of each one in a temporary table.
_SQLITE_PAGE = "SELECT * FROM {page}"

# One lateral join reads all ranges. With one read for each range, PostgreSQL took longer to plan the reads than to run
# them.
_POSTGRESQL_PAGES = """\
SELECT page_{number}.*
FROM (VALUES {ranges}) AS ranges_{number} (lane, id_kind, age_bucket)
JOIN LATERAL (
    SELECT {columns}
    FROM recharge_orders
    WHERE account = :account AND state = 'pending' AND {when}
        AND recharge_orders.lane = ranges_{number}.lane
        AND recharge_orders.id_kind = ranges_{number}.id_kind
        AND recharge_orders.age_bucket = ranges_{number}.age_bucket
    ORDER BY due_at {direction}
    LIMIT {most}
) AS page_{number} ON true
"""

# The orders with a requested check have their own index, ix_recharge_orders_checked. Some of them are unresolved: a
# callback that is only a hint gets an unresolved order polled once more.
_CHECKED = """\
SELECT * FROM (
    SELECT {columns}
    FROM recharge_orders
    WHERE account = :account AND state IN ('pending', 'unresolved') AND due_at <= :now
        AND check_requested_at IS NOT NULL
    ORDER BY check_requested_at
    LIMIT {most}
) AS checked
"""

_DUE = "due_at <= :now"
# An order that another query leases is skipped. Its `due_at` is the time when that lease runs out.
_NOT_DUE = "due_at > :now AND lease_token IS NULL"


def candidates_sql(kind: str, pages: Pages) -> str:
    """Return the statement that reads these pages. `kind` is `postgresql`, `mysql`, `mariadb` or `sqlite`."""
    parts: list[str] = []
    for end, some, direction, when in (
        ("first", pages.first, "ASC", _DUE),
        ("last", pages.last, "DESC", _DUE),
        ("next", pages.not_due, "ASC", _NOT_DUE),
    ):
        named = {"columns": _COLUMNS, "direction": direction, "when": when}
        if kind == "postgresql":
            parts += _postgresql_reads(end, some, named)
        else:
            reads = [
                _PAGE.format(**named, lane=lane, id_kind=id_kind, age_bucket=age_bucket, most=most)
                for (lane, id_kind, age_bucket), most in some
            ]
            parts += [_SQLITE_PAGE.format(page=read) for read in reads] if kind == "sqlite" else reads
    if pages.checked:
        parts.append(_CHECKED.format(columns=_COLUMNS, most=pages.checked))
    return "UNION ALL\n".join(parts)


def _postgresql_reads(end: str, pages: Sequence[Page], named: Mapping[str, str]) -> Iterator[str]:
    for most in sorted({most for _, most in pages}):
        ranges = [index_range for index_range, of_range in pages if of_range == most]
        listed = ", ".join(f"('{lane.value}', '{kind.value}', {bucket})" for lane, kind, bucket in ranges)
        yield _POSTGRESQL_PAGES.format(ranges=listed, most=most, number=f"{end}_{most}", **named)
