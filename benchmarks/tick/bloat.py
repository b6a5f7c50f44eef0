"""What many passes leave behind in PostgreSQL: sizes, dead rows, and how many updates stayed within their page.

Time advances: each pass is a window later than the one before it, the orders that it settles stay settled, and as many
new orders come in.
"""

from typing import Any

from sqlalchemy import make_url, text

from benchmarks.tick.passes import Passes, answer_to
from benchmarks.tick.plans import let_counts_arrive
from benchmarks.tick.synthetic import show_progress, size_of
from worker.database.transactions import Database
from worker.domain.records.accounts import Rules
from worker.domain.records.orders import OrderState

_SHOWN_EVERY = 1_000
# Indexes have a size alone.
_STATISTICS = """
SELECT relation.relname AS name, round(pg_relation_size(relation.oid) / 1048576.0, 2)::float AS mb,
    n_dead_tup AS dead, n_tup_upd AS updated, n_tup_hot_upd AS updated_hot, autovacuum_count AS autovacuums
FROM pg_class AS relation LEFT JOIN pg_stat_user_tables ON relid = relation.oid
WHERE relkind IN ('r', 'i') AND relnamespace = current_schema()::regnamespace AND pg_relation_size(relation.oid) > 0
ORDER BY relation.relname
"""


def measure_bloat(url: str, count: int) -> dict[str, Any]:
    """Run `count` passes, and show each table and index before and after. SystemExit unless it is PostgreSQL."""
    if make_url(url).get_backend_name() != "postgresql":
        raise SystemExit("--passes reads the statistics of PostgreSQL")
    before = _statistics(url)
    passes = Passes(url, unresolved_after_seconds=Rules().unresolved_after_seconds)
    try:
        _run(passes, count)
    finally:
        passes.close()
    after = _statistics(url)
    return {"passes": count, "tables": {name: {"before": before.get(name), "after": after[name]} for name in after}}


def _run(passes: Passes, count: int) -> None:
    number = size_of(passes.database).rows
    for done in range(1, count + 1):
        passes.let_pass(passes.rules.spacing_seconds)
        query = passes.take()
        effects = passes.answered(query, answer_to(query))
        left = sum(change.after.state is not OrderState.PENDING for change in effects.changes)
        if left:
            passes.add_new(number + 1, left)
            number += left
        if done % _SHOWN_EVERY == 0:
            show_progress(f"{done:,} of {count:,} passes")


def _statistics(url: str) -> dict[str, dict[str, Any]]:
    let_counts_arrive(url)
    database = Database(url, pool_size=1)
    try:
        with database.read() as connection:
            rows = connection.execute(text(_STATISTICS)).mappings().all()
    finally:
        database.close()
    return {row["name"]: {key: value for key, value in row.items() if value is not None} for row in rows}
