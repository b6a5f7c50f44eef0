"""`python -m benchmarks.accounts [--accounts N] [--hanging N] [--workers N] [--json]`."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping

from benchmarks import servers
from benchmarks.about import about
from benchmarks.accounts.plan import REAL_WINDOW, Plan
from benchmarks.accounts.run import measure
from benchmarks.bench import Bench


def main() -> None:
    """Measure, and print one table. A missed target is shown, not an error: targets are set for one machine."""
    arguments = _arguments()
    plan = Plan(
        accounts=arguments.accounts,
        hanging=arguments.hanging,
        workers=arguments.workers,
        processes=arguments.concurrency,
        window_seconds=arguments.window,
    )
    # SIGTERM must stop the servers and workers that are started here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    load_before = os.getloadavg()[0]
    with Bench() as bench:
        values = measure(bench, plan).as_json()
        described = about(bench, load_before=load_before)
    if arguments.json:
        print(json.dumps({**values, "about": described}, ensure_ascii=False))
    else:
        print("\n".join([*_table(values), "", *(f"{name}: {value}" for name, value in described.items())]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accounts",
        description="Many accounts, each with a backlog, each queried once a window: the share of its budget that each"
        f" gets. With the servers that {servers.POSTGRES} and {servers.REDIS} name, else from wheels.",
    )
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--hanging", type=int, default=0, help="so many of them get no answer, ever")
    parser.add_argument("--workers", type=int, default=1, help="celery workers, each a process group of its own (1)")
    parser.add_argument("--concurrency", type=int, default=2, help="processes of each worker (2)")
    parser.add_argument(
        "--window", type=float, default=REAL_WINDOW, help="seconds (60); another value scales every duration with it"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args()


def _table(values: Mapping[str, object]) -> list[str]:
    width = max(map(len, values))
    return [f"{name:<{width}}  {_shown(value)}" for name, value in values.items()]


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items()) or "none"
    return str(value)


if __name__ == "__main__":
    main()
