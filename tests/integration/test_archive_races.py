"""An order is named while it is moved: before each statement of one operation, the whole of the other runs.

A known order stays known, is in one table with all its events, and is settled once.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from sqlalchemy import event

from tests.support.archiving import (
    MOBILE,
    add_settled,
    archive,
    archived_names,
    callback,
    order_of,
    settled_before,
    standing,
)
from tests.support.racing import READ_SECONDS, Operation, Race, rounds
from tests.support.reconciling import Workbench
from tests.support.waiting import eventually
from worker.database.migrations import downgrade
from worker.database.revisions import MigrationError
from worker.database.tables import ARCHIVED
from worker.operations.archive_and_purge import move_settled, restore_all

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgresql", "mariadb")]

DUPLICATE = {"accepted": 0, "duplicates": 1, "rejected": []}


def put_into_archive(bench: Workbench, name: str) -> None:
    add_settled(bench, name)
    archive(bench)
    assert f"r-{name}" in archived_names(bench)


def enqueue(name: str, by: str) -> Operation:
    whole = order_of(name)
    fields = {"mobile", "request_id", "custom_parm"} if by == "both" else {"mobile", by}
    return lambda bench: bench.intake.enqueue_orders([{field: whole[field] for field in sorted(fields)}])


def enqueue_twice_in_a_list(name: str) -> Operation:
    """An id that is named twice is looked up first, on every database."""
    named = [{"request_id": f"r-{name}"}, {"custom_parm": f"c-{name}", "mobile": MOBILE}, {"request_id": f"r-{name}"}]
    return lambda bench: bench.intake.enqueue_orders(named)


def enqueue_all(*names: str) -> Operation:
    return lambda bench: bench.intake.enqueue_orders([order_of(name) for name in names])


def contradict(name: str) -> Operation:
    return lambda bench: bench.intake.record_callbacks([callback(f"r-{name}", status="-1", amount="0")])


@pytest.mark.parametrize("archive_first", [True, False])
@pytest.mark.parametrize("by", ["request_id", "custom_parm", "both"])
def test_an_order_that_comes_again_while_it_is_archived_is_a_duplicate(
    race: Race, by: str, archive_first: bool
) -> None:
    def run(name: str, number: int) -> tuple[Any, Any] | None:
        add_settled(race.observer, name)
        return race.run_either(archive, enqueue(name, by), number, one_first=archive_first)

    for name, _, answer in rounds(run):
        assert answer == DUPLICATE, name
        ((_, _, state, kinds),) = standing(race.observer, name)
        assert (state, kinds) == ("succeeded", ["settled"])


@pytest.mark.parametrize("others", [["new"], ["new", "archived"]], ids=["beside_a_new_one", "and_an_archived_one"])
def test_an_order_that_is_archived_and_restored_while_it_comes_again_is_a_duplicate(
    race: Race, others: list[str]
) -> None:
    def run(number: int, later: int) -> bool:
        moved, names = f"moved{number}-{later}", [f"{other}{number}-{later}" for other in others]
        for name in names[1:]:
            put_into_archive(race.observer, name)
        add_settled(race.observer, moved)
        answers = race.run(enqueue_all(*names, moved), number, archive, (later, contradict(moved)))
        if answers is None:
            return False
        assert answers[0] == {"accepted": 1, "duplicates": len(others), "rejected": []}, (number, later)
        assert_contradicted(race, moved)
        assert [kinds for name in names[1:] for *_, kinds in standing(race.observer, name)] == [["settled"]] * (
            len(others) - 1
        )
        return True

    tried = 0
    for number in count(1):
        before = tried
        for later in count(number + 1):
            if not run(number, later):
                break
            tried += 1
        if tried == before:
            break
    assert tried > 8, "hardly anything was tried"


@pytest.mark.parametrize("archive_first", [True, False])
def test_an_order_that_a_list_names_twice_is_a_duplicate_while_it_is_moved(race: Race, archive_first: bool) -> None:
    def run(name: str, number: int) -> tuple[Any, Any] | None:
        add_settled(race.observer, name)
        return race.run_either(archive, enqueue_twice_in_a_list(name), number, one_first=archive_first)

    for name, _, answer in rounds(run):
        assert answer == {"accepted": 0, "duplicates": 3, "rejected": []}, name
        assert [kinds for _, _, _, kinds in standing(race.observer, name)] == [["settled"]]


@pytest.mark.parametrize("callback_first", [True, False])
def test_a_contradiction_while_an_order_is_archived_is_seen(race: Race, callback_first: bool) -> None:
    def run(name: str, number: int) -> tuple[Any, Any] | None:
        add_settled(race.observer, name)
        return race.run_either(contradict(name), archive, number, one_first=callback_first)

    for name, *_ in rounds(run):
        assert_contradicted(race, name)
        assert race.observer.order(f"r-{name}").attention == "late_conflict"


@pytest.mark.parametrize("callback_first", [True, False])
def test_an_archived_order_that_two_name_at_once_is_restored_once(race: Race, callback_first: bool) -> None:
    def run(name: str, number: int) -> tuple[Any, Any] | None:
        put_into_archive(race.observer, name)
        return race.run_either(contradict(name), enqueue(name, "custom_parm"), number, one_first=callback_first)

    for name, _, answer in rounds(run):
        assert answer == DUPLICATE, name
        assert_contradicted(race, name)


def assert_contradicted(race: Race, name: str) -> None:
    """The order is in the live table alone, as it was settled, and the contradiction is recorded."""
    ((table, _, state, kinds),) = standing(race.observer, name)
    assert (table, state, kinds) == ("recharge_orders", "succeeded", ["settled", "contradicted"]), name


def test_two_archives_at_once_move_each_order_once(race: Race) -> None:
    names = [f"n{number}" for number in range(900)]
    add_settled(race.observer, *names)
    with ThreadPoolExecutor(2) as threads:
        moved = list(threads.map(archive, (race.one, race.other)))
    # One skips what the other holds locked; the next run moves what neither did.
    assert sum(moved) + archive(race.one) == len(names)
    assert sorted(archived_names(race.observer)) == sorted(f"r-{name}" for name in names)
    with ThreadPoolExecutor(2) as threads:
        restored = list(threads.map(lambda bench: sum(restore_all(bench.database)), (race.one, race.other)))
    assert sum(restored) == len(names)
    assert len(race.observer.orders()) == len(names)
    assert race.observer.rows(ARCHIVED) == []


def test_a_downgrade_waits_for_the_archive_and_then_refuses(race: Race, migrated_database_url: str) -> None:
    add_settled(race.observer, "a")
    before = settled_before(race.observer)
    with ThreadPoolExecutor(1) as threads:
        futures: list[Future[None]] = []

        def step(_: object) -> None:
            futures.append(threads.submit(downgrade, migrated_database_url, "0003"))
            eventually(lambda: futures[0].done() or race.waits(), "the downgrade waits", every=READ_SECONDS)

        event.listen(race.one.database.engine, "commit", step, once=True)
        # Its first commit is that of the move.
        assert sum(move_settled(race.one.database, before)) == 1
        with pytest.raises(MigrationError, match="archived_orders holds orders"):
            futures[0].result()
    with race.observer.database.read() as connection:
        # The newer revisions are gone by then, and their columns.
        names = connection.exec_driver_sql("SELECT request_id FROM archived_orders").scalars().all()
    assert names == ["r-a"]
