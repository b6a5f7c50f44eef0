"""How commands end: with one line on standard error, and the right status."""

import re
import subprocess

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from tests.support.command_line import PROGRAM, CommandLine, environment
from tests.support.installation import STATED
from worker.cli.app import CommandError, Commands, OneLineGroup, app
from worker.database.revisions import NotAtHead
from worker.domain.records.sentences import Sentence
from worker.settings import SettingsError

LISTED = """
migrate run serve callback-url user enqueue orders order check poll resolve reopen cancel dismiss pause
resume hold acts notifications resend notify-test todo queries query rejected unmatched archive
purge limit explain status health doctor report compare platform demo
"""
COMMANDS = LISTED.split()
BELOW = [
    *(f"user {name}" for name in ("add", "list", "password", "role", "remove")),
    *(f"notifications {name}" for name in ("pause", "resume", "forget")),
]


def raising(error: BaseException) -> typer.Typer:
    made = typer.Typer(cls=OneLineGroup)

    def fail() -> None:
        raise error

    made.command()(fail)
    # A second command makes it a group.
    made.command()(reconciler)
    return made


def reconciler() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (CommandError("no such thing: make one"), 1, "Error: no such thing: make one\n"),
        (CommandError("used\nwrongly", status=2), 2, "Error: used wrongly\n"),
        (NotAtHead("run `reconciler migrate`"), 1, "Error: run `reconciler migrate`\n"),
        (SettingsError((Sentence("A is wrong"), Sentence("B is wrong"))), 1, "Error: A is wrong\nError: B is wrong\n"),
        (typer.BadParameter("no"), 2, "Error: Invalid value: no; see: reconciler fail --help\n"),
        (typer.Exit(3), 3, ""),
        (KeyboardInterrupt(), 130, ""),
        (
            ZeroDivisionError("by\nzero"),
            1,
            "Error: this should not happen (ZeroDivisionError: by); please report it\n",
        ),
    ],
)
def test_whatever_a_command_raises_is_printed_without_a_traceback(error: BaseException, status: int, said: str) -> None:
    result = CliRunner().invoke(raising(error), ["fail"], prog_name="reconciler")
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", said)


def test_a_command_that_ends_well_has_status_zero() -> None:
    assert CliRunner().invoke(raising(ValueError()), ["reconciler"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("enqeue",), "No such command 'enqeue'. Did you mean 'enqueue'"),
        (("orders", "--stat", "pending"), "No such option: --stat"),
        (("orders", "--state", "lost"), "Invalid value for '--state': 'lost' is not one of 'pending'"),
        (("enqueue", "--format", "xls", "-"), "Invalid value for '--format': 'xls' is not one of 'csv'"),
        (("orders", "--attention", "lost"), "'lost' is not one of: any, late_conflict"),
        (("orders", "--limit", "0"), "--limit"),
        (("orders", "--summary", "--after", "1"), "leave --after out"),
        (("order",), "Missing argument 'REF'"),
        (("enqueue", "nowhere.csv"), "there is no file nowhere.csv"),
        (("enqueue", "-"), "give --format csv or --format jsonl"),
        (("demo", "--nope"), "No such option: --nope; see: reconciler demo --help"),
    ],
)
def test_a_command_that_is_used_wrongly_says_so_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    assert said in CommandLine().error(*arguments, status=2)


@pytest.mark.parametrize("command", [*COMMANDS, *BELOW])
def test_every_command_has_help_with_examples(command: str) -> None:
    shown = CommandLine().run(*command.split(), "--help").stdout
    assert f"reconciler {command}" in shown.partition("Examples:")[2]


def test_without_a_command_the_help_is_shown() -> None:
    result = CommandLine().run(status=2)
    shown = result.stdout + result.stderr
    assert [command for command in COMMANDS if f"│ {command} " not in shown] == []


def test_every_command_is_tested_for_its_help() -> None:
    made = get_command(app)
    assert isinstance(made, Commands)
    assert set(made.commands) == set(COMMANDS)


def test_the_version_is_printed() -> None:
    assert re.fullmatch(rf"reconciler {re.escape(STATED)}\d*\n", CommandLine().run("--version").stdout)


def test_help_is_quick_because_nothing_heavy_is_loaded_for_it() -> None:
    heavy = ("sqlalchemy", "celery", "kombu", "pydantic", "requests", "alembic", "flask", "gunicorn")
    list_loaded = f"import sys; import worker.cli.app; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([*PROGRAM[:-1], list_loaded], env=environment({}), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "[]\n")


@pytest.mark.parametrize("module", ["worker.process.worker_signals", "worker.cli.session"])
def test_neither_a_worker_nor_a_command_that_reads_loads_what_only_migrations_need(module: str) -> None:
    heavy = ("alembic", "mako", "sqlalchemy.orm")
    list_loaded = f"import sys; import {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([*PROGRAM[:-1], list_loaded], env=environment({}), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "[]\n")


def test_beat_loads_neither_tasks_nor_what_they_need() -> None:
    heavy = ("worker.tasks", "sqlalchemy", "psycopg", "requests")
    start = "import sys; from worker import app; app.Beat().init_loader()"
    list_loaded = f"{start}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([*PROGRAM[:-1], list_loaded], env=environment({}), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_a_reader_that_closes_the_pipe_early_is_no_error() -> None:
    command = subprocess.list2cmdline([*PROGRAM, "platform", "--help"])
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -1"], env=environment({}), capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
