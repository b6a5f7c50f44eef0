"""`python -m benchmarks.ingest [NAME ...] [--processes N] [--json]`: lists, singles, callbacks, and floods."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks import servers
from benchmarks.about import about
from benchmarks.bench import Bench
from benchmarks.figures import Figure, table
from benchmarks.ingest import flood, rates

_TESTS_OWN = {servers.POSTGRES: "RECONCILER_TEST_POSTGRES_URL", servers.REDIS: "RECONCILER_TEST_REDIS_URL"}


def main() -> None:
    """Measure, and print one table. A missed target is shown, not an error: targets are set for one machine."""
    arguments = _arguments()
    for ours, tests in _TESTS_OWN.items():
        if tests in os.environ:
            os.environ.setdefault(ours, os.environ[tests])
    spacing = partial(
        flood.spacing,
        orders=arguments.flood,
        singles=arguments.flood_singles,
        calm_windows=arguments.calm_windows,
    )
    known: Mapping[str, Callable[[Bench], list[Figure]]] = {
        "lists": partial(rates.lists, processes=arguments.processes),
        "singles": partial(rates.singles, processes=arguments.processes),
        "callbacks": partial(rates.callbacks, processes=arguments.processes),
        "flood": spacing,
    }
    load_before, measured = os.getloadavg()[0], {}
    with Bench() as bench:
        for name in arguments.names or known:
            start = time.monotonic()
            measured[name] = known[name](bench)
            middles = ", ".join(f"{figure.middle:,.3g} {figure.unit}" for figure in measured[name])
            print(f"{name}: {middles} (in {time.monotonic() - start:.0f} s)", file=sys.stderr, flush=True)
        described = about(bench, load_before=load_before)
    if arguments.json:
        figures = {name: [figure.as_json() for figure in found] for name, found in measured.items()}
        print(json.dumps({**figures, "about": described}, ensure_ascii=False))
    else:
        lines = table([figure for found in measured.values() for figure in found])
        print("\n".join([*lines, "", *(f"{name}: {value}" for name, value in described.items())]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest",
        description="Measure how fast orders and callbacks are taken in, with the servers that"
        f" {' and '.join(f'{ours} (or {tests})' for ours, tests in _TESTS_OWN.items())} name, else from wheels."
        " The Redis database is emptied.",
    )
    names = ("lists", "singles", "callbacks", "flood")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"what to measure, of {', '.join(names)}; else all")
    parser.add_argument(
        "--processes", type=int, default=2, metavar="N", help="of the worker, but in the flood (%(default)s)"
    )
    parser.add_argument("--flood", type=int, default=1_000_000, metavar="N", help="orders in lists (%(default)s)")
    parser.add_argument(
        "--flood-singles", type=int, default=100_000, metavar="N", help="single orders after them (%(default)s)"
    )
    parser.add_argument("--calm-windows", type=int, default=12, help="windows to watch before it (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"nothing is named {', '.join(sorted(unknown))}; known: {', '.join(names)}")
    return arguments


if __name__ == "__main__":
    main()
