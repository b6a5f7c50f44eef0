"""Change one condition, bound, operation or statement at a time, and run the tests that execute its line.

`make mutants` tries 400 mutants, drawn with a fixed seed. It prints which folder of tests killed each one, and which
mutants live; `build/mutants/results.txt` keeps the same. It fails if more than 6% live.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import pytest

from tests.mutants.executed import FOLDER, Executed, record
from tests.mutants.generate import Mutant, mutants_of
from tests.mutants.sandbox import ROOT, changed, copy_project, run_tests

_ROOMS = ("domain", "operations", "stores", "views", "broker", "adapters")
_MOST_SECONDS = 60.0
"""How long the tests of one mutant take at most, by the recorded run; the slower ones are left out."""
_MOST_LIVE = 0.06
_LIVES = "lives"
_NOT_EXECUTED = "lives, executed by no quick test"


def all_mutants() -> Iterator[Mutant]:
    """The mutants of all rooms, in a fixed order."""
    for room in _ROOMS:
        for path in sorted((ROOT / "worker" / room).rglob("*.py")):
            yield from mutants_of(str(path.relative_to(ROOT)), path.read_text("utf-8"))


@cache
def executed() -> Executed:
    """What the recorded run executed; each process reads it once."""
    return Executed()


def chosen_tests(mutant: Mutant, run: Executed) -> list[str]:
    """The quickest tests that execute the mutant's line."""
    chosen: list[str] = []
    total = 0.0
    for test in run.tests_of(mutant.path, mutant.line):
        total += run.seconds(test)
        if total > _MOST_SECONDS and chosen:
            break
        chosen.append(test)
    return chosen


def fate(mutant: Mutant, copies: Path) -> str:
    """Which folder of tests kills the mutant, or that it lives. Each process has a copy of the project in `copies`."""
    if not (tests := chosen_tests(mutant, executed())):
        return _NOT_EXECUTED
    folder = copies / str(os.getpid())
    if not folder.exists():
        folder.mkdir()
        copy_project(folder)
    path, killer = folder / mutant.path, folder / "killer.txt"
    killer.unlink(missing_ok=True)
    (folder / "arguments.txt").write_text("\n".join(tests), "utf-8")
    flags = ["--timeout=60", "-ptests.mutants.killer", "@arguments.txt"]
    with changed(path, mutant.applied(path.read_text("utf-8"))):
        status = run_tests(flags, folder)
    if status == pytest.ExitCode.OK:
        return _LIVES
    return f"killed by {killer.read_text('utf-8') if killer.exists() else f'the start of the tests ({status})'}"


def main() -> int:
    """Try mutants; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.generated")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", action="append", metavar="PATH:LINE", help="the mutants of this line alone")
    parser.add_argument("--recorded", action="store_true", help="use what the last run recorded of the tests")
    options = parser.parse_args()
    if not options.recorded:
        record(options.processes)
    mutants = list(all_mutants())
    if options.only:
        mutants = [mutant for mutant in mutants if f"{mutant.path}:{mutant.line}" in options.only]
    else:
        mutants = sorted(random.Random(options.seed).sample(mutants, min(options.count, len(mutants))))
    fates: dict[Mutant, str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as copies,
        multiprocessing.get_context("fork").Pool(options.processes) as pool,
        (FOLDER / "results.txt").open("w", encoding="utf-8") as results,
    ):
        tried = pool.imap(partial(fate, copies=Path(copies)), mutants)
        for mutant, end in zip(mutants, tried, strict=True):
            fates[mutant] = end
            for file in (sys.stdout, results):
                print(f"{mutant}: {end}", file=file, flush=True)
    for end, number in Counter(fates.values()).most_common():
        print(f"{number:5} {end}")
    living = [mutant for mutant, end in fates.items() if end.startswith(_LIVES)]
    print(f"{len(living)} of {len(fates)} mutants live:", *living, sep="\n")
    return 1 if len(living) > _MOST_LIVE * len(fates) else 0


if __name__ == "__main__":
    sys.exit(main())
