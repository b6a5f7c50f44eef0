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
Stories = Annotated[int, typer.Option(min=0, help="How many platforms with violations are printed in full.")]

_PROGRESS_EVERY = 25


def main(count: Count = 200, seed: Seed = None, processes: Processes = 2, stories: Stories = 12) -> None:
    """Run the worker against random platforms, and check it by each platform's truth. Exits 1 on any violation."""
    first = int(time.time()) % 10**6 * 1000 if seed is None else seed
    print(f"Random platforms {first} to {first + count - 1}, in {processes} processes.", flush=True)
    outcomes = []
    began = time.monotonic()
    for outcome in run_many(range(first, first + count), processes):
        outcomes.append(outcome)
        if outcome.violations:
            stories -= 1
            _print_bad(outcome, in_full=stories >= 0)
        if len(outcomes) % _PROGRESS_EVERY == 0:
            print(f"{len(outcomes)} of {count} done, in {time.monotonic() - began:.0f} s", flush=True)
    print(_summary(outcomes, time.monotonic() - began))
    sys.exit(1 if any(outcome.violations for outcome in outcomes) else 0)


def _print_bad(outcome: Outcome, *, in_full: bool) -> None:
    kinds = Counter(violation.kind for violation in outcome.violations)
    print(f"BAD {outcome.seed}: {', '.join(f'{number} {kind}' for kind, number in kinds.items())}", flush=True)
    print(f"    again: python -m tests.platforms --count 1 --processes 1 --seed {outcome.seed}")
    if not in_full:
        return
    print(f"    {outcome.traits}")
    for kind in kinds:
        print(f"    {next(violation for violation in outcome.violations if violation.kind == kind)}")
    for story in outcome.stories:
        print(story, flush=True)


def _summary(outcomes: list[Outcome], seconds: float) -> str:
    kinds: Counter[str] = Counter()
    where: dict[str, list[int]] = {}
    for outcome in outcomes:
        for violation in outcome.violations:
            kinds[violation.kind] += 1
            where.setdefault(violation.kind, []).append(outcome.seed)
    waits = sorted(wait for outcome in outcomes for wait in outcome.waits) or [0.0]
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    lines = [f"{number:6d}  {kind}; seeds {_few(where[kind])}" for kind, number in kinds.most_common()]
    total = {name: sum(getattr(outcome, name) for outcome in outcomes) for name in _TOTALS}
    lines.append(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in total.items()))
    lines.append(
        "windows from the result to its settlement by a query:"
        f" median {waits[len(waits) // 2]:.0f}, 95% {waits[len(waits) * 95 // 100]:.0f}, longest {waits[-1]:.0f}"
    )
    good = sum(not outcome.violations for outcome in outcomes)
    lines.append(
        f"{good} of {len(outcomes)} platforms without a violation, in {seconds:.0f} s"
        f" (the slowest: {slowest.seed}, {slowest.seconds:.0f} s)"
    )
    return "\n".join(lines)


_TOTALS = ("orders", "queries", "settled", "set_aside", "excused", "left_pending")


def _few(seeds: list[int]) -> str:
    distinct = sorted(set(seeds))
    return f"{', '.join(map(str, distinct[:8]))}{f' and {len(distinct) - 8} more' if len(distinct) > 8 else ''}"


if __name__ == "__main__":
    typer.run(main)
