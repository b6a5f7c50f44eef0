"""Examples and SQL of README and docs/ run as printed, in both languages. Readers miss no change that commits late."""

import base64
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

import worker
from tests.support.command_line import PROGRAM
from tests.support.commits import HeldDatabase
from tests.support.installation import install_commands
from tests.support.processes import Program
from tests.support.reconciling import Workbench
from tests.support.server_process import free_port
from tests.support.servers import EmbeddedValkey
from tests.support.sql import session
from worker.domain.orders import operator_acts
from worker.domain.orders.check_fields import read_order
from worker.domain.records.incoming import Submission
from worker.domain.records.operators import ActKind
from worker.operations.act_by_hand import Operator, act_on_orders
from worker.operations.cancel_and_check import cancel

ROOT = Path(worker.__file__).parents[1]
README, WALKTHROUGH, DEPLOYMENT, INTEGRATION = (
    (ROOT / name).read_text("utf-8")
    for name in ("README.md", "docs/walkthrough.md", "docs/deployment.md", "docs/integration.md")
)
DOCUMENTS = [path.read_text("utf-8") for path in (*ROOT.glob("README*.md"), *sorted((ROOT / "docs").rglob("*.md")))]
KINDS = {"postgresql": "PostgreSQL", "mysql": "MariaDB", "mariadb": "MariaDB", "sqlite": "SQLite"}
NAIVE = "-- neither\nSELECT max(updated_at) AS upto FROM recharge_orders WHERE state <> 'pending'"


@dataclass(frozen=True)
class Block:
    """One ```sql block: its first line names the databases that it is for."""

    text: str

    @property
    def databases(self) -> list[str]:
        first_line = self.text.splitlines()[0].removeprefix("-- ")
        return [name.strip() for name in first_line.removesuffix(", strict").split(",")]

    @property
    def statements(self) -> list[str]:
        without_comment = self.text.split("\n", 1)[1]
        return [one.strip() for one in without_comment.split(";") if one.strip()]


