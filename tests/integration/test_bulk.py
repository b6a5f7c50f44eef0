"""Many rows in one statement: the same values are stored, however the database receives them."""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError, StatementError

from tests.support.sql import statements_of
from worker.database.bulk_statements import insert_rows, one_of
from worker.database.tables import ORDERS
from worker.database.transactions import Database, RaceLost
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Attention, IdKind, Lane, Order, OrderState, version_at
from worker.stores.recharge_orders import lock_by_ids, save_changes, to_values

NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)
TEXTS = ("成功", "😀", 'a "quote", a \\ and a \' and %s', "{1,NULL}", "NULL", "", "a line\nand\tanother", "\\u0041")


@pytest.fixture
def database(migrated_database_url: str) -> Iterator[Database]:
    opened = Database(migrated_database_url)
    yield opened
    opened.close()


def order(number: int, **changes: Any) -> Order:
    plain = Order(id=-1, account="default", request_id=f"{number:04d}", submitted_at=NOON, due_at=NOON, created_at=NOON)
    return replace(plain, **changes)


def put(database: Database, *orders: Order) -> None:
    with database.write() as connection:
        insert_rows(connection, ORDERS, [to_values(one, NOON) for one in orders])


def kept(database: Database) -> list[Order]:
    with database.read() as connection:
        ids = list(connection.scalars(select(ORDERS.c.id).order_by(ORDERS.c.request_id)))
        return sorted(lock_by_ids(connection, ids), key=lambda one: one.request_id or "")


def without_id(orders: list[Order]) -> list[dict[str, object]]:
    return [{field.name: getattr(one, field.name) for field in fields(one) if field.name != "id"} for one in orders]


def full(number: int, remark: str) -> Order:
    return order(
        number,
        custom_parm=f"bill-{number}",
        mobile="18812340804",
        expected_amount=Decimal("9999999999.9999"),
        remark=remark,
        attention=Attention.AMOUNT_MISMATCH,
        traffic_sts=-1,
        submitted_at=NOON.astimezone(timezone(timedelta(hours=8))),
        lease_token="f" * 32,
        absence_mark=2**60,
    )


def test_rows_are_inserted_as_they_are(database: Database) -> None:
    orders = [full(number, remark) for number, remark in enumerate(TEXTS)] + [order(100)]
    put(database, *orders)
    assert without_id(kept(database)) == without_id(orders)


def test_rows_are_changed_each_to_values_of_its_own(database: Database) -> None:
    put(database, *(order(number) for number in range(len(TEXTS) + 1)))
    before = kept(database)
    after = [replace(full(number, remark), id=before[number].id) for number, remark in enumerate(TEXTS)]
    with database.write() as connection:
        save_changes(connection, [Change(before=a, after=b) for a, b in zip(before, after, strict=False)], NOON)
    saved = [replace(two, version=one.next_version(NOON)) for one, two in zip(before, after, strict=False)]
    assert without_id(kept(database)) == without_id([*saved, before[-1]])


def test_a_row_that_changed_since_it_was_read_rolls_back_all(database: Database) -> None:
    put(database, order(1), order(2, state=OrderState.CANCELLED))
    known = kept(database)
    read = [known[0], replace(known[1], state=OrderState.PENDING)]
    changes = [Change(before=one, after=replace(one, remark="new")) for one in read]
    with pytest.raises(RaceLost), database.write() as connection:
        save_changes(connection, changes, NOON)
    assert kept(database) == known


def test_one_row_that_is_there_already_keeps_all_out(database: Database) -> None:
    put(database, order(1))
    with pytest.raises(IntegrityError):
        put(database, order(2), order(1))
    assert [one.request_id for one in kept(database)] == ["0001"]


def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises((ValueError, StatementError), match="a naive time has no place in the database"):
        put(database, order(1, due_at=datetime(2026, 1, 2)))  # noqa: DTZ001 - the fault under test


@pytest.mark.databases("postgresql")
def test_a_list_is_one_statement(database: Database) -> None:
    with statements_of(database.engine) as executed:
        put(database, *(order(number) for number in range(500)))
    assert len(executed) == 1


def test_rows_are_found_by_any_of_several_values(database: Database) -> None:
    put(database, *(order(number) for number in range(5)))
    with database.read() as connection:
        named = one_of(connection, ORDERS.c.request_id, ["0001", "0003", "9999"])
        assert sorted(connection.scalars(select(ORDERS.c.request_id).where(named))) == ["0001", "0003"]
        assert not list(connection.scalars(select(ORDERS.c.id).where(one_of(connection, ORDERS.c.id, []))))


def test_only_what_has_changed_is_written(database: Database) -> None:
    put(database, order(1), order(2))
    one, other = kept(database)
    with database.write() as connection:
        connection.execute(update(ORDERS).values(mobile="18812340804"))
        changes = [
            Change(before=one, after=replace(one, remark="new")),
            Change(before=other, after=replace(other, absences=1)),
        ]
        save_changes(connection, changes, NOON)
    assert kept(database) == [
        replace(one, remark="new", mobile="18812340804", version=version_at(NOON)),
        replace(other, absences=1, mobile="18812340804", version=version_at(NOON)),
    ]


def test_the_version_of_a_row_grows_with_each_change_whatever_the_clock_says(database: Database) -> None:
    put(database, order(1), order(2, version=version_at(NOON) + 5), order(3, version=7))
    for now in (NOON, NOON - timedelta(days=1), NOON + timedelta(milliseconds=1)):
        before = kept(database)
        with database.write() as connection:
            changes = [Change(before=one, after=replace(one, absences=one.absences + 1)) for one in before[:2]]
            save_changes(connection, changes, now)
        after = kept(database)
        assert [one.version for one in after[:2]] == [one.next_version(now) for one in before[:2]]
        assert all(new.version > old.version for old, new in zip(before[:2], after[:2], strict=True))
        assert after[2] == before[2]


def test_columns_that_follow_from_others_are_written_with_them(database: Database) -> None:
    put(database, order(1, request_id=None, custom_parm="bill-1", age_bucket=9))
    with database.write() as connection:
        (before,) = lock_by_ids(connection, list(connection.scalars(select(ORDERS.c.id))))
        after = replace(before, request_id="0001", lane=Lane.ALONE)
        save_changes(connection, [Change(before=before, after=after)], NOON)
        row = connection.execute(select(ORDERS.c.id_kind, ORDERS.c.age_bucket)).one()
    assert tuple(row) == (IdKind.REQUEST_ID, 1)
