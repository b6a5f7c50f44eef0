"""`reconciler` as a test calls it: in this process, or in one of its own."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from typer.testing import CliRunner, Result

import worker
from worker.cli.app import app

SID, TOKEN, APP_ID = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210", "app-1"
ACCOUNT = {"RECONCILER_ACCOUNT_SID": SID, "RECONCILER_AUTH_TOKEN": TOKEN, "RECONCILER_APP_ID": APP_ID}

PROGRAM = [sys.executable, "-c", "from worker.cli import main; main()"]
"""The console script, whether or not it is installed; give it `environment`."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these settings, for `PROGRAM`."""
    return {**os.environ, "PYTHONPATH": str(Path(worker.__file__).parents[1]), **settings}


@dataclass(frozen=True)
class CommandLine:
    """Runs commands with these settings."""

    settings: Mapping[str, str] = field(default_factory=lambda: dict(ACCOUNT))

    def run(
        self, *arguments: str, status: int | None = 0, stdin: bytes | str | None = None, width: int = 200
    ) -> Result:
        """Run a command that is to end with this status; None: with any."""
        variables = {**self.settings, "COLUMNS": str(width)}
        with logging_restored():
            result = CliRunner(env=variables).invoke(app, list(arguments), input=stdin, prog_name="reconciler")
        assert status in (None, result.exit_code), (
            f"exit status {result.exit_code}: {result.output}{result.exception!r}"
        )
        return result

    def json(self, *arguments: str, status: int = 0, stdin: bytes | str | None = None) -> Any:
        """What a command prints with --json: all of its standard output."""
        return json.loads(self.run(*arguments, "--json", status=status, stdin=stdin).stdout)

    def error(self, *arguments: str, status: int = 1, stdin: bytes | str | None = None) -> str:
        """The one line that a failed command prints; it prints nothing else."""
        result = self.run(*arguments, status=status, stdin=stdin)
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert result.stderr.endswith("\n")
        assert result.stderr.count("\n") == 1, result.stderr
        return result.stderr.removeprefix("Error: ").removesuffix("\n")


@contextmanager
def logging_restored() -> Iterator[None]:
    """Restore this process's logging after a command has configured it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
