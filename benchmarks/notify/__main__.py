"""`python -m benchmarks.notify [NAME ...] [--quick] [--json]`: deliveries, what they cost the rest, and callbacks."""

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
from benchmarks.notify import callbacks, deliveries, spacing, write_back

_TESTS_OWN = {servers.POSTGRES: "RECONCILER_TEST_POSTGRES_URL", servers.REDIS: "RECONCILER_TEST_REDIS_URL"}


def main() -> None:
    """Measure, and print one table. A missed target is shown, not an error: targets are set for one machine."""
    arguments = _arguments()
    for ours, tests in _TESTS_OWN.items():
        if tests in os.environ:
            os.environ.setdefault(ours, os.environ[tests])
    known = _benchmarks(is_quick=arguments.quick)
    figures: list[Figure] = []
    load_before = os.getloadavg()[0]
    with Bench() as bench:
        for name in arguments.names or known:
            start = time.monotonic()
            found = known[name](bench)
            figures += found
            middles = ", ".join(f"{figure.middle:,.3g} {figure.unit}" for figure in found)
            print(f"{name}: {middles} (in {time.monotonic() - start:.0f} s)", file=sys.stderr, flush=True)
        described = about(bench, load_before=load_before)
    if arguments.json:
        print(json.dumps({"about": described, "figures": [figure.as_json() for figure in figures]}, ensure_ascii=False))
    else:
        print("\n".join([*table(figures), "", *(f"{name}: {value}" for name, value in described.items())]))


def _benchmarks(*, is_quick: bool) -> Mapping[str, Callable[[Bench], list[Figure]]]:
    if is_quick:
        return {
            "rate": partial(deliveries.rate, count=500, runs=1),
            "delay": partial(deliveries.delay, runs=10),
            "spacing": partial(spacing.run, waiting=1_000, windows=3),
            "write-back": write_back.run,
            "callbacks": partial(callbacks.run, callbacks=300, rounds=1),
        }
    return {
        "rate": partial(deliveries.rate, count=5_000, runs=3),
        "delay": partial(deliveries.delay, runs=40),
        "spacing": partial(spacing.run, waiting=100_000, windows=12),
        "write-back": write_back.run,
        "callbacks": partial(callbacks.run, callbacks=3_000, rounds=3),
    }


def _arguments() -> argparse.Namespace:
    names = tuple(_benchmarks(is_quick=True))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.notify",
        description="Measure notifications, with the servers that"
        f" {' and '.join(f'{ours} (or {tests})' for ours, tests in _TESTS_OWN.items())} name, else from wheels."
        " The Redis database is emptied.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"what to measure, of {', '.join(names)}; else all")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}; known: {', '.join(names)}")
    return arguments


if __name__ == "__main__":
    main()
