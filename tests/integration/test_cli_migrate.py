"""`reconciler migrate`, and what the other commands print of a database that cannot be used."""

import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.command_line import ACCOUNT, PROGRAM, CommandLine, environment
from tests.support.reconciling import Workbench
from tests.support.server_process import free_port
from worker.database.revisions import check_at_head
from worker.domain.records.accounts import Pause

READERS = (("orders",), ("order", "1"), ("check", "1"), ("status",), ("run",), ("enqueue", "orders.csv"))
FAR_AHEAD = datetime(2100, 1, 31, 12, tzinfo=UTC)


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


def test_migrate_goes_down_and_up_to_a_revision(migrated_database_url: str) -> None:
    cli = on(migrated_database_url)
    head = cli.json("migrate")["to"]
    down = cli.run("migrate", "--to", "0023", "--yes")
    assert down.stdout.endswith(f": from {head} to revision 0023.\n")
    assert down.stderr == f"This release's worker needs revision {head}, and does not start on this one.\n"
    up = cli.json("migrate", "--to", "0024")
    assert (up["from"], up["to"]) == ("0023", "0024")
    assert cli.json("migrate")["to"] == head
    check_at_head(migrated_database_url)


def test_a_way_down_needs_a_yes(migrated_database_url: str) -> None:
    message = on(migrated_database_url).error("migrate", "--to", "0023", status=2)
    assert message == "a question needs a terminal: stop all workers, then add --yes"
    check_at_head(migrated_database_url)


def plan_pause(bench: Workbench, nights: int = 1) -> None:
    begins = [FAR_AHEAD + timedelta(days=night) for night in range(nights)]
    ends = timedelta(hours=6)
    bench.put_pauses(*(Pause(paused_at=one, paused_until=one + ends, is_planned=True) for one in begins))


def plan_two_nights(bench: Workbench) -> None:
    plan_pause(bench, 2)


def pause_twice(bench: Workbench) -> None:
    bench.put_pauses(Pause(paused_at=bench.now()), Pause(paused_at=bench.now(), paused_until=FAR_AHEAD))


def purge(bench: Workbench) -> None:
    bench.run("DELETE FROM deployment")
    bench.run("INSERT INTO deployment (id, orders_deleted_before) VALUES ('1', '2016-01-31 12:00:00')")


@pytest.mark.parametrize(
    ("prepare", "target", "said"),
    [
        (plan_pause, "0023", "the way down to 0023 would lose of account_pauses the planned pauses"),
        (plan_two_nights, "0031", "the way down to 0031 would lose of account_pauses all but one pause or plan"),
        (pause_twice, "0031", "the way down to 0031 would lose of account_pauses all but one pause or plan"),
        (purge, "0031", "the way down to 0031 would lose of deployment the time before which orders were deleted"),
        (lambda _: None, "0022", "no release needs revision 0022: the way down ends at 0023"),
        (
            lambda _: None,
            "base",
            "the way down to base would lose of recharge_orders all that it holds: to begin again",
        ),
    ],
)
def test_a_way_down_that_would_lose_something_is_refused_in_one_line(
    bench: Workbench, prepare: Callable[[Workbench], None], target: str, said: str
) -> None:
    bench.add("1")
    prepare(bench)
    cli = on(bench.url)
    bench.close()
    assert said in cli.error("migrate", "--to", target, "--yes")
    # MariaDB keeps the steps that were taken before the refusal: the same command leads up again.
    cli.run("migrate")
    assert len(cli.json("orders")) >= 1


def test_a_way_down_in_two_steps_loses_as_little_as_one_in_one_step(bench: Workbench) -> None:
    bench.add("1")
    plan_pause(bench)
    kept = bench.state().pauses
    cli = on(bench.url)
    bench.close()
    cli.run("migrate", "--to", "0031", "--yes")
    said = "the way down to 0023 would lose of account_states the planned pauses"
    assert said in cli.error("migrate", "--to", "0023", "--yes")
    cli.run("migrate")
    with closing(Workbench(bench.url)) as again:
        (back,) = again.state().pauses
    assert (replace(back, act_key=""),) == kept


@pytest.mark.databases("sqlite")
def test_an_empty_database_may_go_all_the_way_down(migrated_database_url: str) -> None:
    cli = on(migrated_database_url)
    assert cli.run("migrate", "--to", "base", "--yes").stdout.endswith(" to revision base.\n")
    assert cli.json("migrate", "--to", "base")["to"] is None


@pytest.mark.parametrize("revision", ["0099", "nonsense", "-1", "00"])
@pytest.mark.databases("sqlite")
def test_a_revision_that_does_not_exist_is_refused(migrated_database_url: str, revision: str) -> None:
    message = on(migrated_database_url).error("migrate", f"--to={revision}")
    assert message.startswith(f"there is no revision {revision!r}; this release knows 0001 to ")


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


def test_in_a_folder_without_env_the_error_says_that_the_default_database_was_meant() -> None:
    nowhere = CommandLine()
    hint = f"the default database, as there is no .env in {Path.cwd()} and RECONCILER_DATABASE_URL is not set"
    for _ in ("missing", "empty"):
        message = nowhere.error("orders")
        assert "run `reconciler migrate`" in message
        assert message.count(hint) == 1
        assert hint in nowhere.run("status", "--check", status=3).stdout
        Path("reconciler.db").touch()
    Path(".env").write_text("RECONCILER_BATCH_SIZE=10\n", "utf-8")
    assert "default database" not in nowhere.error("orders")
    Path(".env").unlink()
    assert "default database" not in on("sqlite:///reconciler.db").error("orders")


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
