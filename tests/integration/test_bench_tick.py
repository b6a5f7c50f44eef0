"""The benchmark of a tick: its tables, and what it prints. It is not timed here."""

import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

import worker
from benchmarks.tick.__main__ import main
from benchmarks.tick.floor import floor_seconds
from benchmarks.tick.rows import NAME_PREFIX
from tests.support.command_line import logging_restored
from tests.support.sql import execute
from worker.database.migrations import upgrade
from worker.database.tables import ORDERS
from worker.database.transactions import Database
from worker.domain.records.orders import IdKind, Lane, Order, OrderState
from worker.stores.recharge_orders import ORDER_COLUMNS, to_values

pytestmark = pytest.mark.slow

ROOT = Path(worker.__file__).parents[1]


@dataclass(frozen=True)
class Printed:
    """What the benchmark printed."""

    stdout: str
    stderr: str


def options(url: str, *arguments: str) -> list[str]:
    return ["--database-url", url, "--runs", "2", *arguments]


def run(url: str, *arguments: str) -> Printed:
    """Run the benchmark in this process: a program would import all of the worker for as long as it measures."""
    out, err = StringIO(), StringIO()
    with logging_restored(), redirect_stdout(out), redirect_stderr(err):
        main(options(url, *arguments))
    return Printed(out.getvalue(), err.getvalue())


def run_program(url: str, *arguments: str, status: int) -> Printed:
    """Run the benchmark as a person does; it must end with this status."""
    command = (sys.executable, "-m", "benchmarks.tick", *options(url, *arguments))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return Printed(done.stdout, done.stderr)


def measure(url: str, rows: int, pending: int) -> dict[str, Any]:
    """What the benchmark prints: nothing but one JSON object."""
    result: dict[str, Any] = json.loads(run(url, "--rows", str(rows), "--pending", str(pending), "--json").stdout)
    return result


def rows_of(url: str) -> list[dict[str, Any]]:
    database = Database(url)
    try:
        with database.read() as connection:
            return [{**row} for row in connection.execute(select(ORDERS)).mappings()]
    finally:
        database.close()


def order_of(row: dict[str, Any]) -> Order:
    return Order(**{column.name: row[column.name] for column in ORDER_COLUMNS})


def order_of_another_program() -> dict[str, Any]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    order = Order(id=0, account="default", request_id="1", submitted_at=now, due_at=now)
    return {**to_values(order, now), "created_at": now}


def test_an_empty_database_is_filled_and_measured(database_url: str) -> None:
    result = measure(database_url, rows=2000, pending=600)

    assert result["median_ms"].keys() == {"quiet_tick", "choose", "grant", "write_back"}
    assert all(median > 0 for median in result["median_ms"].values())
    assert (result["rows"], result["pending"]) == (2000, 600)


def test_a_pass_is_compared_with_bare_statements_that_leave_the_tables_as_they_were(database_url: str) -> None:
    result = measure(database_url, rows=2000, pending=600)
    before = rows_of(database_url)

    floor = floor_seconds(database_url, 3)

    if database_url.startswith("postgresql"):
        # Both are rounded: the greater the ratio is, the more of it the rounded floor hides.
        whole = result["median_ms"]["grant"] + result["median_ms"]["write_back"]
        assert result["pass_over_floor"] == pytest.approx(whole / result["floor"], abs=0.01, rel=0.002)
        assert len(floor) == 3
        assert sorted(before, key=itemgetter("id")) == sorted(rows_of(database_url), key=itemgetter("id"))
    else:
        assert (result["floor"], result["pass_over_floor"], floor) == (None, None, [])


def test_the_tables_are_kept_grown_and_filled_again_where_they_hold_more_or_another_version(database_url: str) -> None:
    measure(database_url, rows=1000, pending=500)
    first = {row["id"] for row in rows_of(database_url)}
    for _ in range(2):
        measure(database_url, rows=3000, pending=700)
        grown = rows_of(database_url)
        assert first < {row["id"] for row in grown}
        assert (len(grown), sum(row["state"] is OrderState.PENDING for row in grown)) == (3000, 700)
    assert "filled again" in run(database_url, "--rows", "1000", "--pending", "500").stderr
    assert len(rows_of(database_url)) == 1000
    execute(database_url, f"UPDATE recharge_orders SET custom_parm = replace(custom_parm, '{NAME_PREFIX}', 'bench-')")
    assert "another version" in run(database_url, "--rows", "1000", "--pending", "500").stderr
    assert all(str(each["custom_parm"]).startswith(NAME_PREFIX) for each in rows_of(database_url))


def test_synthetic_orders_are_as_the_worker_writes_them(database_url: str) -> None:
    measure(database_url, rows=20_000, pending=2000)
    rows = rows_of(database_url)

    for row in rows:
        written = to_values(order_of(row), row["updated_at"])
        assert {name: row[name] for name in written} == written
    waiting = [row for row in rows if row["state"] is OrderState.PENDING]
    assert {row["lane"] for row in waiting} == set(Lane)
    assert {row["id_kind"] for row in waiting} == set(IdKind)
    assert any(row["queried_at"] is None for row in waiting)


def test_a_database_with_other_orders_is_refused_and_left_alone(database_url: str) -> None:
    upgrade(database_url)
    database = Database(database_url)
    with database.write() as connection:
        connection.execute(insert(ORDERS), [order_of_another_program()])
    database.close()
    done = run_program(database_url, "--rows", "1000", "--pending", "500", status=1)

    assert "not this benchmark's" in done.stderr
    assert len(rows_of(database_url)) == 1
