"""`python -m benchmarks.tick --database-url URL --rows N --pending P [--json]`: measure, and show the plans."""

import argparse
import json
from collections.abc import Sequence
from statistics import median
from textwrap import shorten
from typing import Any

from benchmarks.tick.about import about
from benchmarks.tick.bloat import measure_bloat
from benchmarks.tick.floor import floor_seconds
from benchmarks.tick.passes import PARTS, Passes, Timings
from benchmarks.tick.plans import plans_of, scans
from benchmarks.tick.synthetic import Size, prepare, settle_down, show_progress
from worker.adapters.log import configure_logging

_FEWEST_PENDING = 500
_RUNS = 200
_WIDTH = 160


def main(given: Sequence[str] | None = None) -> None:
    """Fill the tables, measure, print. A plan that depends on the size of the tables is shown, not an error.

    `given` are the arguments, those of the program where it is None.
    """
    arguments = _arguments(given)
    # A worker writes its log lines, too; here they are discarded.
    with open("/dev/null", "w", encoding="utf-8") as nowhere:
        configure_logging("INFO", "json", stream=nowhere)
        size = Size(rows=arguments.rows, pending=arguments.pending)
        prepare(arguments.database_url, size)
        if arguments.passes:
            result = measure_bloat(arguments.database_url, arguments.passes)
        else:
            result = _measure(arguments.database_url, size, arguments.runs)
    result = {**result, "rows": size.rows, "pending": size.pending, **about(arguments.database_url)}
    print(json.dumps(result, ensure_ascii=False) if arguments.json else "\n".join(_shown(result)))


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tick",
        description="Measure what a tick, the choice, the grant and the write-back of 100 orders take.",
        epilog="The database must be empty, or filled by this program before: its tables are kept, and grown.",
    )
    parser.add_argument("--database-url", required=True, help="SQLAlchemy's URL of PostgreSQL, MariaDB or SQLite")
    parser.add_argument("--rows", type=int, required=True, help="how many orders the table is to hold")
    parser.add_argument("--pending", type=int, required=True, help=f"how many of them wait, {_FEWEST_PENDING} at least")
    parser.add_argument("--runs", type=int, default=_RUNS, help="how many batches to time (%(default)s)")
    parser.add_argument(
        "--passes", type=int, help="instead of timing, run so many passes and measure bloat (PostgreSQL)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args(given)
    if not _FEWEST_PENDING <= arguments.pending <= arguments.rows:
        parser.error(f"--pending must be {_FEWEST_PENDING} or more, and no more than --rows")
    return arguments


def _measure(url: str, size: Size, runs: int) -> dict[str, Any]:
    before = scans(url)
    passes = Passes(url)
    try:
        settle_down(passes.database.engine)
        show_progress(f"measuring {runs} batches")
        timings = passes.measure(runs)
        floor = floor_seconds(url, runs)
        plans = [plan for part, database, run in passes.parts() for plan in plans_of(database, part, run, size.pending)]
    finally:
        passes.close()
    after = scans(url)
    faults = [f"{plan.part}: {fault}" for plan in plans for fault in plan.faults]
    if before is not None and after is not None and after > before:
        faults.append(f"PostgreSQL counted {after - before} scans of the orders while it was measured")
    return {
        "median_ms": {part: round(1000 * median(timings.seconds[part]), 3) for part in PARTS},
        **_compared(timings, floor),
        "faults": faults,
        "plans": [{"part": plan.part, "statement": plan.statement, "steps": plan.steps} for plan in plans],
    }


def _compared(timings: Timings, floor: Sequence[float]) -> dict[str, float | None]:
    if not floor:
        return {"floor": None, "pass_over_floor": None}
    whole = median(timings.seconds["grant"]) + median(timings.seconds["write_back"])
    return {"floor": round(1000 * median(floor), 3), "pass_over_floor": round(whole / median(floor), 2)}


def _shown(result: dict[str, Any]) -> list[str]:
    lists = ("median_ms", "faults", "plans", "tables")
    lines = [f"{part:<12}{milliseconds:>8.2f} ms" for part, milliseconds in result.get("median_ms", {}).items()]
    lines += [f"{name}: {value}" for name, value in result.items() if name not in lists]
    for plan in result.get("plans", ()):
        statement = shorten(plan["statement"], _WIDTH, placeholder=" ...")
        lines += ["", f"{plan['part']}: {statement}", *(f"    {step[:_WIDTH]}" for step in plan["steps"])]
    if "faults" in result:
        verdict = "no plan scans the orders, or reads the pending ones whole"
        lines += ["", *(["NOT CONSTANT IN TIME:", *result["faults"]] if result["faults"] else [verdict])]
    return lines + [f"{name}: {figures}" for name, figures in result.get("tables", {}).items()]


if __name__ == "__main__":
    main()
