"""`python -m benchmarks.tick.sizes [--quick] [--json]`: a small table against a large one, on each database."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.pool import NullPool

from benchmarks import servers
from benchmarks.tick.passes import PARTS

POSTGRES = "RECONCILER_TEST_POSTGRES_URL"
MARIADB = "RECONCILER_TEST_MARIADB_URL"

_SMALL = 10_000
_LARGE = {"postgresql": 10_000_000, "sqlite": 1_000_000, "mariadb": 1_000_000}
_QUICK = 100_000
_PENDING_ONE_IN = 10
# On the large table each part may take so many times as long as on the small one, or so much longer.
_RATIO, _MORE_MS = 1.5, 1.0
# A pass may take so many times as long as its bare statements.
_MOST_OVER_FLOOR = 3.0
_FOLDER = Path("build", "benchmarks")


def main() -> None:
    """Measure each size in a process of its own, and print one table. A missed target is shown, not an error."""
    arguments = _arguments()
    results: list[dict[str, Any]] = []
    with ExitStack() as stack:
        for kind, url in _servers(stack):
            for rows in (_SMALL, _QUICK if arguments.quick else _LARGE[kind]):
                results.append({"kind": kind, **_measured(_database(kind, url, rows), rows)})
    if arguments.json:
        print(json.dumps(results, ensure_ascii=False))
    else:
        print("\n".join(_table(results)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tick.sizes",
        description=f"Databases: PostgreSQL ({POSTGRES} names it, else from a wheel), SQLite, and MariaDB where"
        f" {MARIADB} names one. On these servers, databases named reconciler_tick_... are made, and kept.",
    )
    parser.add_argument("--quick", action="store_true", help=f"at most {_QUICK:,} orders")
    parser.add_argument("--json", action="store_true", help="print one JSON list and nothing else")
    return parser.parse_args()


def _servers(stack: ExitStack) -> Iterator[tuple[str, str]]:
    given = os.environ.get(POSTGRES)
    yield "postgresql", given or stack.enter_context(servers.postgres()).url
    yield "sqlite", ""
    if mariadb := os.environ.get(MARIADB):
        yield "mariadb", mariadb


def _database(kind: str, server_url: str, rows: int) -> str:
    """The URL of the database for a size, made where it is missing."""
    name = f"reconciler_tick_{rows}"
    if kind == "sqlite":
        _FOLDER.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{(_FOLDER / f'{name}.db').absolute()}"
    server = sqlalchemy.create_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        if name not in sqlalchemy.inspect(connection).get_schema_names() and kind == "mariadb":
            connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        if kind == "postgresql":
            there = sqlalchemy.text("SELECT count(*) FROM pg_database WHERE datname = :name")
            if not connection.scalar(there, {"name": name}):
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return server.url.set(database=name).render_as_string(hide_password=False)


def _measured(url: str, rows: int) -> Mapping[str, Any]:
    size = ("--rows", str(rows), "--pending", str(rows // _PENDING_ONE_IN))
    command = (sys.executable, "-m", "benchmarks.tick", "--database-url", url, *size, "--json")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"the measurement of {rows:,} orders failed")
    result: Mapping[str, Any] = json.loads(done.stdout)
    return result


def _table(results: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [_line("database", "orders", [*PARTS, "bare statements", "a pass takes times"])]
    for small, large in zip(results[::2], results[1::2], strict=True):
        lines += [_figures(small), _figures(large), _compared(small, large), ""]
    first = results[0]
    lines += [f"{name}: {first[name]}" for name in ("date", "machine", "versions")]
    lines += sorted({f"database: {result['database']}" for result in results})
    lines += [f"load: {', '.join(result['load'] for result in results)}"]
    return lines


def _figures(result: Mapping[str, Any]) -> str:
    medians = result["median_ms"]
    cells = [f"{medians[part]:.2f} ms" for part in PARTS]
    if result["floor"] is not None:
        cells += [f"{result['floor']:.2f} ms", f"{result['pass_over_floor']:.2f} (≤ {_MOST_OVER_FLOOR:.0f})"]
    return _line(result["kind"], f"{result['rows']:,}", cells)


def _compared(small: Mapping[str, Any], large: Mapping[str, Any]) -> str:
    cells = []
    for part in PARTS:
        before, after = small["median_ms"][part], large["median_ms"][part]
        is_constant = after <= max(before * _RATIO, before + _MORE_MS)
        cells.append(f"{after / before:.2f} {'yes' if is_constant else 'NO'}")
    return _line("", "ratio", cells)


def _line(kind: str, rows: str, cells: Sequence[str]) -> str:
    return (f"{kind:<11}{rows:>11}" + "".join(f"{cell:>21}" for cell in cells)).rstrip()


if __name__ == "__main__":
    main()
