"""`python -m benchmarks.tick --database-url URL --rows N --pending P [--json]`: measure a pass on tables of a size."""

import argparse
import json
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.tick.about import about
from benchmarks.tick.floor import floor_seconds
from benchmarks.tick.passes import PARTS, Passes, Timings
from benchmarks.tick.synthetic import Size, prepare, settle_down, show_progress
from worker.adapters.log import configure_logging

_FEWEST_PENDING = 500
_RUNS = 200


def main(given: Sequence[str] | None = None) -> None:
    """Fill the tables, measure, print.

    `given` are the arguments, those of the program where it is None.
    """
    arguments = _arguments(given)
    # A worker writes its log lines, too; here they are discarded.
    with open("/dev/null", "w", encoding="utf-8") as nowhere:
        configure_logging("INFO", "json", stream=nowhere)
        size = Size(rows=arguments.rows, pending=arguments.pending)
        prepare(arguments.database_url, size)
        result = _measure(arguments.database_url, arguments.runs)
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
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args(given)
    if not _FEWEST_PENDING <= arguments.pending <= arguments.rows:
        parser.error(f"--pending must be {_FEWEST_PENDING} or more, and no more than --rows")
    return arguments


def _measure(url: str, runs: int) -> dict[str, Any]:
    passes = Passes(url)
    try:
        settle_down(passes.database.engine)
        show_progress(f"measuring {runs} batches")
        timings = passes.measure(runs)
        floor = floor_seconds(url, runs)
    finally:
        passes.close()
    return {
        "median_ms": {part: round(1000 * median(timings.seconds[part]), 3) for part in PARTS},
        **_compared(timings, floor),
    }


def _compared(timings: Timings, floor: Sequence[float]) -> dict[str, float | None]:
    if not floor:
        return {"floor": None, "pass_over_floor": None}
    whole = median(timings.seconds["grant"]) + median(timings.seconds["write_back"])
    return {"floor": round(1000 * median(floor), 3), "pass_over_floor": round(whole / median(floor), 2)}


def _shown(result: dict[str, Any]) -> list[str]:
    medians = [f"{part:<12}{milliseconds:>8.2f} ms" for part, milliseconds in result["median_ms"].items()]
    return [*medians, *(f"{name}: {value}" for name, value in result.items() if name != "median_ms")]


if __name__ == "__main__":
    main()
