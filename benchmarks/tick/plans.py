"""How the database runs each statement of a pass, and whether that depends on the table's size."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, event, text

from worker.database.transactions import Database

# Below this many pending orders, reading half of them is no fault.
_MANY = 10_000
# A batch's rows, and some levels of an index for each.
_FEW_PAGES = 8_000
_STATISTICS_SECONDS = 20.0
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_EXPLAINED = ("SELECT", "UPDATE", "INSERT", "WITH")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A statement of a part, and how it is run."""

    part: str
    statement: str
    steps: tuple[str, ...]
    faults: tuple[str, ...]
    """Why it is not constant in time; empty where it is."""


def plans_of(database: Database, part: str, run: Callable[[], object], pending: int) -> list[Plan]:
    """Run a part once, and explain each statement just before it runs. `pending`: how many orders are pending."""
    plans: list[Plan] = []
    with database.read() as connection:
        pages = _pages(connection)
    with _explaining(database) as explained:
        run()
    for statement, steps in explained.items():
        faults = _faults(database.kind, steps, pending, pages if statement.startswith("SELECT") else 0)
        plans.append(Plan(part=part, statement=statement, steps=tuple(steps), faults=tuple(faults)))
    return plans


def let_counts_arrive(url: str) -> None:
    """Wait until PostgreSQL has ended all other sessions: from release 15 on the statistics then have their counts.

    If other programs use the database, the wait ends after 20 s. It ends at once on other databases.
    """
    database = Database(url, pool_size=1)
    give_up = time.monotonic() + _STATISTICS_SECONDS
    try:
        while database.kind == "postgresql" and time.monotonic() < give_up:
            with database.read() as connection:
                if not connection.execute(text(_OTHERS)).scalar_one():
                    return
            time.sleep(0.02)
    finally:
        database.close()


def scans(url: str) -> int | None:
    """How often the orders were read from end to end, ever, as PostgreSQL counts it; None on other databases.

    Only this shows what plans do that are made once for all parameters: EXPLAIN plans for its own parameters.
    """
    let_counts_arrive(url)
    database = Database(url, pool_size=1)
    try:
        if database.kind != "postgresql":
            return None
        with database.read() as connection:
            counted = "SELECT seq_scan FROM pg_stat_user_tables WHERE relid = 'recharge_orders'::regclass"
            return int(connection.execute(text(counted)).scalar_one())
    finally:
        database.close()


@contextmanager
def _explaining(database: Database) -> Iterator[dict[str, list[str]]]:
    explained: dict[str, list[str]] = {}
    is_explaining = False

    def explain(
        connection: Connection, _cursor: object, statement: str, parameters: Any, _context: object, many: bool
    ) -> None:
        nonlocal is_explaining
        if is_explaining or not statement.startswith(_EXPLAINED) or statement in explained:
            return
        is_explaining = True
        # Some databases run what they explain.
        connection.exec_driver_sql("SAVEPOINT before_plan")
        explained[statement] = _explain(connection, statement, parameters[0] if many else parameters)
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT before_plan")
        is_explaining = False

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield explained
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)


def _explain(connection: Connection, statement: str, parameters: Any) -> list[str]:
    if connection.dialect.name == "postgresql":
        explain = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) "
        return [str(row[0]) for row in connection.exec_driver_sql(explain + statement, parameters)]
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)
        return [str(row[-1]) for row in rows]
    # MariaDB counts the rows that are read, if it is not an INSERT.
    explain = "EXPLAIN " if statement.startswith("INSERT") or not _is_mariadb(connection) else "ANALYZE "
    result = connection.exec_driver_sql(explain + statement, parameters)
    return [_named(row) for row in result.mappings()]


def _named(row: Any) -> str:
    names = ("table", "type", "key", "key_len", "rows", "r_rows", "Extra")
    return " ".join(f"{name}={row[name]}" for name in names if row.get(name) is not None)


def _is_mariadb(connection: Connection) -> bool:
    return bool(getattr(connection.dialect, "is_mariadb", False))


def _pages(connection: Connection) -> int:
    """Pages of the index of due orders; 0 where the database does not show them."""
    if connection.dialect.name != "postgresql":
        return 0
    pages = "SELECT relpages FROM pg_class WHERE oid = to_regclass('ix_recharge_orders_due')"
    return int(connection.execute(text(pages)).scalar() or 0)


def _faults(kind: str, steps: list[str], pending: int, pages: int) -> list[str]:
    if kind == "sqlite":
        return [step for step in steps if _is_slow_on_sqlite(step)]
    if kind == "postgresql":
        return list(_postgresql_faults(steps, pending, pages))
    return [step for step in steps if _is_slow_on_mariadb(step, pending)]


def _is_slow_on_sqlite(step: str) -> bool:
    if re.search(r"\bSCAN recharge_orders", step):
        return True
    # A search by fewer columns of this index reads a part of the pending orders.
    return "ix_recharge_orders_due" in step and "due_at" not in step


def _is_slow_on_mariadb(step: str, pending: int) -> bool:
    if not step.startswith("table=recharge_orders "):
        return False
    if re.search(r"type=(ALL|index)\b", step):
        return True
    read = re.search(r"r_rows=([\d.]+)", step)
    return read is not None and _is_half(float(read[1]), pending)


def _postgresql_faults(steps: list[str], pending: int, pages: int) -> Iterator[str]:
    for step in steps:
        if "Seq Scan on recharge_orders" in step:
            yield step.strip()
        read = re.search(r"Scan .*recharge_orders.*rows=([\d.]+) loops=(\d+)", step)
        if read and _is_half(float(read[1]) * int(read[2]), pending):
            yield step.strip()
        removed = re.search(r"Rows Removed by \w[\w ]*: (\d+)", step)
        if removed and _is_half(int(removed[1]), pending):
            yield step.strip()
    # An index that is read whole returns no more rows than one that is searched: only the pages show it. The first line
    # about pages is the sum of all.
    sums = [step for step in steps if step.strip().startswith("Buffers:")][:1]
    touched = sum(int(count) for step in sums for count in re.findall(r"(?:hit|read)=(\d+)", step))
    if pending >= _MANY and pages > _FEW_PAGES and touched >= pages / 2:
        yield f"{touched} pages were touched; the index of due orders has {pages}"


def _is_half(rows: float, pending: int) -> bool:
    return pending >= _MANY and rows >= pending / 2
