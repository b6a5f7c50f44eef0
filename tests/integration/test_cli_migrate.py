"""`reconciler migrate`, and what the other commands print of a database that cannot be used."""

import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import ACCOUNT, PROGRAM, CommandLine, environment
from tests.support.server_process import free_port

READERS = (("orders",), ("order", "1"), ("check", "1"), ("status",), ("run",), ("enqueue", "orders.csv"))


def on(url: str) -> CommandLine:
    return CommandLine({**ACCOUNT, "RECONCILER_DATABASE_URL": url})


def test_migrate_reports_both_revisions_as_json(database_url: str) -> None:
    first, second = on(database_url).json("migrate"), on(database_url).json("migrate")
    assert first["from"] is None
    assert first["to"] == second["from"] == second["to"]
    assert "***" in first["database"] or "@" not in first["database"] or ":@" not in first["database"]
    assert on(database_url).run("migrate").stdout.endswith(f"is at revision {first['to']} already.\n")
    assert on(database_url).json("orders") == []


def test_migrate_prints_both_revisions_in_words(database_url: str) -> None:
    assert ": from an empty database to revision " in on(database_url).run("migrate").stdout


@pytest.mark.parametrize("command", READERS)
@pytest.mark.databases("postgresql")
def test_on_a_database_that_is_not_migrated_every_command_says_so(database_url: str, command: tuple[str, ...]) -> None:
    Path("orders.csv").write_text("request_id\n1\n", "utf-8")
    assert "run `reconciler migrate`" in on(database_url).error(*command)


@pytest.mark.parametrize("command", READERS)
def test_a_database_file_that_is_missing_is_not_made(command: tuple[str, ...]) -> None:
    Path("orders.csv").write_text("request_id\n1\n", "utf-8")
    message = on("sqlite:///away.db").error(*command)
    assert message == "there is no database at away.db (sqlite:///away.db) yet: run `reconciler migrate`"
    assert not Path("away.db").exists()


@pytest.mark.parametrize("kind", ["postgresql+psycopg", "mysql+pymysql"])
@pytest.mark.parametrize("command", [("migrate",), ("orders",), ("enqueue", "orders.csv")])
def test_a_database_that_is_away_is_reported_in_a_line_without_its_password(
    kind: str, command: tuple[str, ...]
) -> None:
    Path("orders.csv").write_text("request_id\n1\n", "utf-8")
    message = on(f"{kind}://app:geheimnis@127.0.0.1:{free_port()}/orders").error(*command)
    assert message.startswith("the database is away (")
    assert message.endswith("see that it runs, and that RECONCILER_DATABASE_URL is right")
    assert "geheimnis" not in message


def test_settings_that_are_wrong_are_reported_a_line_each() -> None:
    cli = CommandLine({"RECONCILER_TICK_SECONDS": "x", "RECONCILER_BATCH_SIZE": "0"})
    lines = cli.run("orders", status=1).stderr.splitlines()
    assert [line.split()[1] for line in lines] == ["RECONCILER_BATCH_SIZE", "RECONCILER_TICK_SECONDS"]


@pytest.mark.databases("sqlite")
def test_a_misspelt_setting_is_a_warning_and_standard_output_stays_clean(migrated_database_url: str) -> None:
    cli = on(migrated_database_url)
    cli = CommandLine({**cli.settings, "RECONCILER_BATCHSIZE": "5"})
    result = cli.run("orders", "--json")
    assert result.stdout == "[]\n"
    assert result.stderr.startswith("Warning: RECONCILER_BATCHSIZE is set, but there is no such setting")


@pytest.mark.slow
@pytest.mark.databases("sqlite")
def test_the_console_script_does_what_the_app_does(migrated_database_url: str) -> None:
    settings = {**ACCOUNT, "RECONCILER_DATABASE_URL": migrated_database_url}
    done = subprocess.run(
        [*PROGRAM, "orders", "--json"], env=environment(settings), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
