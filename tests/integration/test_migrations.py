"""The migrations themselves: up, down, guarded, and no difference from the tables of the code."""

import re
import subprocess
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from tests.support.databases import DatabaseServer
from tests.support.sql import column_of, execute, insert_rows, pairs_of, rows_of, statements_of
from worker.database.migrations import downgrade, migration_session, upgrade
from worker.database.revisions import MigrationError, NotAtHead, check_at_head, revisions, script_location
from worker.database.tables import METADATA
from worker.domain.records.accounts import AccountState
from worker.stores.accounts import STATE_FIELDS

ROOT = Path(__file__).parents[2]

AT = "2026-01-31 12:00:00"

UPGRADE_ON_SIGNAL = """
import sys
from worker.database.migrations import upgrade
print("ready", flush=True)
sys.stdin.readline()
upgrade(sys.argv[1])
"""


def engine_of(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


def our_tables(url: str) -> set[str]:
    return set(inspect(engine_of(url)).get_table_names()) - {"alembic_version"}


def plain(index: Any) -> dict[str, Any]:
    """An index as values that compare: its conditions are objects otherwise."""
    return {**index, "dialect_options": {name: str(value) for name, value in index.get("dialect_options", {}).items()}}


def structure(url: str) -> dict[str, Any]:
    """The structure of the project's tables, as the database reports it."""
    # One connection for all of it: the engine makes a new one for each question.
    with engine_of(url).connect() as connection:
        inspector = inspect(connection)
        return {
            table: {
                "columns": [{**column, "type": str(column["type"])} for column in inspector.get_columns(table)],
                "primary key": inspector.get_pk_constraint(table),
                "unique": sorted(inspector.get_unique_constraints(table), key=lambda found: str(found["name"])),
                "checks": sorted(inspector.get_check_constraints(table), key=lambda found: str(found["name"])),
                "indexes": sorted(
                    (plain(index) for index in inspector.get_indexes(table)), key=lambda found: found["name"]
                ),
                "options": inspector.get_table_options(table),
            }
            for table in sorted(set(inspector.get_table_names()) - {"alembic_version"})
        }


def test_up_down_and_up_again(database_url: str) -> None:
    for _ in range(2):
        with pytest.raises(NotAtHead, match=r"has not been migrated yet: run `reconciler migrate`"):
            check_at_head(database_url)
        upgrade(database_url)
        assert our_tables(database_url) == set(METADATA.tables)
        check_at_head(database_url)

        downgrade(database_url, "base")
        assert our_tables(database_url) == set()
    with pytest.raises(NotAtHead, match=r"has not been migrated yet: run `reconciler migrate`"):
        check_at_head(database_url)


def test_migrated_tables_do_not_differ_from_those_of_the_code(migrated_database_url: str) -> None:
    with engine_of(migrated_database_url).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": METADATA}
        )
        assert compare_metadata(context, METADATA) == []


def test_migrated_tables_equal_those_that_the_code_would_create(database_server: DatabaseServer) -> None:
    # Alembic compares neither check constraints, nor the conditions of indexes, nor collations.
    with database_server.empty() as migrated, database_server.empty() as made:
        upgrade(migrated)
        METADATA.create_all(engine_of(made))
        assert structure(migrated) == structure(made)


def test_every_constraint_has_a_name(migrated_database_url: str) -> None:
    on_sqlite = migrated_database_url.startswith("sqlite")
    for table, found in structure(migrated_database_url).items():
        # SQLAlchemy names no key whose ids SQLite never gives again; MariaDB calls every primary key PRIMARY.
        is_nameless = METADATA.tables[table].dialect_options["sqlite"]["autoincrement"] and on_sqlite
        if not migrated_database_url.startswith("mysql"):
            assert found["primary key"]["name"] == (None if is_nameless else f"pk_{table}")
        for kind, prefix in (("unique", "uq"), ("checks", "ck"), ("indexes", "ix")):
            for constraint in found[kind]:
                if not constraint.get("duplicates_constraint") and not constraint.get("unique", False):
                    assert str(constraint["name"]).startswith(f"{prefix}_{table}_"), constraint


def test_upgrading_what_is_at_head_changes_nothing(migrated_database_url: str) -> None:
    before = structure(migrated_database_url)
    upgrade(migrated_database_url)
    assert structure(migrated_database_url) == before


