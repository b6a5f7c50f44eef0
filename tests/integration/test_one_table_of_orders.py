"""Revision 0033: archived orders move back to `recharge_orders`, as every release wrote them."""

import json
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import event

from tests.support.reconciling import Workbench
from tests.support.sql import column_of, execute, insert_rows, rows_of, session
from tests.support.waiting import eventually
from worker.database.migrations import downgrade, upgrade
from worker.database.revisions import MigrationError, check_at_head, revisions
from worker.database.tables import EVENTS, NOTIFICATIONS, ORDERS, REJECTED

REVISION = "0033"
BEFORE = revisions()[revisions().index(REVISION) - 1]
OLD_NAMES = {"look_group": "age_bucket", "bad_ends": "batch_failures"}
AT = "2026-01-31 12:00:00"
RECORD = re.compile(r"'(\{\"order\":.*?\]\})'")


def _records() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted((Path(__file__).parents[1] / "upgrades").glob("revision_*.sql")):
        for found in RECORD.findall(file.read_text("utf-8")):
            yield file.stem.removeprefix("revision_"), json.loads(found.replace("''", "'"))


RECORDS = list(_records())
"""By the revision whose program wrote it: the records of archived orders in tests/upgrades."""


def numbered(record: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The same record of another order: its ids are those of this number."""
    order = {**record["order"], "id": number, "request_id": f"r{number}", "custom_parm": f"c{number}"}
    events = [{**one, "id": number * 10 + place, "order_id": number} for place, one in enumerate(record["events"])]
    return {"order": order, "events": events}


def archived_row(record: Mapping[str, Any], /, **changed: object) -> dict[str, object]:
    """Its row of `archived_orders`, as a release before 0008 wrote it: without the time of its submission."""
    order = record["order"]
    named = {name: order[name] for name in ("id", "account", "request_id", "custom_parm", "state")}
    times = {"settled_at": AT, "archived_at": AT}
    return {**named, **times, "record": json.dumps(record, ensure_ascii=False, separators=(",", ":")), **changed}


def archive(url: str, *records: Mapping[str, Any]) -> None:
    """Insert these records into the archive."""
    insert_rows(url, "archived_orders", *map(archived_row, records))


def rows_by_id(url: str, table: Any) -> dict[int, dict[str, Any]]:
    bench = Workbench(url)
    try:
        return {row["id"]: row for row in bench.rows(table)}
    finally:
        bench.close()


def as_recorded(value: object) -> object:
    """A value of a row as a record has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else value


def assert_moved(url: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Each of these orders is in `recharge_orders`, with all that its record holds, and nothing else."""
    orders, events = rows_by_id(url, ORDERS), rows_by_id(url, EVENTS)
    for record in records:
        row = orders[record["order"]["id"]]
        recorded = {OLD_NAMES.get(name, name): value for name, value in record["order"].items()}
        assert {name: as_recorded(row[name]) for name in recorded} == recorded
        younger = {name: row[name] for name in row.keys() - recorded.keys()}
        assert set(younger.values()) <= {None, 0}, younger
        for one in record["events"]:
            assert {name: as_recorded(events[one["id"]][name]) for name in one} == one


def new_database(url: str) -> None:
    upgrade(url, BEFORE)


def test_every_release_with_an_archive_wrote_records() -> None:
    assert {revision for revision, _ in RECORDS} >= {"0004", "0007", "0009", "0015", "0022"}


def test_archived_orders_of_every_release_come_back_as_they_were(database_url: str) -> None:
    new_database(database_url)
    records = [numbered(record, 100 + number) for number, (_, record) in enumerate(RECORDS)]
    archive(database_url, *records)
    upgrade(database_url)
    check_at_head(database_url)
    assert_moved(database_url, records)
    assert len(rows_by_id(database_url, ORDERS)) == len(records)
    assert rows_by_id(database_url, NOTIFICATIONS) == {}
    assert rows_by_id(database_url, REJECTED) == {}


def test_a_record_without_a_version_and_a_submission_gets_them(database_url: str) -> None:
    new_database(database_url)
    first, second = (numbered(RECORDS[-1][1], number) for number in (7, 8))
    for record in (first, second):
        del record["order"]["version"], record["order"]["submitted_at"]
    insert_rows(
        database_url, "archived_orders", archived_row(first, submitted_at="2026-01-30 12:00:00"), archived_row(second)
    )
    upgrade(database_url)
    orders = rows_by_id(database_url, ORDERS)
    assert [orders[number]["version"] for number in (7, 8)] == [0, 0]
    # A server may read the time in another zone.
    assert f"{orders[7]['submitted_at']:%F}" == "2026-01-30"
    assert orders[8]["submitted_at"] == orders[8]["created_at"]


def test_an_order_with_very_many_events_keeps_those_that_its_record_does_not_hold(database_url: str) -> None:
    new_database(database_url)
    record = numbered(RECORDS[-1][1], 7)
    record["events"] = [{**record["events"][0], "id": number} for number in range(1, 1_001)]
    archive(database_url, record)
    said = {"at": AT, "kind": "ignored", "source": "callback"}
    insert_rows(database_url, "order_events", *({**said, "id": number, "order_id": 7} for number in (1_001, 1_002)))
    upgrade(database_url)
    assert_moved(database_url, [record])
    assert sorted(column_of(database_url, "SELECT id FROM order_events WHERE order_id = 7")) == [*range(1, 1_003)]


@pytest.mark.databases("sqlite")
def test_the_memory_for_a_batch_does_not_grow_with_the_events_of_its_orders(database_url: str) -> None:
    new_database(database_url)
    records = [numbered(RECORDS[-1][1], number) for number in range(1, 61)]
    for record in records:
        first = record["events"][0]
        record["events"] = [{**first, "id": record["order"]["id"] * 1_000 + place} for place in range(1_000)]
    archive(database_url, *records)
    tracemalloc.start()
    try:
        upgrade(database_url)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert column_of(database_url, "SELECT count(*) FROM order_events") == [60_000]
    assert most < 50_000_000


@pytest.mark.parametrize(
    "taken",
    [
        {"id": 7, "request_id": "other", "custom_parm": "another"},
        {"id": 70, "request_id": "r7", "custom_parm": None},
        {"id": 70, "request_id": None, "custom_parm": "c7"},
    ],
    ids=["id", "request_id", "custom_parm"],
)
def test_an_order_whose_number_another_one_has_by_now_becomes_refused_input(
    database_url: str, taken: dict[str, object]
) -> None:
    new_database(database_url)
    clashing, free = (numbered(RECORDS[-1][1], number) for number in (7, 8))
    columns = set(column_names(database_url, "recharge_orders")) & clashing["order"].keys()
    present = {name: clashing["order"][name] for name in columns} | taken
    insert_rows(database_url, "recharge_orders", _for_sql(present))
    archive(database_url, clashing, free)
    before = rows_of(database_url, "SELECT * FROM recharge_orders")
    upgrade(database_url)
    assert_moved(database_url, [free])
    assert rows_of(database_url, "SELECT * FROM recharge_orders WHERE id <> 8") == before
    (refused,) = rows_by_id(database_url, REJECTED).values()
    assert json.loads(refused["payload"]) == clashing
    assert (refused["source"], refused["is_open"]) == ("revision 0033", True)
    assert (refused["account"], refused["request_id"], refused["custom_parm"]) == ("default", "r7", "c7")
    assert refused["errors"].startswith("an archived order that was not moved back: the database refused it: ")
    assert re.search("(?i)duplicate|unique", refused["errors"]), refused["errors"]


def odd(**changed: object) -> str:
    """A record with these values in the order's columns; `event_NAME` is a column of its first event."""
    record = numbered(RECORDS[-1][1], 7)
    for name, value in changed.items():
        holder = record["events"][0] if name.startswith("event_") else record["order"]
        holder[name.removeprefix("event_")] = value
    return json.dumps(record)


UNREADABLE = [
    *("{", "[]", "[" * 100_000, '{"order":{"id":7},"events":[]}', '{"order":[],"events":[]}'),
    *(odd(state=None), odd(state="odd"), odd(attention="odd"), odd(lane="odd"), odd(settled_by=1)),
    *(odd(remark={}), odd(remark=1), odd(remark="\ud800"), odd(event_detail=[]), odd(event_kind="odd")),
    *(odd(query_count=2**63), odd(query_count="1"), odd(query_count=True), odd(event_query_id=2**63)),
    *(odd(settled_at="2026-01-31T12:00:00"), odd(settled_at=1), odd(settled_at="0001-01-01T00:00:00+08:00")),
    *(odd(ori_amount="NaN"), odd(ori_amount="1E+99"), odd(ori_amount=2.94), odd(amount_is_price="no")),
]


def test_records_that_cannot_be_read_become_refused_input(database_url: str) -> None:
    new_database(database_url)
    free = numbered(RECORDS[-1][1], 8)
    archive(database_url, free)
    for number, text in enumerate(UNREADABLE, start=100):
        row = archived_row(numbered(RECORDS[-1][1], number), record=text)
        insert_rows(database_url, "archived_orders", row)
    upgrade(database_url)
    assert_moved(database_url, [free])
    assert list(rows_by_id(database_url, ORDERS)) == [8]
    refused = rows_by_id(database_url, REJECTED).values()
    assert [row["payload"] for row in refused] == UNREADABLE
    assert [row["request_id"] for row in refused] == [f"r{100 + number}" for number in range(len(UNREADABLE))]
    said = "an archived order that was not moved back: its record cannot be read"
    assert {row["errors"] for row in refused} == {said}


def test_an_order_that_the_database_refuses_says_why(database_url: str) -> None:
    new_database(database_url)
    archive(database_url, json.loads(odd(settled_at=None)))
    upgrade(database_url)
    (refused,) = rows_by_id(database_url, REJECTED).values()
    assert "settled_has_time" in refused["errors"]
    assert "\n" not in refused["errors"]


def test_a_refused_order_names_the_events_that_its_record_does_not_hold(database_url: str) -> None:
    new_database(database_url)
    archive(database_url, json.loads(odd(settled_at=None)))
    said = {"at": AT, "kind": "ignored", "source": "callback", "order_id": 7}
    insert_rows(database_url, "order_events", {**said, "id": 1_001}, {**said, "id": 1_002})
    upgrade(database_url)
    (refused,) = rows_by_id(database_url, REJECTED).values()
    assert refused["errors"].endswith("; its events that stay in order_events (order_id 7): 2")
    assert sorted(rows_by_id(database_url, EVENTS)) == [1_001, 1_002]


def test_an_event_whose_id_another_one_has_by_now_gets_a_new_one(database_url: str) -> None:
    new_database(database_url)
    record = numbered(RECORDS[-1][1], 7)
    archive(database_url, record)
    said = {"at": AT, "kind": "ignored", "source": "callback"}
    insert_rows(database_url, "order_events", {**said, "id": record["events"][0]["id"], "order_id": 500})
    upgrade(database_url)
    events = rows_by_id(database_url, EVENTS)
    assert events[record["events"][0]["id"]]["order_id"] == 500
    assert len([one for one in events.values() if one["order_id"] == 7]) == len(record["events"])


def test_an_order_and_an_event_after_the_revision_get_ids_above_those_that_came_back(database_url: str) -> None:
    new_database(database_url)
    record = numbered(RECORDS[-1][1], 1)
    archive(database_url, record)
    upgrade(database_url)
    bench = Workbench(database_url)
    try:
        bench.add("new")
        bench.intake.check_orders([{"request_id": "new"}])
    finally:
        bench.close()
    assert sorted(rows_by_id(database_url, ORDERS)) == [1, 2]
    newest = max(one["id"] for one in record["events"])
    assert max(rows_by_id(database_url, EVENTS)) == newest + 1


def test_a_run_that_dies_at_any_statement_is_repeated(database_url: str) -> None:
    new_database(database_url)
    records = [numbered(RECORDS[number % len(RECORDS)][1], 100 + number) for number in range(450)]
    archive(database_url, *records)
    countdown = [0]

    def die(*_: Any) -> None:
        countdown[0] -= 1
        if countdown[0] == 0:
            raise KeyboardInterrupt

    event.listen(sqlalchemy.Engine, "before_cursor_execute", die)
    try:
        # At some statements of each batch, and at those of the end.
        for deaths in range(10, 200, 3):
            countdown[0] = deaths
            try:
                upgrade(database_url, "0033")
                break
            except KeyboardInterrupt:
                continue
    finally:
        event.remove(sqlalchemy.Engine, "before_cursor_execute", die)
    upgrade(database_url)
    check_at_head(database_url)
    assert_moved(database_url, records)
    assert len(rows_by_id(database_url, EVENTS)) == sum(len(record["events"]) for record in records)


@pytest.mark.databases("postgresql")
def test_a_view_of_the_archive_is_refused_before_an_order_moves(database_url: str) -> None:
    new_database(database_url)
    archive(database_url, numbered(RECORDS[-1][1], 7))
    execute(database_url, "CREATE VIEW settled AS SELECT id FROM archived_orders")
    with pytest.raises(MigrationError, match="a view reads archived_orders, which goes: drop the view"):
        upgrade(database_url)
    assert column_of(database_url, "SELECT id FROM settled") == [7]
    execute(database_url, "DROP VIEW settled")
    upgrade(database_url)
    assert column_of(database_url, "SELECT id FROM recharge_orders") == [7]


def test_the_way_down_makes_an_empty_archive_and_orders_stay(database_url: str) -> None:
    new_database(database_url)
    record = numbered(RECORDS[0][1], 7)
    archive(database_url, record)
    upgrade(database_url)
    downgrade(database_url, BEFORE)
    assert column_of(database_url, "SELECT id FROM archived_orders") == []
    assert column_of(database_url, "SELECT id FROM recharge_orders") == [7]
    upgrade(database_url)
    assert_moved(database_url, [record])


_UPGRADE = "import sys; from worker.database.migrations import upgrade; upgrade(sys.argv[1])"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_archived_orders_come_back_though_the_first_run_is_killed(database_url: str) -> None:
    # The size matters once; what a kill leaves differs from database to database.
    count = 200_000 if database_url.startswith("postgresql") else 20_000
    new_database(database_url)
    insert_many(database_url, count)
    process = subprocess.Popen([sys.executable, "-c", _UPGRADE, database_url])
    try:
        eventually(lambda: _moves(database_url), "some thousand orders are moved", seconds=300)
        process.kill()
    finally:
        process.wait()
    assert process.returncode < 0, "it was not killed half-way"
    left = column_of(database_url, "SELECT count(*) FROM archived_orders")[0]
    assert 0 < left <= count
    upgrade(database_url)
    check_at_head(database_url)
    assert rows_of(database_url, "SELECT count(*), min(id), max(id) FROM recharge_orders") == [(count, 1, count)]
    events = sum(len(RECORDS[number % len(RECORDS)][1]["events"]) for number in range(1, count + 1))
    assert column_of(database_url, "SELECT count(*) FROM order_events") == [events]
    assert column_of(database_url, "SELECT count(*) FROM notifications") == [0]
    assert column_of(database_url, "SELECT count(*) FROM rejected_orders") == [0]


def insert_many(url: str, count: int) -> None:
    """Insert archived orders 1 to `count`, written by each release in turn."""
    with session(url) as connection:
        names = list(archived_row(numbered(RECORDS[0][1], 1)))
        places = ", ".join(f":{name}" for name in names)
        statement = sqlalchemy.text(f"INSERT INTO archived_orders ({', '.join(names)}) VALUES ({places})")
        for start in range(1, count + 1, 5_000):
            part = range(start, start + 5_000)
            rows = [archived_row(numbered(RECORDS[number % len(RECORDS)][1], number)) for number in part]
            connection.exec_driver_sql("BEGIN")
            connection.execute(statement, rows)
            connection.exec_driver_sql("COMMIT")


def _moves(url: str) -> bool:
    """Whether the migration is under way; on SQLite nobody else sees its transaction, which grows beside the file."""
    if url.startswith("sqlite"):
        beside = Path(f"{sqlalchemy.make_url(url).database}-wal")
        return beside.exists() and beside.stat().st_size > 20_000_000
    return bool(column_of(url, "SELECT count(*) FROM recharge_orders")[0] > 5_000)


def column_names(url: str, table: str) -> list[str]:
    with session(url) as connection:
        return [column["name"] for column in sqlalchemy.inspect(connection).get_columns(table)]


def _for_sql(order: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded order as text that each database reads."""
    return {
        name: value[:19].replace("T", " ") if isinstance(value, str) and name.endswith("_at") else value
        for name, value in order.items()
    }
