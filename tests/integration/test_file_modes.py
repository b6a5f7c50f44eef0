"""The files of the project are private to their owner, whatever the umask allows."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command_line import ACCOUNT, CommandLine
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator


@pytest.fixture(autouse=True)
def _careless_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in folder.iterdir()}


def test_the_database_its_journals_and_the_refused_lines_are_private(tmp_path: Path) -> None:
    cli = CommandLine({**ACCOUNT, "RECONCILER_DATABASE_URL": f"sqlite:///{tmp_path}/orders.db"})
    (tmp_path / "orders.csv").write_text("request_id,mobile\nr1,18812340804\nr2,no number\n")
    (tmp_path / "orders.csv").chmod(0o644)
    cli.run("migrate")
    # SQLite's own files stay as long as a session reads.
    with closing(sqlite3.connect(tmp_path / "orders.db")) as reader:
        reader.execute("SELECT count(*) FROM recharge_orders").fetchone()
        cli.run("enqueue", "orders.csv", status=1)
        found = modes(tmp_path)
    assert found.pop("orders.csv") == "0o644"
    assert set(found.values()) == {"0o600"}
    assert {"orders.db", "orders.db-wal", "orders.db-shm", "orders.csv.rejected.jsonl"} == set(found)


def test_an_existing_database_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "orders.db"
    file.touch(0o640)
    file.chmod(0o640)
    CommandLine({**ACCOUNT, "RECONCILER_DATABASE_URL": f"sqlite:///{file}"}).run("migrate")
    assert modes(tmp_path)["orders.db"] == "0o640"


def test_a_command_makes_no_database_where_none_is(tmp_path: Path) -> None:
    cli = CommandLine({**ACCOUNT, "RECONCILER_DATABASE_URL": f"sqlite:///{tmp_path}/none.db"})
    cli.error("orders")
    assert modes(tmp_path) == {}


def test_the_record_of_a_simulated_platform_is_private(tmp_path: Path) -> None:
    account = Account(sid="sid", auth_token="0123456789abcdef", app_id="app")
    with Simulator(SimulatorConfig(accounts=(account,), record_path=tmp_path / "record.jsonl")):
        assert modes(tmp_path) == {"record.jsonl": "0o600"}
