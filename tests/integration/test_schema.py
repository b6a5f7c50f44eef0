"""What the migrated tables store: amounts, texts, ids and times, the same on every database; and how they are read."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, literal_column, select
from sqlalchemy.exc import IntegrityError, StatementError

from tests.support.plans import NOON, add, analyze, plan, row, steps_of
from tests.support.sql import statements_of
from worker.database.tables import ORDERS
from worker.database.transactions import Database
from worker.domain.orders.settlement import overdue_before
from worker.domain.queries.choose_batch import each_once, first_pages
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.order_changes import EventKind, OrderEvent
from worker.domain.records.orders import IdKind, Lane, OrderKey, OrderState, Source
from worker.domain.records.queries import Candidate
from worker.domain.scheduling.ages_and_observations import BUCKETS
from worker.domain.scheduling.pick_by_priority import PAGE_SIZE, pick_batch, priority_of
from worker.domain.scheduling.poll_schedule import prior_schedule
from worker.operations.reserve_slot import choose_due
from worker.stores.pending_orders import overdue_orders, read_candidates
from worker.stores.recharge_orders import add_events, find_ids
from worker.views.orders import unresolved_since


@pytest.fixture
def database(migrated_database_url: str) -> Iterator[Database]:
    opened = Database(migrated_database_url)
    yield opened
    opened.close()


def first_candidates(connection: Connection, state: AccountState, rules: Rules) -> list[Candidate]:
    return each_once(read_candidates(connection, state.account, NOON, first_pages(state, NOON, rules)))


def kept(database: Database, column: str) -> Any:
    """What a column of the only row holds."""
    with database.read() as connection:
        return connection.execute(select(ORDERS.c[column])).scalar_one()


@pytest.mark.parametrize("amount", ["2.94", "0.0001", "9999999999.9999", "0", "0.1"])
def test_amounts_are_exact(database: Database, amount: str) -> None:
    add(database, row("1", expected_amount=Decimal(amount)))

    value = kept(database, "expected_amount")
    assert isinstance(value, Decimal)
    assert value == Decimal(amount)


@pytest.mark.databases("sqlite")
def test_amounts_are_decimal_text_on_sqlite(database: Database) -> None:
    add(database, row("1", expected_amount=Decimal("2.94")))
    with database.read() as connection:
        found = connection.exec_driver_sql("SELECT typeof(expected_amount), expected_amount FROM recharge_orders")
        assert found.one() == ("text", "2.94")


@pytest.mark.parametrize("remark", ["成功", "余额不足 😀👨‍👩‍👧", "𠮷野家 𪚥 龘", "é e\u0301 \u202eabc", "字" * 60_000])
def test_remarks_are_full_unicode(database: Database, remark: str) -> None:
    add(database, row("1", remark=remark))
    assert kept(database, "remark") == remark


DIFFERENT = [
    "a",
    "A",
    "à",
    "a\u0301",
    "á",
    "ａ",
    "a.",
    "a-",
    "a\u034f",
    "ß",
    "ss",
    "ﬁ",
    "fi",
    "1",
    "１",
    "01",
    "𠮷",
    "吉",
]


def test_ids_compare_byte_by_byte(database: Database) -> None:
    add(database, *(row(name, custom_parm=name) for name in DIFFERENT))
    add(database, *(row("a", account=account) for account in ("Default", "dèfault")))

    with database.read() as connection:
        for column in (ORDERS.c.request_id, ORDERS.c.custom_parm):
            for name in DIFFERENT:
                same = select(column).where(ORDERS.c.account == "default", column == name)
                assert connection.scalars(same).all() == [name]


@pytest.mark.parametrize("column", ["request_id", "custom_parm"])
def test_an_id_names_one_order_of_an_account(database: Database, column: str) -> None:
    add(database, row("1", custom_parm="1"))
    with pytest.raises(IntegrityError):
        add(database, row("2", custom_parm="2") | {column: "1"})
    add(database, row("1", custom_parm="1", account="other"))


@pytest.mark.parametrize(
    ("broken", "constraint"),
    [
        ({"request_id": None}, "has_an_id"),
        ({"traffic_sts": 2}, "traffic_sts_known"),
        ({"state": OrderState.SUCCEEDED}, "settled_has_time"),
    ],
)
def test_a_row_that_cannot_be_is_refused(database: Database, broken: dict[str, object], constraint: str) -> None:
    # MariaDB reports a broken check as an OperationalError.
    with pytest.raises(StatementError, match=f"ck_recharge_orders_{constraint}"):
        add(database, row("1") | broken)


def test_times_keep_microseconds_and_are_read_in_utc(database: Database) -> None:
    local = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=8)))
    add(database, row("1", settled_at=local))

    value = kept(database, "settled_at")
    assert value == local
    assert value.tzinfo is UTC


def test_naive_times_are_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="a naive time has no place in the database"):
        add(database, row("1", settled_at=datetime(2026, 1, 2)))  # noqa: DTZ001 - the fault under test


@pytest.mark.databases("postgresql", "sqlite")
def test_indexes_that_few_rows_need_are_partial(migrated_database_url: str) -> None:
    database = Database(migrated_database_url)
    conditions = {
        str(index["name"]): str(index.get("dialect_options", {}).get(f"{database.kind}_where", ""))
        for index in inspect(database.engine).get_indexes("recharge_orders")
    }
    database.close()

    assert "state" in conditions["ix_recharge_orders_due"]
    assert "<>" in conditions["ix_recharge_orders_changed"]
    assert "check_requested_at IS NOT NULL" in conditions["ix_recharge_orders_checked"]
    assert "suspect_group IS NOT NULL" in conditions["ix_recharge_orders_suspect_group"]


def steps_of_reading_candidates(database: Database) -> str:
    def read(connection: Connection) -> None:
        assert len(first_candidates(connection, AccountState(account="default"), Rules())) == 100

    return steps_of(database, read)


@pytest.mark.databases("postgresql")
def test_orders_are_found_by_their_ids_on_a_table_that_was_never_analysed(database: Database) -> None:
    """A new deployment, or a restored one: the planner does not know that all rows are of one account."""
    # The server would analyse it by itself, while it is small, if the rows come slowly.
    with database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE recharge_orders SET (autovacuum_enabled = false)")
    add(database, *(row(str(number)) for number in range(20_000)))
    keys = [OrderKey(account="default", request_id=str(number)) for number in range(0, 20_000, 40)]

    def read(connection: Connection) -> None:
        assert len(find_ids(connection, keys)) == 500

    steps = steps_of(database, read)
    conditions = [step for step in steps.splitlines() if "Index Cond" in step]
    assert conditions
    # Each looks up one id: none reads all orders of the account, or the whole table.
    assert all("request_id" in condition for condition in conditions), steps
    assert "Seq Scan" not in steps


def test_due_orders_are_read_by_their_index(database: Database) -> None:
    settled = {"state": OrderState.SUCCEEDED, "settled_at": NOON}
    rows = [row(str(number), **({} if number % 50 == 0 else settled)) for number in range(5000)]
    add(database, *rows)
    analyze(database)
    steps = steps_of_reading_candidates(database)

    assert "ix_recharge_orders_due" in steps
    for whole_table in ("Seq Scan on recharge_orders", "SCAN recharge_orders", "recharge_orders ALL"):
        assert whole_table not in steps, steps
    # PostgreSQL names the columns that it searches by.
    searches = [step for step in steps.splitlines() if "Index Cond" in step and "age_bucket" in step]
    assert bool(searches) == (database.kind == "postgresql")
    assert all("state" in search for search in searches), steps


@pytest.mark.parametrize("share_overdue", [0, 1])
def test_overdue_orders_are_read_by_their_index_and_not_sorted(database: Database, share_overdue: int) -> None:
    rules = Rules()
    old = NOON - timedelta(days=30)
    settled = {"state": OrderState.SUCCEEDED, "settled_at": NOON, "submitted_at": old}
    pending = {"submitted_at": old if share_overdue else NOON}
    add(database, *(row(str(number), **(settled if number % 3 else pending)) for number in range(6000)))
    analyze(database)

    def read(connection: Connection) -> None:
        statement = overdue_orders(ORDERS.c.id, before=overdue_before(NOON, rules), most=200)
        assert len(connection.execute(statement).all()) == 200 * share_overdue

    steps = steps_of(database, read)
    assert "ix_recharge_orders_overdue" in steps
    for sorting in ("Sort", "TEMP B-TREE", "filesort"):
        assert sorting not in steps, steps


def test_unresolved_orders_are_found_by_indexes_alone(database: Database) -> None:
    settled = {"state": OrderState.SUCCEEDED, "settled_at": NOON}
    unresolved = {"state": OrderState.UNRESOLVED}
    add(database, *(row(str(number), **(settled if number % 50 else unresolved)) for number in range(5000)))
    with database.write() as connection:
        ids = connection.scalars(select(ORDERS.c.id).order_by(ORDERS.c.id)).all()
        events = [OrderEvent(order_id=one, at=NOON, kind=EventKind.GAVE_UP, source=Source.QUERY) for one in ids]
        add_events(connection, events)
    analyze(database)

    def read(connection: Connection) -> None:
        assert len(unresolved_since(connection, NOON, ["default", "other"])) == 100
        assert unresolved_since(connection, NOON + timedelta(seconds=1), ["default"]) == []

    steps = steps_of(database, read)
    assert "ix_order_events_order_id" in steps
    for table in ("recharge_orders", "order_events"):
        for whole in (f"Seq Scan on {table}", f"SCAN {table}", f"{table} ALL"):
            assert whole not in steps, steps


def test_of_each_bucket_the_first_and_the_last_orders_are_read_and_no_more(database: Database) -> None:
    groups = [number % BUCKETS for number in range(BUCKETS * 30)]
    add(
        database,
        *(
            row(str(number), age_bucket=group, due_at=NOON - timedelta(seconds=number))
            for number, group in enumerate(groups)
        ),
        *(row(f"a{number}", lane=Lane.ALONE, age_bucket=number % 2) for number in range(4)),
        *(row(f"b{number}", custom_parm=f"b{number}", id_kind=IdKind.CUSTOM_PARM) for number in range(15)),
        row("ahead", due_at=NOON + timedelta(seconds=1)),
        row("settled", state=OrderState.SUCCEEDED, settled_at=NOON),
        row("foreign", account="other"),
    )
    add(database, *(row(f"s{number}", lane=Lane.SUSPECT, suspect_group=1) for number in range(4)))
    add(database, row("checked", age_bucket=3, due_at=NOON - timedelta(seconds=400), check_requested_at=NOON))
    with database.read() as connection:
        state = AccountState(account="default", echoes_custom_parm=True)
        found = first_candidates(connection, state, Rules(batch_size=10))
    assert Counter((each.lane, each.id_kind) for each in found) == {
        (Lane.BATCH, IdKind.REQUEST_ID): 10 + (BUCKETS - 1) * 20 + 1,
        (Lane.BATCH, IdKind.CUSTOM_PARM): 10,
        (Lane.ALONE, IdKind.REQUEST_ID): 2,
        (Lane.SUSPECT, IdKind.REQUEST_ID): 1,
    }
    numbers = {int(name) for name in names_of(database, found) if name.isdigit()}
    first, last = range(BUCKETS * 20, BUCKETS * 30), range(BUCKETS * 10)
    assert numbers == {*first, *(number for number in last if number % BUCKETS)}, "no last page of orders never polled"
    assert len({each.order_id for each in found}) == len(found)


def test_of_orders_that_are_polled_one_by_one_the_first_of_each_bucket_is_read(database: Database) -> None:
    """While it is unknown whether the platform echoes a customParm."""
    add(
        database,
        *(
            row(f"r{number}", custom_parm=f"c{number}", id_kind=IdKind.CUSTOM_PARM, age_bucket=number % 2)
            for number in range(6)
        ),
    )
    with database.read() as connection:
        found = first_candidates(connection, AccountState(account="default"), Rules(batch_size=10))
    assert sorted(each.age_bucket for each in found) == [0, 1]


def polled(number: int, group: int, age: timedelta, since: timedelta) -> dict[str, object]:
    polled = NOON - since
    times = {"submitted_at": polled - age, "queried_at": polled, "due_at": polled}
    return row(str(number), age_bucket=group, **times)


def test_a_batch_is_chosen_as_if_every_bucket_had_been_read_to_its_end(database: Database) -> None:
    rules = Rules()
    schedule = prior_schedule(rules)
    state = AccountState(account="default")
    minutes = timedelta(minutes=1)
    add(
        database,
        *(polled(number, 7, 11 * minutes, 600 * minutes + number * minutes) for number in range(70)),
        *(polled(100 + number, 12, 80 * minutes, 300 * minutes + number * minutes) for number in range(70)),
        *(polled(200 + number, 19, 1000 * minutes, number * minutes) for number in range(70)),
    )
    add(database, *(row(str(300 + number), submitted_at=NOON - (11 + number) * minutes) for number in range(20)))
    add(database, *(row(str(400 + number), check_requested_at=NOON - number * minutes) for number in range(3)))
    with database.read() as connection, statements_of(connection) as reads:
        choice = choose_due(connection, state, schedule, NOON, rules)
        rows = [dict(each) for each in connection.execute(select(ORDERS)).mappings()]
    names = {name: name for name in Candidate._fields if name != "is_unresolved"} | {"order_id": "id"}
    waiting = [Candidate(**{name: each[column] for name, column in names.items()}) for each in rows]

    priority = partial(priority_of, schedule=schedule, now=NOON)
    assert choice is not None
    assert choice.picks == pick_batch(waiting, 100, priority=priority, batch_number=0)
    assert len(reads) == 3, "two reads of candidates, and the one of this test"
    taken = Counter(each.age_bucket for each in waiting if each.order_id in choice.order_ids)
    assert taken[7] > PAGE_SIZE or taken[12] > PAGE_SIZE, "a page would not have been enough"


def names_of(database: Database, found: list[Candidate]) -> list[str]:
    with database.read() as connection:
        names = connection.execute(
            select(ORDERS.c.request_id).where(ORDERS.c.id.in_([each.order_id for each in found]))
        )
        return [name or "" for (name,) in names]


def test_candidates_keep_their_times(database: Database) -> None:
    times = {name: NOON - timedelta(microseconds=number) for number, name in enumerate(("submitted_at", "due_at"))}
    later = {"queried_at": NOON - timedelta(minutes=1), "check_requested_at": NOON + timedelta(microseconds=7)}
    add(database, row("1", **times, **later))
    with database.read() as connection:
        (found,) = first_candidates(connection, AccountState(account="default"), Rules(batch_size=10))
    assert {name: getattr(found, name) for name in (*times, *later)} == {**times, **later}
    assert (found.lane, found.id_kind) == (Lane.BATCH, IdKind.REQUEST_ID)


def test_due_orders_come_in_the_order_of_their_index(database: Database) -> None:
    add(database, *(row(str(number), due_at=NOON + timedelta(seconds=number % 7)) for number in range(500)))
    analyze(database)
    oldest_due = (
        select(ORDERS.c.due_at)
        .where(
            ORDERS.c.account == "default",
            ORDERS.c.state == literal_column("'pending'"),
            ORDERS.c.lane == Lane.BATCH,
            ORDERS.c.id_kind == IdKind.REQUEST_ID,
            ORDERS.c.age_bucket == 0,
            ORDERS.c.due_at <= NOON + timedelta(seconds=3),
        )
        .order_by(ORDERS.c.due_at)
        .limit(100)
    )
    compiled = oldest_due.compile(database.engine, compile_kwargs={"literal_binds": True})
    with database.read() as connection:
        times = connection.scalars(oldest_due).all()
        steps = plan(database, connection, str(compiled).replace("%", "%%"), ())

    assert times == sorted(times)
    for sorting in ("Sort", "TEMP B-TREE", "filesort"):
        assert sorting not in steps, steps
