"""Changes a decision in a copy of the project, one at a time, and runs the tests that are to notice it.

`python -m tests.mutants` tries all of `tests.mutants.table`, `--only 3 --only 7` some; it exits 1 where one survives.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import pytest

from tests.mutants.sandbox import changed, copy_project, run_tests
from tests.mutants.table import MUTANTS

# SQLite alone, and nothing that takes seconds.
QUICK = "-mnot slow and not service and not faults and not install"


def file_with(text: str, folder: Path) -> Path:
    """The file of the code that holds a text, once. Exits where several or none do."""
    found = [
        path for path in sorted((folder / "worker").rglob("*.py")) for _ in range(path.read_text("utf-8").count(text))
    ]
    if len(found) != 1:
        sys.exit(f"{text!r} stands {len(found)} times in worker/, not once: correct tests/mutants/table.py")
    return found[0]


def test_files(names: str, folder: Path) -> list[str]:
    """The test files of these names, wherever they are. Exits where one is not there."""
    found: list[str] = []
    for name in names.split():
        if not (paths := sorted((folder / "tests").rglob(f"test_{name}.py"))):
            sys.exit(f"there is no test_{name}.py: correct tests/mutants/table.py")
        found += map(str, paths)
    return found


def survives(number: int, folder: Path) -> bool:
    """Try a mutant; returns whether no test has noticed it."""
    names, before, after = MUTANTS[number]
    path = file_with(before, folder)
    with changed(path, path.read_text("utf-8").replace(before, after)):
        status = run_tests([QUICK, *test_files(names, folder)], folder)
    word = "killed" if status == pytest.ExitCode.TESTS_FAILED else f"SURVIVES (pytest ended with {status})"
    print(f"{number:2} {word}: {path.relative_to(folder)}: {before!r} -> {after!r}", flush=True)
    return status != pytest.ExitCode.TESTS_FAILED


def main() -> int:
    """Try mutants; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument(
        "--only", type=int, action="append", help="this mutant alone, by its number in the table, from 0"
    )
    numbers: list[int] = parser.parse_args().only or list(range(len(MUTANTS)))
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        copy_project(folder)
        for names, before, _ in MUTANTS:
            file_with(before, folder)
            test_files(names, folder)
        survivors = [number for number in numbers if survives(number, folder)]
    print(f"{len(numbers)} mutants, survivors: {survivors or 'none'}")
    return 1 if survivors else 0


sys.exit(main())
