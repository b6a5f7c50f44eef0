"""`python -m benchmarks [NAME ...] [--json]`: measure, and print one table."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from benchmarks import budget_use, enqueue_rate, memory, quiet_tick, servers, whole_pass
from benchmarks.bench import Bench
from benchmarks.figures import Figure

BENCHMARKS: Mapping[str, Callable[[Bench], list[Figure]]] = {
    "quiet-tick": quiet_tick.run,
    "whole-pass": whole_pass.run,
    "enqueue-rate": enqueue_rate.run,
    "budget-use": budget_use.run,
    "memory": memory.run,
}
_PACKAGES = ("celery", "kombu", "redis", "sqlalchemy", "psycopg", "requests")


def main() -> None:
    """Run what was asked for. A missed target is shown, not an error: targets are set for one machine."""
    arguments = _arguments()
    figures: list[Figure] = []
    load_before = os.getloadavg()[0]
    with Bench() as bench:
        for name in arguments.names or BENCHMARKS:
            start = time.monotonic()
            figures += BENCHMARKS[name](bench)
            print(f"{name}: done in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        about = _about(bench, load_before)
    if arguments.json:
        print(json.dumps({"about": about, "figures": [figure.as_json() for figure in figures]}, ensure_ascii=False))
    else:
        print("\n".join([*_table(figures), "", *(f"{name}: {value}" for name, value in about.items())]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure with the servers that {servers.POSTGRES} and {servers.REDIS} name, else from wheels.",
        epilog=f"NAME is one of {', '.join(BENCHMARKS)}; without any, all run, in about five minutes.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to measure")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
    return arguments


def _about(bench: Bench, load_before: float) -> dict[str, str]:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {os.cpu_count()} processors, {platform.platform()}",
        # What else ran on it: a shared machine measures its neighbours, too.
        "load": f"{load_before:.1f} before, {os.getloadavg()[0]:.1f} after",
        "servers": "; ".join(bench.used) or "none",
        "versions": f"Python {platform.python_version()}, {packages}",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _table(figures: Sequence[Figure]) -> list[str]:
    head = ("what", "unit", "runs", "min", "median", "max", "target", "ratio", "reached")
    rows = [head, *(_row(figure) for figure in figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    lines = [
        "  ".join(_padded(cell, width, place) for place, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return [line.rstrip() for line in lines]


def _padded(cell: str, width: int, place: int) -> str:
    return cell.ljust(width) if place < 2 else cell.rjust(width)


def _row(figure: Figure) -> tuple[str, ...]:
    target = "" if figure.target is None else ("≥ " if figure.more_is_better else "≤ ") + _number(figure.target)
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    reached = {None: "", True: "yes", False: "NO"}[figure.is_reached]
    values = (min(figure.values), figure.middle, max(figure.values))
    return (figure.what, figure.unit, str(len(figure.values)), *map(_number, values), target, ratio, reached)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    main()
