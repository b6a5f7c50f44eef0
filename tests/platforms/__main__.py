"""`python -m tests.platforms`: the worker against random platforms. `make platforms` calls it."""

import sys
import time
from collections import Counter
from typing import Annotated

import typer

from tests.platforms.many import run_many
from tests.platforms.run import Outcome

Count = Annotated[int, typer.Option(min=1, help="How many platforms.")]
Seed = Annotated[int | None, typer.Option(help="The seed of the first; the next ones count on. Else from the clock.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes side by side.")]

_PROGRESS_EVERY = 25
_TOTALS = ("orders", "queries", "settled", "set_aside", "excused")


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


if __name__ == "__main__":
    typer.run(main)
