"""`python -m benchmarks [NAME ...] [--json]`: measure, and print one table."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping

from benchmarks import budget_use, costs, memory, quiet_tick, servers, whole_pass
from benchmarks.about import about
from benchmarks.bench import Bench
from benchmarks.figures import Figure, table
from benchmarks.ingest import rates

BENCHMARKS: Mapping[str, Callable[[Bench], list[Figure]]] = {
    "quiet-tick": quiet_tick.run,
    "whole-pass": whole_pass.run,
    "enqueue-rate": rates.lists,
    "budget-use": budget_use.run,
    "memory": memory.run,
    "costs": costs.run,
}


def main() -> None:
    """Run the named benchmarks. A missed target is shown, not an error: targets are set for one machine."""
    arguments = _arguments()
    figures: list[Figure] = []
    load_before = os.getloadavg()[0]
    with Bench() as bench:
        for name in arguments.names or BENCHMARKS:
            start = time.monotonic()
            figures += BENCHMARKS[name](bench)
            print(f"{name}: done in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        described = about(bench, load_before=load_before)
    if arguments.json:
        print(json.dumps({"about": described, "figures": [figure.as_json() for figure in figures]}, ensure_ascii=False))
    else:
        print("\n".join([*table(figures), "", *(f"{name}: {value}" for name, value in described.items())]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure with the servers that {servers.POSTGRES} and {servers.REDIS} name, else from wheels.",
        epilog=f"NAME is one of {', '.join(BENCHMARKS)}; without any, all run, in about eight minutes.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to measure")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
    return arguments


if __name__ == "__main__":
    main()