def blocks(language: str, text: str) -> list[str]:
    """The contents of a document's fenced blocks in one language, from the top."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


BLOCKS = [Block(text) for document in DOCUMENTS for text in blocks("sql", document)]
FOLLOWING = {block.text.splitlines()[0]: block for block in BLOCKS if ":since" in block.text}


@dataclass
class Reader:
    """A billing system that follows the changes by a block of docs/reading-states.md, with autocommit."""

    connection: sqlalchemy.Connection
    block: Block
    since: Any
    seen: list[str] = field(default_factory=list)

    def poll(self) -> list[str]:
        """The orders that this read returns."""
        bound, rows = self.block.statements
        upto = self.connection.execute(sqlalchemy.text(bound)).scalar_one()
        found = self.connection.execute(sqlalchemy.text(rows), {"since": self.since, "upto": upto}).mappings()
        names = [row["request_id"] for row in found]
        self.since = upto
        self.seen.extend(names)
        return names


@pytest.fixture
def reader_of(migrated_database_url: str) -> Iterator[Callable[[Block], Reader]]:
    with session(migrated_database_url) as connection:
        since: Any = datetime(2000, 1, 1, tzinfo=UTC)
        if connection.dialect.name != "postgresql":
            since = since.replace(tzinfo=None)
        yield lambda block: Reader(connection, block, since)


def commit_late(bench: Workbench, reader: Reader) -> None:
    """Change `late` in a transaction that commits only after `early`, changed later, was read."""
    bench.add("late", "early")

    def change_the_other() -> None:
        bench.intake.cancel_orders([{"request_id": "early"}])
        assert "late" not in reader.poll()

    with contextlib.closing(HeldDatabase(bench.url, change_the_other)) as held:
        cancel(held, bench.app_ids, [{"request_id": "late"}], "test")
    reader.poll()


def test_every_block_names_databases_that_are_supported() -> None:
    assert len(BLOCKS) >= 10
    assert {name for block in BLOCKS for name in block.databases} == set(KINDS.values())


def fill(bench: Workbench) -> None:
    """Something for every statement to show."""
    bench.add("2015010000000107")
    bench.intake.cancel_orders([{"request_id": "2015010000000107"}])
    bench.add("polled")
    bench.take()
    bench.add("2016010000000219", "2016010000000220", "due")
    bench.intake.enqueue_orders([{"request_id": "2016010000000221", "mobile": "none"}])
    kept = {"requestId": "too-early", "trafficSts": "0"}
    bench.intake.record_callbacks([{"requestId": "2016010000000220", "trafficSts": "9"}, kept])
    ids = [bench.order("2016010000000219").id]
    for _ in act_on_orders(bench.database, Operator(name="ann"), ActKind.CANCEL, ids, operator_acts.cancel):
        pass


def test_the_sql_runs_as_printed_and_shows_what_the_text_says(bench: Workbench) -> None:
    fill(bench)
    kind = KINDS[bench.database.kind]
    values: dict[str, Any] = {"since": datetime(2000, 1, 1, tzinfo=UTC), "upto": datetime(2100, 1, 1, tzinfo=UTC)}
    if kind != "PostgreSQL":
        values = {name: value.replace(tzinfo=None) for name, value in values.items()}
    for statement in (one for block in BLOCKS if kind in block.databases for one in block.statements):
        used = {name: value for name, value in values.items() if f":{name}" in statement}
        with bench.database.write() as connection:
            result = connection.execute(sqlalchemy.text(statement), used)
            assert result.all() if result.returns_rows else result.rowcount == 1, statement


@pytest.mark.databases("postgresql", "mariadb")
def test_a_cursor_with_an_overlap_misses_no_late_commit(bench: Workbench, reader_of: Callable[[Block], Reader]) -> None:
    reader = reader_of(FOLLOWING[f"-- {KINDS[bench.database.kind]}"])
    commit_late(bench, reader)
    assert set(reader.seen) == {"late", "early"}


@pytest.mark.databases("postgresql")
def test_a_strict_cursor_misses_no_late_commit_and_reads_nothing_twice(
    bench: Workbench, reader_of: Callable[[Block], Reader]
) -> None:
    reader = reader_of(FOLLOWING["-- PostgreSQL, strict"])
    commit_late(bench, reader)
    assert sorted(reader.seen) == ["early", "late"]
    assert reader.poll() == []


@pytest.mark.databases("postgresql")
def test_a_strict_cursor_without_the_right_to_read_sessions_reads_nothing(
    bench: Workbench, reader_of: Callable[[Block], Reader]
) -> None:
    bench.add("1")
    bound = FOLLOWING["-- PostgreSQL, strict"].statements[0]
    with bench.database.write() as connection:
        # A role that every server has, and that may do less than the test's own.
        connection.exec_driver_sql("SET LOCAL ROLE pg_signal_backend")
        assert connection.exec_driver_sql(bound).all() == []


@pytest.mark.databases("postgresql", "mariadb")
def test_a_cursor_at_the_greatest_time_seen_would_miss_it(
    bench: Workbench, reader_of: Callable[[Block], Reader]
) -> None:
    rows = "SELECT request_id FROM recharge_orders WHERE state <> 'pending' AND updated_at > :since AND :upto = :upto"
    reader = reader_of(Block(f"{NAIVE};\n{rows}"))
    commit_late(bench, reader)
    assert reader.seen == ["early"]


def with_own_servers(text: str, **places: str) -> str:
    """A document's text with this test's own servers in place of the printed ones."""
    for printed, own in places.items():
        assert printed in text
        text = text.replace(printed, own)
    return text


def programs(folder: Path) -> Path:
    """A folder with `reconciler` and `python`, as `make setup` makes one, whether or not these are installed."""
    folder.mkdir()
    for name, command in (("reconciler", PROGRAM), ("python", [sys.executable])):
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


# Nine programs start, one after the other.
@pytest.mark.slow
def test_the_walk_ends_with_the_orders_final_state(own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    walk = WALKTHROUGH.split("<!-- walk: begin")[1].split("<!-- walk: end -->")[0]
    steps = blocks("sh", walk)
    places = {"redis://127.0.0.1:6379/0": own_valkey.url, "8100": str(free_port())}
    script = with_own_servers("".join(steps), **places)
    path = f"{programs(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(Path(worker.__file__).parents[1])}
    with Program("bash", "-euc", f"{script}wait", env=env, log=Path("walk.log").absolute()) as walk_through:
        walk_through.wait(seconds=500)
        told = walk_through.output
    assert "Nothing is fatal" in told, told
    assert re.search(r"^state +succeeded *$", told, re.MULTILINE), told
    assert re.search(r"^settled by +query *$", told, re.MULTILINE), told


@pytest.mark.slow
# The Chinese pages have the same code: tests/unit/test_documents_in_chinese.py.
@pytest.mark.parametrize("document", ["README.md", "docs/integration.md"])
def test_the_order_of_the_example_is_accepted_and_young(document: str, own_valkey: EmbeddedValkey) -> None:
    example = blocks("python", (ROOT / document).read_text("utf-8"))[0]
    script = with_own_servers(example, **{"redis://redis.example.internal:6379/0": own_valkey.url})
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    with own_valkey.client() as client:
        (message,) = client.lrange("reconciler.orders", 0, -1)
    (orders,), _, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
    now = datetime.now(UTC)
    read = [read_order(order, ["default"], now) for order in orders]
    assert all(isinstance(one, Submission) and now - one.submitted_at < timedelta(hours=1) for one in read)


def test_the_document_names_what_a_caller_installs() -> None:
    assert 'pip install "celery[redis]"' in INTEGRATION.split("## Enqueue orders")[1].split("```")[0]


def test_the_deployment_says_where_its_programs_and_its_env_are() -> None:
    step = DEPLOYMENT.split("## 5. Migrate and run")[1].split("##")[0]
    assert "cd /etc/reconciler" in step
    assert 'PATH="/opt/reconciler/bin:$PATH"' in step
    assert "/etc/reconciler/.env" in DEPLOYMENT.split("## 4. Settings")[1].split("##")[0]


def test_the_readme_installs_by_the_commands_of_the_deployment_page() -> None:
    (short,) = blocks("sh", README.split("## A deployment in ten lines")[1].split("## ")[0])
    assert len(short.splitlines()) == 10
    documented = [line for line in install_commands().splitlines() if not line.startswith("#")]
    assert short.splitlines()[: len(documented)] == documented
