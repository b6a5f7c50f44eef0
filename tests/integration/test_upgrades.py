"""Databases of earlier revisions, with rows of every kind that the programs of that time wrote: migrated to today's
tables, used, and migrated back. tests/upgrades/README.md says how their rows were made.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import inspect

from tests.support.command_line import ACCOUNT, CommandLine
from tests.support.pages import pages_of
from tests.support.processes import environment, refusal_to_start
from tests.support.reconciling import Workbench, answer_to, item
from tests.support.scraping import Scraper
from tests.support.sql import column_of, execute, session
from worker.database.migrations import downgrade, upgrade
from worker.database.revisions import check_at_head, revisions
from worker.database.tables import ORDERS
from worker.domain.records.incoming import Report
from worker.domain.records.orders import IdKind, Order, OrderState
from worker.domain.records.queries import Query

FOLDER = Path(__file__).parents[1] / "upgrades"
REVISIONS = [file.stem.removeprefix("revision_") for file in sorted(FOLDER.glob("revision_*.sql"))]
NEVER_RUN = {"0002", "0003", "0010", "0012", "0025", "0026", "0027", "0028", "0029", "0030", "0032", "0033", "0034"}
"""The revisions on which, as they are now, no program of `main` ever ran."""
REWRITTEN = {
    ("recharge_orders", "lane"),
    ("settlement_notes", "id"),
    ("notifications", "rank"),
    ("notify_endpoints", "failed_in_row"),
    *(
        ("account_states", name)
        for name in ("shapes_seen", "charsets_seen", "fewest_digits_shown", "most_digits_shown")
    ),
}
"""What a revision changes on the way up or down, as its own text says: 0006, 0007, 0018, 0031."""

READINGS = ("status", "orders", "todo", "queries", "rejected", "unmatched", "acts", "report", "notifications")
FIRST_RELEASED = "0023"
"""The revision of 1.0.0, at which the way down ends."""

Rows = Mapping[str, list[dict[str, Any]]]


def test_each_earlier_revision_has_its_rows() -> None:
    assert [revision for revision in revisions()[:-1] if revision not in NEVER_RUN] == REVISIONS


def load(url: str, revision: str) -> None:
    """Insert the rows of a revision."""
    statements = (FOLDER / f"revision_{revision}.sql").read_text("utf-8").split(";\n")
    with session(url) as connection:
        kind = connection.dialect.name
        if kind == "postgresql":
            connection.exec_driver_sql("SET TIME ZONE 'UTC'")
        elif kind != "sqlite":
            connection.exec_driver_sql("SET SESSION sql_mode = concat(@@sql_mode, ',NO_BACKSLASH_ESCAPES')")
        for statement in filter(str.strip, statements):
            # The texts hold percent signs.
            connection.execution_options(no_parameters=True).exec_driver_sql(statement)
        if kind == "postgresql":
            _advance_sequences(connection)


def _advance_sequences(connection: sqlalchemy.Connection) -> None:
    for table in inspect(connection).get_table_names():
        sequence = f"pg_get_serial_sequence('{table}', 'id')"
        columns = inspect(connection).get_columns(table)
        if any(column["name"] == "id" and column.get("autoincrement") for column in columns):
            connection.exec_driver_sql(f"SELECT setval({sequence}, max(id)) FROM {table} HAVING max(id) > 0").close()


def rows_of_all(url: str) -> Rows:
    """Every row of every table but Alembic's, in no order."""
    with session(url) as connection:
        tables = sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})
        found = {table: connection.exec_driver_sql(f"SELECT * FROM {table}").mappings().all() for table in tables}
    return {table: sorted(map(dict, rows), key=repr) for table, rows in found.items()}


def without_archived(rows: Rows, before: Rows) -> Rows:
    """These rows but the archive, and what came out of it: `test_one_table_of_orders.py` has that."""
    archived = {row["id"] for row in before.get("archived_orders", ())}
    kept = {table: of_table for table, of_table in rows.items() if table != "archived_orders"}
    for table, name in (("recharge_orders", "id"), ("order_events", "order_id")):
        kept[table] = [row for row in rows[table] if row[name] not in archived]
    return kept


def common(rows: Rows, other: Rows) -> Rows:
    """What of the first both have columns for, but what a revision is to change."""
    kept: dict[str, list[dict[str, Any]]] = {}
    for table in rows.keys() & other.keys():
        columns = {name for row in other[table] for name in row} - {name for of, name in REWRITTEN if of == table}
        kept[table] = sorted(
            ({name: value for name, value in row.items() if name in columns} for row in rows[table]), key=repr
        )
    return kept


