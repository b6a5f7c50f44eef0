"""`reconciler` as a test calls it: in this process, or in one of its own."""

import csv
import io
import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.main import get_command
from typer.testing import CliRunner

import worker
from tests.support.processes import NO_BROKER
from worker.cli.app import app
from worker.settings import Settings

SID, TOKEN, APP_ID = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210", "app-1"
ACCOUNT = {
    **{"RECONCILER_ACCOUNT_SID": SID, "RECONCILER_AUTH_TOKEN": TOKEN, "RECONCILER_APP_ID": APP_ID},
    "RECONCILER_BROKER_URL": NO_BROKER,
}


def settings_of_account(database_url: str, **more: Any) -> Settings:
    """The settings of a program with that account, on this database."""
    named = {name.removeprefix("RECONCILER_").lower(): value for name, value in ACCOUNT.items()}
    return Settings(**{"database_url": database_url, **named, **more})


_COMMAND = get_command(app)
"""Built once: that takes longer than most commands. Each call has a context of its own."""

PROGRAM = [sys.executable, "-c", "from worker.cli import main; main()"]
"""The console script, whether or not it is installed; give it `environment`."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these settings, for `PROGRAM`."""
    return {**os.environ, "PYTHONPATH": str(Path(worker.__file__).parents[1]), **settings}


@dataclass(frozen=True)
class Result:
    """What a command printed, and how it ended."""

    exit_code: int
    stdout_bytes: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        """Its standard output."""
        return self.stdout_bytes.decode().replace("\r\n", "\n")


@dataclass(frozen=True)
class CommandLine:
    """Runs commands with these settings."""

    settings: Mapping[str, str] = field(default_factory=lambda: dict(ACCOUNT))

    def run(
        self, *arguments: str, status: int | None = 0, stdin: bytes | str | None = None, width: int = 200
    ) -> Result:
        """Run a command that is to end with this status; None: with any."""
        variables = {**self.settings, "COLUMNS": str(width)}
        with logging_restored(), CliRunner(env=variables).isolation(input=stdin) as (stdout, stderr, _):
            with pytest.raises(SystemExit) as ended:
                _COMMAND.main(arguments, prog_name="reconciler")
            sys.stdout.flush()
            sys.stderr.flush()
            result = Result(int(ended.value.code or 0), stdout.getvalue(), stderr.getvalue().decode())
        assert status in (None, result.exit_code), f"exit status {result.exit_code}: {result}"
        return result

    def json(self, *arguments: str, status: int = 0, stdin: bytes | str | None = None) -> Any:
        """What a command prints with --json: all of its standard output."""
        return json.loads(self.run(*arguments, "--json", status=status, stdin=stdin).stdout)

    def checks(self, status: int = 0) -> dict[str, Any]:
        """What `reconciler doctor` found, by the name of the check."""
        return {check["name"]: check for check in self.json("doctor", status=status)}

    def csv(self, *arguments: str, stdin: bytes | None = None) -> list[dict[str, str]]:
        """The rows that a command prints with --csv."""
        printed = self.run(*arguments, "--csv", stdin=stdin).stdout_bytes.decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(printed)))

    def answered(self, *arguments: str, answer: str, status: int) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own, at a terminal where a person gives this answer."""
        ours, theirs = pty.openpty()
        os.write(ours, f"{answer}\n".encode())
        ended = subprocess.run(
            [*PROGRAM, *arguments],
            env=environment(self.settings),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        os.close(ours)
        os.close(theirs)
        assert ended.returncode == status, ended.stderr
        return ended

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
