"""Change a copy of the project and run tests in it."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest

import tests.conftest  # noqa: F401  # for the libraries that it imports: a fork has them, and imports our code again

ROOT = Path(__file__).parents[2]
_COPIED = ("worker", "tests", "migrations", "benchmarks", "docs", "deploy", "requirements", ".ci")
_FLAGS = (
    *("-qx", "-pno:cacheprovider"),
    # Plugins are imported already, and pytest would rewrite their assertions.
    "-Wignore::pytest.PytestAssertRewriteWarning",
)
_times = count(1_000_000_000)


def copy_project(folder: Path) -> None:
    """Copy all that tests read into a folder that exists."""
    for source in ROOT.iterdir():
        if source.name in _COPIED:
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy(source, folder / source.name)


@contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    """Give a file another text, and its own one back at the end."""
    original = path.read_text("utf-8")
    _write(path, text)
    try:
        yield
    finally:
        _write(path, original)


def _write(path: Path, text: str) -> None:
    """Write a file under a new time: otherwise Python might take the compiled file of another text of this size."""
    path.write_text(text, "utf-8")
    time = next(_times)
    os.utime(path, (time, time))


def run_tests(arguments: Sequence[str], folder: Path) -> int:
    """Run tests of the copy up to the first that fails.

    They run in a fork, as importing libraries takes longer than most of these tests do.

    Args:
        arguments: pytest's.
        folder: the copy.

    Returns:
        Pytest's exit status, or the number of the signal that ended it, negative.
    """
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        os.setpgid(0, 0)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
            os.dup2(nowhere.fileno(), sys.stderr.fileno())
        os.chdir(folder)
        sys.path[0] = str(folder)
        # Programs that tests start would otherwise run the installed code.
        os.environ["PYTHONPATH"] = str(folder)
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "worker")]:
            del sys.modules[name]
        try:
            os._exit(pytest.main([*_FLAGS, *arguments]))
        finally:
            os._exit(pytest.ExitCode.INTERNAL_ERROR)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return status
