"""Changes a decision in a copy of the project, one at a time, and runs the tests that are to notice it.

`python -m tests.mutants` tries all of `tests.mutants.table`, `--only 3 --only 7` some; it exits 1 where one survives.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

import tests.conftest  # noqa: F401  # for the libraries that it imports: a fork has them, and imports our code again
from tests.mutants.table import MUTANTS

ROOT = Path(__file__).parents[2]
COPIED = ("worker", "tests", "migrations", "benchmarks", "docs", "deploy", "pyproject.toml")
# SQLite alone, and nothing that takes seconds.
FLAGS = (
    *("-qx", "-pno:cacheprovider", "-mnot slow and not service and not faults and not install"),
    # Plugins are imported already, and pytest would rewrite their assertions.
    "-Wignore::pytest.PytestAssertRewriteWarning",
)
TESTS_FAILED = 1
_times = count(1_000_000_000)


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


def write(path: Path, text: str) -> None:
    """Write a file under a time of its own: else Python might take the compiled file of another text of its size."""
    path.write_text(text, "utf-8")
    time = next(_times)
    os.utime(path, (time, time))


def run(files: Sequence[str], folder: Path) -> int:
    """Run tests of the copy up to the first that fails; returns pytest's exit status.

    In a fork: to import libraries takes longer than most of these tests run.
    """
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        os.chdir(folder)
        sys.path[0] = str(folder)
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "worker")]:
            del sys.modules[name]
        try:
            os._exit(pytest.main([*FLAGS, *files]))
        finally:
            os._exit(pytest.ExitCode.INTERNAL_ERROR)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def survives(number: int, folder: Path) -> bool:
    """Try a mutant; returns whether no test has noticed it."""
    names, before, after = MUTANTS[number]
    path = file_with(before, folder)
    original = path.read_text("utf-8")
    write(path, original.replace(before, after))
    try:
        status = run(test_files(names, folder), folder)
    finally:
        write(path, original)
    word = "killed" if status == TESTS_FAILED else f"SURVIVES (pytest ended with {status})"
    print(f"{number:2} {word}: {path.relative_to(folder)}: {before!r} -> {after!r}", flush=True)
    return status != TESTS_FAILED


def main() -> int:
    """Try mutants; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument(
        "--only", type=int, action="append", help="this mutant alone, by its number in the table, from 0"
    )
    numbers: list[int] = parser.parse_args().only or list(range(len(MUTANTS)))
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        for copied in COPIED:
            if (source := ROOT / copied).is_dir():
                shutil.copytree(source, folder / copied, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / copied)
        for names, before, _ in MUTANTS:
            file_with(before, folder)
            test_files(names, folder)
        survivors = [number for number in numbers if survives(number, folder)]
    print(f"{len(numbers)} mutants, survivors: {survivors or 'none'}")
    return 1 if survivors else 0


sys.exit(main())