@pytest.mark.slow
def test_two_upgrades_at_once_are_harmless(database_url: str) -> None:
    # One waits 60 s for the other: a part of the way is enough.
    upgrade(database_url, revisions()[-5])
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE_ON_SIGNAL, database_url],
            env={"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    errors = []
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    for program in programs:
        errors.append(program.communicate()[1])
    assert [program.returncode for program in programs] == [0, 0], errors
    check_at_head(database_url)


@pytest.mark.databases("postgresql", "mariadb")
def test_a_migration_waits_for_another_one_and_gives_up(database_url: str) -> None:
    with (
        migration_session(database_url),
        pytest.raises(MigrationError, match="another migration is under way"),
        migration_session(database_url, patience_seconds=0.2),
    ):
        pass
    # A server needs a moment to see that the first connection has ended.
    with migration_session(database_url):
        pass


@pytest.mark.databases("sqlite")
def test_on_sqlite_a_migration_waits_for_another_one_by_the_files_lock(database_url: str) -> None:
    with migration_session(database_url) as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 60_000
        with (
            pytest.raises(MigrationError, match="in use by another session"),
            migration_session(database_url, patience_seconds=0.2),
        ):
            pass


@pytest.mark.databases("postgresql", "mariadb")
def test_migrations_of_two_databases_of_one_server_do_not_wait_for_each_other(database_server: DatabaseServer) -> None:
    with (
        database_server.empty() as one,
        database_server.empty() as other,
        migration_session(one),
        migration_session(other, patience_seconds=0),
    ):
        pass


def change_orders(url: str, *settings: str) -> None:
    with migration_session(url) as connection:
        for setting in settings:
            connection.execute(text(setting))
        connection.execute(text("ALTER TABLE recharge_orders ADD COLUMN more INTEGER"))


LOCK_TIMEOUTS = {
    "postgresql": ("SHOW lock_timeout", "SET lock_timeout = '50ms'"),
    "mariadb": ("SELECT @@lock_wait_timeout", "SET SESSION lock_wait_timeout = 1"),
}


@pytest.mark.databases("postgresql", "mariadb")
def test_a_migration_waits_only_briefly_for_a_table_in_use(migrated_database_url: str) -> None:
    shown, shorter = LOCK_TIMEOUTS["postgresql" if migrated_database_url.startswith("postgresql") else "mariadb"]
    with migration_session(migrated_database_url) as connection:
        assert str(connection.scalar(text(shown))).removesuffix("s") == "5"
    with engine_of(migrated_database_url).connect() as reader:
        reader.execute(text("SELECT id FROM recharge_orders"))
        with pytest.raises(MigrationError, match="a table is in use by another session"):
            change_orders(migrated_database_url, shorter)


@pytest.mark.databases("mariadb")
def test_a_migration_that_died_half_way_continues_where_it_stopped(database_url: str) -> None:
    upgrade(database_url)
    whole = structure(database_url)
    execute(
        database_url,
        "DROP TABLE unmatched_callbacks",
        "DROP INDEX ix_rejected_orders_received_at ON rejected_orders",
        "ALTER TABLE query_budgets DROP window_us, DROP database_identity, DROP database_changes",
        "CREATE TABLE account_prices AS SELECT account, learned, schedule AS prices, computed_at AS priced_at"
        " FROM poll_schedules",
        "DELETE FROM alembic_version",
    )

    upgrade(database_url)

    assert structure(database_url) == whole
    check_at_head(database_url)

    # A way down that died among the drops of the first revision.
    downgrade(database_url, "0001")
    execute(database_url, "DROP TABLE unmatched_callbacks")
    downgrade(database_url, "base")
    assert our_tables(database_url) == set()


def old_order(name: str, **fields: object) -> dict[str, object]:
    """A pending order's columns of all revisions."""
    return {
        **{"account": "default", "request_id": name, "state": "pending", "id_kind": "requestId", "lane": "batch"},
        **dict.fromkeys(("submitted_at", "due_at", "created_at", "updated_at"), AT),
        **dict.fromkeys(("query_count", "absences", "absence_mark", "failures_alone", "failure_mark"), 0),
        **fields,
    }


def test_orders_of_the_first_revision_keep_their_age_bucket(database_url: str) -> None:
    upgrade(database_url, "0001")
    buckets = {"never": 0, "young": 1}
    rows = (old_order(name, look_group=bucket, bad_ends=0) for name, bucket in buckets.items())
    insert_rows(database_url, "recharge_orders", *rows)
    upgrade(database_url)
    assert pairs_of(database_url, "SELECT request_id, age_bucket FROM recharge_orders") == buckets


OLD_NAMES: dict[str, dict[str, str]] = {
    "account_prices": {"learned": '{"ages":"x","open_looks":[1.5]}', "prices": '{"ages":"x","last_looks":[2]}'},
    "settlement_notes": {"notes": '{"ages":"x","looks":[[1,2,3,0,4]]}'},
}
NEW_NAMES = {
    "poll_schedules": {"learned": '{"ages":"x","open_polls":[1.5]}', "schedule": '{"ages":"x","last_polls":[2]}'},
    "settlement_observations": {"observations": '{"ages":"x","polls":[[1,2,3,0,4]]}'},
}


def test_tables_of_revision_0006_keep_their_rows_under_new_names(database_url: str) -> None:
    def texts(table: str, names: Collection[str]) -> list[dict[str, str]]:
        rows = rows_of(database_url, f"SELECT {', '.join(names)} FROM {table} ORDER BY account")
        return [dict(zip(names, row, strict=True)) for row in rows]

    upgrade(database_url, "0006")
    others: dict[str, dict[str, object]] = {
        "account_prices": {"priced_at": AT},
        "settlement_notes": {"noted_at": AT},
    }
    for table, held in OLD_NAMES.items():
        insert_rows(database_url, table, {"account": "default", **others[table], **held})

    upgrade(database_url)
    check_at_head(database_url)
    assert {table: texts(table, names) for table, names in NEW_NAMES.items()} == {
        table: [held] for table, held in NEW_NAMES.items()
    }


def test_slots_of_a_release_that_kept_no_window_stay_as_they_are(database_url: str) -> None:
    upgrade(database_url, "0004")
    columns = "account_sid, slot, due_at, boot_id, boot_due_us, wait_us, token, updated_at"
    values = "'sid', 0, '2026-01-31 12:00:00', 'boot', 17000000, 5000000, 'token', '2026-01-31 12:00:00'"
    execute(database_url, f"INSERT INTO query_budgets ({columns}) VALUES ({values})")

    def slot(names: str) -> tuple[Any, ...]:
        return tuple(rows_of(database_url, f"SELECT {names} FROM query_budgets")[0])

    before = slot(columns)
    upgrade(database_url)
    assert slot(columns) == before
    assert slot("window_us") == (None,)


def test_suspects_of_the_release_before_keep_their_lane_and_group(database_url: str) -> None:
    upgrade(database_url, "0005")
    suspects = (("a", 4, 0), ("b", 4, 0), ("left", 6, 0), ("failed", 8, 2))
    plain = {"lane": "suspect", "look_group": 1, "bad_ends": 0}
    rows = (
        old_order(name, **plain, suspect_group=group) | {"failures_alone": alone} for name, group, alone in suspects
    )
    insert_rows(database_url, "recharge_orders", *rows)
    upgrade(database_url)

    def lanes(column: str) -> dict[str, Any]:
        return pairs_of(database_url, f"SELECT request_id, {column} FROM recharge_orders")

    assert lanes("lane") == {"a": "suspect", "b": "suspect", "left": "lone_suspect", "failed": "lone_suspect"}
    assert set(lanes("denials").values()) == {0}


def to_base(url: str) -> None:
    downgrade(url, "base")


@pytest.mark.parametrize("operation", [upgrade, to_base, check_at_head])
def test_a_database_newer_than_the_code_is_refused(
    operation: Callable[[str], None], migrated_database_url: str
) -> None:
    execute(migrated_database_url, "UPDATE alembic_version SET version_num = '9999'")
    before = structure(migrated_database_url)

    with pytest.raises(NotAtHead) as raised:
        operation(migrated_database_url)

    assert str(raised.value) == (
        "the database is newer than this release, which does not know its revision 9999:"
        " install the release that migrated it, or a newer one"
    )
    assert structure(migrated_database_url) == before


def test_a_revision_that_does_not_exist_is_refused(migrated_database_url: str) -> None:
    with pytest.raises(MigrationError, match="Can't locate revision identified by 'nonsense'"):
        downgrade(migrated_database_url, "nonsense")
    check_at_head(migrated_database_url)


def test_the_names_of_the_files_give_the_revisions_in_their_order() -> None:
    walked = ScriptDirectory(str(script_location())).walk_revisions()
    assert revisions() == tuple(one.revision for one in walked)[::-1]


def test_the_migrations_of_a_checkout_are_next_to_the_package() -> None:
    assert script_location() == ROOT / "migrations"


@pytest.mark.slow
def test_the_plain_alembic_command_takes_the_database_from_our_settings(database_url: str) -> None:
    def alembic(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=ROOT,
            env={"RECONCILER_DATABASE_URL": database_url},
            capture_output=True,
            text=True,
        )

    assert alembic("upgrade", "head").returncode == 0
    check_at_head(database_url)

    execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    refused = alembic("check")
    assert refused.returncode != 0
    assert refused.stdout.startswith("FAILED: the database is newer than this release"), refused.stderr


OF_LATER_REVISIONS = ("backoff_unreachable",)


def new_state(account: str) -> dict[str, object]:
    """The state of an account that was never queried."""
    return {name: getattr(AccountState(account=account), name) for name in STATE_FIELDS}


def test_a_pause_and_a_plan_are_rows_and_columns_again_on_the_way_down(database_url: str) -> None:
    upgrade(database_url, "0031")
    paused = {"paused_at": f"{AT}.000000", "paused_by": "ann", "pause_reason": "moved"}
    planned = {"planned_from": "2100-01-31 12:00:00.000000", "planned_until": "2100-01-31 18:00:00.000000"}
    planned |= {"planned_by": "bob", "planned_reason": "维护"}
    insert_rows(
        database_url,
        "account_states",
        new_state("neither"),
        new_state("paused") | paused,
        new_state("planned") | planned,
        new_state("both") | paused | planned,
    )
    of_state = f"SELECT account, {', '.join((*paused, 'paused_until', *planned))} FROM account_states ORDER BY account"
    before = rows_of(database_url, of_state)
    upgrade(database_url)
    by_account = "SELECT account, is_planned, paused_by, pause_reason, paused_until, act_key FROM account_pauses"
    rows = rows_of(database_url, f"{by_account} ORDER BY account, is_planned")
    assert [(name, bool(is_planned), *others[:2]) for name, is_planned, *others in rows] == [
        ("both", False, "ann", "moved"),
        ("both", True, "bob", "维护"),
        ("paused", False, "ann", "moved"),
        ("planned", True, "bob", "维护"),
    ]
    assert {row[-1] for row in rows} == {"revision 0032"}
    assert {name for name, has in rows_of(database_url, "SELECT account, has_pauses FROM account_states") if has} == {
        *("both", "paused", "planned")
    }
    downgrade(database_url, "0031")
    assert rows_of(database_url, of_state) == before


def test_the_way_down_keeps_the_pause_that_ends_last_and_the_next_plan(database_url: str) -> None:
    upgrade(database_url)
    insert_rows(database_url, "account_states", *(new_state(name) | {"has_pauses": True} for name in ("a", "b")))
    far = [f"2100-01-{day} 12:00:00.000000" for day in (10, 11, 12, 13)]
    row = {"account": "a", "act_key": "k", "is_planned": False, "paused_at": f"{AT}.000000"}
    plan = row | {"is_planned": True}
    pauses = (
        {"paused_by": "over", "paused_until": f"{AT}.000001"},
        {"paused_by": "longer", "paused_until": far[1]},
        {"paused_by": "shorter", "paused_until": far[0]},
    )
    plans = (
        {"paused_by": "later", "paused_at": far[2], "paused_until": far[3]},
        {"paused_by": "next", "paused_at": far[0], "paused_until": far[1]},
        {"paused_by": "begun", "paused_until": far[0]},
    )
    insert_rows(database_url, "account_pauses", *(row | one for one in pauses), *(plan | one for one in plans))
    endless = row | {"account": "b", "paused_by": "endless", "paused_until": None}
    insert_rows(database_url, "account_pauses", endless, endless | {"paused_by": "longer", "paused_until": far[3]})
    downgrade(database_url, "0031")
    kept = rows_of(database_url, "SELECT account, paused_by, planned_by FROM account_states ORDER BY account")
    assert [tuple(one) for one in kept] == [("a", "longer", "next"), ("b", "endless", None)]


@pytest.mark.databases("mariadb")
def test_revision_0032_goes_on_from_where_it_died(database_url: str) -> None:
    upgrade(database_url, "0031")
    insert_rows(database_url, "account_states", new_state("a") | {"paused_at": f"{AT}.000000", "paused_by": "ann"})
    upgrade(database_url)
    # It died when the pauses were copied, and one of their columns was dropped.
    execute(
        database_url,
        "UPDATE alembic_version SET version_num = '0031'",
        "ALTER TABLE account_states ADD COLUMN paused_by VARCHAR(64), ADD COLUMN planned_by VARCHAR(64)",
    )
    upgrade(database_url)
    assert column_of(database_url, "SELECT paused_by FROM account_pauses") == ["ann"]
    check_at_head(database_url)
    downgrade(database_url, "0031")
    assert column_of(database_url, "SELECT paused_by FROM account_states") == ["ann"]


def test_refused_events_go_behind_those_that_were_never_tried(database_url: str) -> None:
    upgrade(database_url, "0017")
    noon = f"{AT}.000000"
    plain = {"account": "a", "order_id": 1, "type": "order.failed", "version": 1, "body": "{}"}
    plain |= dict.fromkeys(("changed_at", "due_at", "tried_at"), noon)
    columns = ("event_id", "rank", "state", "tries")
    for values in (
        *(("result", 0, "pending", 0), ("bulk", 1, "pending", 0)),
        *(("refused", 1, "pending", 3), ("delivered", 1, "delivered", 2)),
    ):
        insert_rows(database_url, "notifications", plain | dict(zip(columns, values, strict=True)))
    endpoint = {"account": "a", "transport": "webhook", "target_digest": "d", "shown": "s", "rest_level": 0}
    insert_rows(database_url, "notify_endpoints", {**endpoint, "updated_at": noon, "failed_in_row": "[1, 2]"})

    def held(column: str) -> dict[str, Any]:
        return pairs_of(database_url, f"SELECT event_id, {column} FROM notifications")

    upgrade(database_url)
    assert held("rank") == {"result": 0, "bulk": 1, "refused": 2, "delivered": 1}
    assert held("refused_since = tried_at") == {"result": None, "bulk": None, "refused": True, "delivered": None}


def test_events_and_acts_keep_their_sentences_and_have_no_codes_at_first(database_url: str) -> None:
    upgrade(database_url, "0021")
    event = "order_id, at, kind, source, detail) VALUES (1, '2026-01-31 12:00:00', 'overdue', 'worker', 'too old')"
    act = "actor, at, act, detail) VALUES ('ann', '2026-01-31 12:00:00', 'pause', 'until it is resumed')"
    execute(database_url, f"INSERT INTO order_events ({event}", f"INSERT INTO operator_acts ({act}")

    def held(columns: str) -> list[tuple[Any, ...]]:
        tables = ("order_events", "operator_acts")
        return [tuple(row) for table in tables for row in rows_of(database_url, f"SELECT {columns} FROM {table}")]

    upgrade(database_url)
    assert held("detail, detail_code, detail_values") == [
        ("too old", None, None),
        ("until it is resumed", None, None),
    ]


def test_an_index_of_results_is_there_at_every_moment_of_revision_0034(database_url: str) -> None:
    upgrade(database_url)
    before = revisions()[revisions().index("0034") - 1]
    for move, old, new in (
        (partial(downgrade, database_url, before), "ix_recharge_orders_results", "ix_recharge_orders_settled"),
        (partial(upgrade, database_url), "ix_recharge_orders_settled", "ix_recharge_orders_results"),
    ):
        with statements_of(Engine) as executed:
            move()
        made = [at for at, (one, _) in enumerate(executed) if re.search(rf"CREATE INDEX.* {new} ", one)]
        dropped = [at for at, (one, _) in enumerate(executed) if re.search(rf"DROP INDEX.* {old}\b", one)]
        assert made, new
        assert made < dropped


@pytest.mark.databases("postgresql")
def test_revision_0034_creates_only_its_invalid_indexes_again(database_url: str) -> None:
    upgrade(database_url, "0034")
    found = "SELECT indexrelid::regclass::text, indexrelid FROM pg_index WHERE indrelid = 'recharge_orders'::regclass"
    states, results = "ix_recharge_orders_states", "ix_recharge_orders_results"
    before = pairs_of(database_url, found)
    # It died before it was recorded, once when an index was not ready.
    for invalid, kept in (([], [states, results]), ([states], [results])):
        for name in invalid:
            is_this = f"indexrelid = '{name}'::regclass"
            execute(database_url, f"UPDATE pg_index SET indisvalid = false WHERE {is_this}")
        execute(database_url, "UPDATE alembic_version SET version_num = '0033'")
        upgrade(database_url, "0034")
        after = pairs_of(database_url, found)
        assert [name for name in (states, results) if after[name] == before[name]] == kept
    assert column_of(database_url, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [0]


@pytest.mark.databases("postgresql")
def test_a_view_of_the_ids_is_named_as_what_stands_in_the_way(database_url: str) -> None:
    upgrade(database_url, "0007")
    execute(database_url, "CREATE VIEW open_orders AS SELECT request_id FROM recharge_orders")
    with pytest.raises(MigrationError, match=r"a view reads the ids of recharge_orders.*: drop the view, migrate"):
        upgrade(database_url)
    execute(database_url, "DROP VIEW open_orders")
    upgrade(database_url)


def test_a_back_off_that_lasts_during_the_upgrade_counts_as_asked_for_by_the_platform(database_url: str) -> None:
    upgrade(database_url, "0013")
    rows = [
        new_state(name) | {"backoff_until": until}
        for name, until in (("waiting", "2100-01-01 00:00:00"), ("other", None))
    ]
    for row in rows:
        for name in ("backoff_requested_until", *OF_LATER_REVISIONS):
            del row[name]
    insert_rows(database_url, "account_states", *rows)
    upgrade(database_url)
    kept = "SELECT account FROM account_states WHERE backoff_requested_until = backoff_until"
    assert column_of(database_url, kept) == ["waiting"]


IDS_IN_USE = ("rejected_orders", "unmatched_callbacks", "notifications")


@pytest.mark.databases("sqlite")
def test_sqlite_gives_no_id_twice_of_rows_that_pages_name_and_keeps_them_where_a_view_reads_them(
    database_url: str,
) -> None:
    upgrade(database_url, "0024")
    refused: dict[str, object] = {"source": "s", "payload": "{}", "errors": "e"}
    kept: dict[str, object] = {"account": "default", "request_id": "r1", "payload": "{}", "trust": "check"}
    for row in (refused, kept):
        row["received_at"] = f"{AT}.000000"
    told: dict[str, object] = {"account": "a", "order_id": 1, "type": "order.failed", "version": 1, "body": "{}"}
    told |= {"state": "gave_up", "rank": 0, "tries": 3} | dict.fromkeys(("changed_at", "due_at"), f"{AT}.000000")

    def add(number: int) -> None:
        for table, row in zip(IDS_IN_USE, (refused, kept, told), strict=True):
            own = {"event_id": f"e{number}"} if table == "notifications" else {"digest": f"d{number}"}
            insert_rows(database_url, table, row | own)

    def ids() -> list[list[int]]:
        return [column_of(database_url, f"SELECT id FROM {table} ORDER BY id") for table in IDS_IN_USE]

    def read() -> list[Any]:
        columns = ("source, digest", "trust, digest", "state, event_id")
        pairs = zip(IDS_IN_USE, columns, strict=True)
        return [rows_of(database_url, f"SELECT {names} FROM {table} ORDER BY id") for table, names in pairs]

    for number in range(4):
        add(number)
    # One that was counted, and retried since.
    insert_rows(database_url, "metric_cursors", {"stream": "rejected_orders", "counted_id": 7, "counted_at": AT})
    execute(database_url, *(f"CREATE VIEW all_{table} AS SELECT id FROM {table}" for table in IDS_IN_USE))
    before = read()
    upgrade(database_url)
    assert read() == before
    assert ids() == [[1, 2, 3, 4]] * 3
    assert [column_of(database_url, f"SELECT count(*) FROM all_{table}") for table in IDS_IN_USE] == [[4]] * 3
    assert column_of(database_url, "SELECT DISTINCT is_open FROM rejected_orders") == [1]
    for table in IDS_IN_USE:
        execute(database_url, f"DELETE FROM {table} WHERE id > 1")
    add(5)
    assert ids() == [[1, 8], [1, 5], [1, 5]]
    downgrade(database_url, "0024")
    upgrade(database_url)
    assert ids() == [[1, 8], [1, 5], [1, 5]]
