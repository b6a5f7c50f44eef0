"""`reconciler limit` on every database: how longer windows are lowered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.processes import environment, refusal_to_start
from tests.support.reconciling import SID, Workbench
from tests.support.servers import EmbeddedValkey
from worker.adapters.clock import HostClock
from worker.database.tables import BUDGETS
from worker.domain.records.accounts import Rules
from worker.operations.maintain_slots import SlotMaintenance

LONG = Rules(grace_seconds=1.0, window_seconds=120.0, slots=2)


@pytest.fixture
def bench(migrated_database_url: str) -> Iterator[Workbench]:
    """A worker of this very host, with a window of 120 s, that has begun two slots."""
    workbench = Workbench(migrated_database_url, LONG)
    workbench.maintenance = SlotMaintenance(workbench.database, HostClock(), LONG)
    workbench.maintenance.prepare(workbench.slots)
    yield workbench
    workbench.close()


def test_a_worker_with_a_shorter_window_does_not_start(
    bench: Workbench, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    given = environment(database_url=bench.url, broker_url=own_valkey.url, account_sid=SID)
    said = refusal_to_start(given, tmp_path)
    assert "a worker with a window of 120 s" in said
    assert "reconciler limit --window 60" in said


def test_a_longer_window_is_lowered_in_all_slots_and_begins_with_its_own_reservation(
    cli: CommandLine, bench: Workbench
) -> None:
    bench.run("UPDATE query_budgets SET boot_due_us = 0, wait_us = 0, due_at = '2026-01-01 00:00:00'")
    printed = cli.json("limit", "--window", "60")
    assert [(one["slot"], one["from_seconds"], one["to_seconds"]) for one in printed["lowered"]] == [
        (0, 120, 60),
        (1, 120, 60),
    ]
    clock = HostClock()
    for row in bench.rows(BUDGETS):
        assert row["window_us"] == 60_000_000
        assert (row["due_at"] - bench.now()).total_seconds() == pytest.approx(150.5, abs=30)
        assert row["boot_due_us"] / 1e6 - clock.boot() == pytest.approx(150.5, abs=30)
    assert "nothing to lower" in cli.run("limit", "--window", "60").stdout


def test_a_window_that_workers_here_would_raise_again_is_warned_of(cli: CommandLine, bench: Workbench) -> None:
    here = CommandLine({**cli.settings, "RECONCILER_QUERY_WINDOW_SECONDS": "120"})
    result = here.run("limit", "--window", "60")
    assert "RECONCILER_QUERY_WINDOW_SECONDS is 120 here, and a worker with it raises the window again" in result.stderr
    assert [row["window_us"] for row in bench.rows(BUDGETS)] == [60_000_000] * 2


@pytest.mark.parametrize("window", ["0", "-1", "nan", "inf", "junk", "59.9"])
def test_a_window_that_the_settings_would_refuse_is_refused(cli: CommandLine, bench: Workbench, window: str) -> None:
    before = bench.rows(BUDGETS)
    assert "--window" in cli.error("limit", "--window", window, status=2)
    assert bench.rows(BUDGETS) == before


def test_on_loopback_a_window_may_be_short(cli: CommandLine, bench: Workbench) -> None:
    settings = {"RECONCILER_PLATFORM_URL": "http://127.0.0.1:9", "RECONCILER_QUERY_WINDOW_SECONDS": "2"}
    CommandLine({**cli.settings, **settings}).run("limit", "--window", "2")
    assert [row["window_us"] for row in bench.rows(BUDGETS)] == [2_000_000] * 2


def test_doctor_calls_a_longer_window_fatal_and_says_how_to_lower_it(cli: CommandLine, bench: Workbench) -> None:
    checks = cli.checks(status=1)
    assert checks["query_window"]["status"] == "fatal"
    assert checks["query_window"]["detail"] == (
        "RECONCILER_QUERY_WINDOW_SECONDS is 60, but a worker with a window of 120 s has sent queries for default"
        " on this database, so this worker would send none"
    )
    assert checks["query_window"]["remedy"].endswith("lower it with `reconciler limit --window 60`")

    bench.run("UPDATE query_budgets SET window_us = 60000000 WHERE slot = 0")
    # The second slot is not in use here.
    checks = cli.checks()
    assert (checks["query_window"]["status"], checks["query_window"]["detail"]) == ("ok", "60 s")
