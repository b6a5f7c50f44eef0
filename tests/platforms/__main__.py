"""`python -m tests.platforms`: the worker against random platforms. `make platforms` calls it."""

import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Annotated, Any

import structlog
import typer

from tests.platforms.deployment import migrated_template
from tests.platforms.run import Outcome, run
from tests.support.compiled_statements import share_compiled_statements

Count = Annotated[int, typer.Option(min=1, help="How many platforms.")]
Seed = Annotated[int | None, typer.Option(help="The seed of the first; the next ones count on. Else from the clock.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes side by side.")]

_PROGRESS_EVERY = 25
_TOTALS = ("orders", "queries", "settled", "set_aside", "excused")
_template: Any = None
_open = ExitStack()


def main(count: Count = 200, seed: Seed = None, processes: Processes = 2) -> None:
    """Run the worker against random platforms, and check it by each platform's truth. Exits 1 on any violation."""
    first = int(time.time()) % 10**6 * 1000 if seed is None else seed
    print(f"Random platforms {first} to {first + count - 1}, in {processes} processes.", flush=True)
    outcomes: list[Outcome] = []
    began = time.monotonic()
    for outcome in run_many(range(first, first + count), processes):
        outcomes.append(outcome)
        if outcome.violations:
            print(f"BAD {outcome.seed}; again: python -m tests.platforms --count 1 --seed {outcome.seed}")
            print(f"    {outcome.traits}", *outcome.violations, sep="\n    ", flush=True)
        if len(outcomes) % _PROGRESS_EVERY == 0:
            print(f"{len(outcomes)} of {count} done, in {time.monotonic() - began:.0f} s", flush=True)
    bad = [outcome for outcome in outcomes if outcome.violations]
    print(Counter(violation.kind for outcome in bad for violation in outcome.violations))
    print({name: sum(getattr(outcome, name) for outcome in outcomes) for name in _TOTALS})
    print(f"{count - len(bad)} of {count} platforms without a violation, in {time.monotonic() - began:.0f} s")
    sys.exit(1 if bad else 0)


def run_many(seeds: Iterable[int], processes: int) -> Iterator[Outcome]:
    """The outcome of each seed, in their order."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_set_up) as pool:
        yield from pool.map(_run, seeds)


def _set_up() -> None:
    """Prepare a process: one migrated database, and no logs."""
    global _template
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    _template = _open.enter_context(migrated_template())
    # Both as in tests/conftest.py, which says what they save.
    share_compiled_statements()
    gc.set_threshold(20_000)


def _run(seed: int) -> Outcome:
    return run(_template, seed)


if __name__ == "__main__":
    typer.run(main)