def final_orders(url: str) -> dict[int, tuple[Any, ...]]:
    """The orders with a final state, and what it is."""
    statement = "SELECT id, state, traffic_sts, ori_amount, settled_by, settled_at FROM recharge_orders"
    with session(url) as connection:
        rows = connection.exec_driver_sql(f"{statement} WHERE state IN ('succeeded', 'failed')").all()
    return {row[0]: tuple(row) for row in rows}


def at_the_time_of_the_rows(url: str) -> Workbench:
    """A worker for which it is ten minutes after the last change of an order."""
    bench = Workbench(url)
    newest = max(row["updated_at"] for row in bench.rows(ORDERS))
    bench.database.step = newest + timedelta(minutes=10) - bench.now()
    return bench.open()


def recharged(query: Query) -> list[Report]:
    """That all orders of a query were recharged."""
    if query.id_kind is IdKind.REQUEST_ID:
        return [item(name) for name in query.ids]
    return [item(custom_parm=name) for name in query.ids]


def work(url: str) -> list[Order]:
    """Poll orders as today's worker does, until none is due; returns those that are settled by it."""
    bench = at_the_time_of_the_rows(url)
    try:
        pending = {order.id for order in bench.orders() if order.state is OrderState.PENDING}
        for _ in range(20):
            # A slot waits, as its row came from another database, with another window.
            bench.let_slots_be_due()
            if (query := bench.grants.take(bench.slot)) is not None:
                bench.write_back.answered(query, answer_to(query, recharged(query)))
            bench.clock.advance(bench.rules.spacing_seconds)
        return [order for order in bench.orders() if order.id in pending and order.state is OrderState.SUCCEEDED]
    finally:
        bench.close()


def read(url: str) -> None:
    """All that shows the database: commands, the console, metrics."""
    cli = CommandLine({**ACCOUNT, "RECONCILER_DATABASE_URL": url})
    for command in READINGS:
        cli.json(command)
    for order_id in column_of(url, "SELECT id FROM recharge_orders"):
        assert cli.json("order", f"id:{order_id}")
    with pages_of(url) as pages:
        for path in ("/", "/orders", "/attention", "/queries", "/acts"):
            pages.text(path)
    with Scraper(url) as scraper:
        assert scraper.samples()


@pytest.mark.slow
@pytest.mark.databases("postgresql")
@pytest.mark.parametrize("revision", REVISIONS)
def test_a_database_of_an_earlier_revision_is_migrated_used_and_migrated_back(database_url: str, revision: str) -> None:
    migrate_use_and_return(database_url, revision)


@pytest.mark.slow
@pytest.mark.databases("sqlite", "mariadb")
@pytest.mark.parametrize("revision", REVISIONS[-2:])
def test_so_is_one_of_the_last_two_revisions_on_the_other_databases(database_url: str, revision: str) -> None:
    migrate_use_and_return(database_url, revision)


def migrate_use_and_return(url: str, revision: str) -> None:
    upgrade(url, revision)
    load(url, revision)
    before = rows_of_all(url)

    upgrade(url)
    check_at_head(url)
    after = without_archived(rows_of_all(url), before)
    assert common(after, before) == common(before, after)
    if leads_back := revision >= FIRST_RELEASED:
        downgrade(url, revision)
        back = without_archived(rows_of_all(url), before)
        assert common(back, before) == common(before, back)
        upgrade(url)

    finals = final_orders(url)
    assert work(url)
    assert final_orders(url).items() >= finals.items()
    read(url)

    if leads_back:
        finals = final_orders(url)
        downgrade(url, revision)
        assert final_orders(url) == finals


@pytest.mark.slow
@pytest.mark.databases("postgresql")
@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("9999", "the database is newer than this release, which does not know its revision 9999: install the release"),
        (REVISIONS[-1], f"the database is at revision {REVISIONS[-1]}, but this release needs "),
    ],
)
def test_a_worker_of_another_revision_stops_with_one_sentence_and_writes_nothing(
    database_url: str, tmp_path: Path, revision: str, said: str
) -> None:
    upgrade(database_url, REVISIONS[-1])
    load(database_url, REVISIONS[-1])
    execute(database_url, f"UPDATE alembic_version SET version_num = '{revision}'")
    before = rows_of_all(database_url)
    assert said in refusal_to_start(environment(database_url=database_url), tmp_path)
    assert rows_of_all(database_url) == before
