"""What many passes leave behind in PostgreSQL: sizes, dead rows, and how many updates stayed within their page.

Time advances: each pass is a window later than the one before it, the orders that it settles stay settled, and as many
new orders come in.
"""

from collections.abc import Mapping
from statistics import median
from typing import Any

from sqlalchemy import text

from benchmarks.tick.passes import Passes, Timings, answer_to
from benchmarks.tick.plans import let_counts_arrive
from benchmarks.tick.synthetic import show_progress, size_of
from worker.database.transactions import Database
from worker.domain.records.accounts import Rules
from worker.domain.records.orders import OrderState

_SHOWN_EVERY = 1_000
_COMPARED = 200
_STATISTICS = """
SELECT relname AS name, n_tup_ins AS inserted, n_tup_upd AS updated, n_tup_hot_upd AS updated_hot,
    n_live_tup AS live, n_dead_tup AS dead, autovacuum_count AS autovacuums, seq_scan AS scans
FROM pg_stat_user_tables WHERE schemaname = current_schema() AND n_tup_ins + n_tup_upd > 0
"""
_SIZES = """
SELECT relname AS name, pg_relation_size(oid) AS bytes FROM pg_class
WHERE relkind IN ('r', 'i') AND relnamespace = current_schema()::regnamespace
"""
_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name IN ('autovacuum', 'autovacuum_naptime')"


def measure_bloat(url: str, count: int) -> dict[str, Any]:
    """Run so many passes, and compare. SystemExit where the database is not PostgreSQL."""
    # The counts of the filling must be in the statistics before.
    let_counts_arrive(url)
    passes = Passes(url, unresolved_after_seconds=Rules().unresolved_after_seconds)
    try:
        if passes.database.kind != "postgresql":
            raise SystemExit("--passes reads the statistics of PostgreSQL")
        before, sizes = _statistics(passes.database), _sizes(passes.database)
        timings = _run(passes, count)
    finally:
        passes.close()
    let_counts_arrive(url)
    database = Database(url)
    try:
        tables = {
            name: _since(before.get(name, {}), values, sizes, _sizes(database), name)
            for name, values in _statistics(database).items()
        }
        indexes = _grown(sizes, _sizes(database))
        with database.read() as connection:
            known = {str(name): str(value) for name, value in connection.execute(text(_SETTINGS))}
    finally:
        database.close()
    return {"passes": count, "settings": known, **_ends(timings), "tables": tables, "sizes_mb": indexes}


def _run(passes: Passes, count: int) -> Timings:
    timings = Timings()
    number = size_of(passes.database).rows
    for done in range(1, count + 1):
        passes.let_pass(passes.rules.spacing_seconds)
        with timings.of("choose"):
            passes.choose()
        with timings.of("grant"):
            query = passes.take()
        answer = answer_to(query)
        with timings.of("write_back"):
            effects = passes.answered(query, answer)
        left = sum(change.after.state is not OrderState.PENDING for change in effects.changes)
        if left:
            passes.add_new(number + 1, left)
            number += left
        if done % _SHOWN_EVERY == 0:
            show_progress(f"{done:,} of {count:,} passes")
    return timings


def _ends(timings: Timings) -> dict[str, dict[str, float]]:
    """How long the first passes took, and the last ones."""
    parts = ("choose", "grant", "write_back")
    return {
        "first_ms": {part: round(1000 * median(timings.seconds[part][:_COMPARED]), 2) for part in parts},
        "last_ms": {part: round(1000 * median(timings.seconds[part][-_COMPARED:]), 2) for part in parts},
    }


def _statistics(database: Database) -> Mapping[str, Mapping[str, int]]:
    with database.read() as connection:
        return {row["name"]: {**row} for row in connection.execute(text(_STATISTICS)).mappings()}


def _sizes(database: Database) -> Mapping[str, int]:
    with database.read() as connection:
        return {str(name): int(size) for name, size in connection.execute(text(_SIZES))}


def _since(
    before: Mapping[str, int], after: Mapping[str, int], sizes: Mapping[str, int], grown: Mapping[str, int], name: str
) -> dict[str, object]:
    counted = ("inserted", "updated", "updated_hot", "autovacuums", "scans")
    return {
        **{key: after[key] - before.get(key, 0) for key in counted},
        "live": after["live"],
        "dead": after["dead"],
        "mb": [_mb(sizes.get(name, 0)), _mb(grown.get(name, 0))],
    }


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, list[float]]:
    return {name: [_mb(before.get(name, 0)), _mb(size)] for name, size in sorted(after.items()) if size}


def _mb(size: int) -> float:
    return round(size / 2**20, 2)
