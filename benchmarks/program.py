"""A program that runs benchmarks by their names, and prints one table of figures."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping

from benchmarks import servers
from benchmarks.about import about
from benchmarks.bench import Bench
from benchmarks.figures import Figure, table

Benchmarks = Mapping[str, Callable[[Bench], list[Figure]]]
"""The function of each benchmark, by its name."""


def parser_for(module: str, what: str, names: Collection[str]) -> argparse.ArgumentParser:
    """The options that all such programs have. `what`: what `python -m MODULE` measures."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=f"Measure {what}, with the servers that {servers.POSTGRES} and {servers.REDIS} name, else from"
        " wheels. The Redis database is emptied.",
    )
    # Python 3.11 refuses an empty list of names if the argument has `choices`.
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"what to measure, of {', '.join(names)}; else all")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def measure(known: Benchmarks, names: Collection[str], *, is_json: bool) -> None:
    """Run the named benchmarks, all if none is named. SystemExit for an unknown name.

    A missed target is shown, not an error: targets are set for one machine.
    """
    if unknown := set(names) - known.keys():
        raise SystemExit(f"no benchmark is named {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    figures: list[Figure] = []
    load_before = os.getloadavg()[0]
    with Bench() as bench:
        for name in names or known:
            start = time.monotonic()
            found = known[name](bench)
            figures += found
            middles = ", ".join(f"{figure.middle:,.3g} {figure.unit}" for figure in found)
            print(f"{name}: {middles} (in {time.monotonic() - start:.0f} s)", file=sys.stderr, flush=True)
        described = about(bench, load_before=load_before)
    if is_json:
        print(json.dumps({"about": described, "figures": [figure.as_json() for figure in figures]}, ensure_ascii=False))
    else:
        print("\n".join([*table(figures), "", *(f"{name}: {value}" for name, value in described.items())]))
