"""Whoever names an order at the very moment at which it is moved: at each statement of the one, the whole of the other.

What is known stays known, stands in one table with all its events, and is settled once.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from alembic.util import CommandError
from sqlalchemy import event

from tests.support.archiving import ARCHIVED, MOBILE, add_settled, archived_names, callback, order_of, standing
from tests.support.reconciling import Workbench
from tests.support.waiting import eventually
from worker.database.migrations import downgrade
from worker.operations.archive import move_settled, restore_all

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgresql", "mariadb"), pytest.mark.timeout(300)]

DUPLICATE = {"accepted": 0, "duplicates": 1, "rejected": []}
_LOCK_WAITS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) FROM information_schema.processlist p LEFT JOIN information_schema.innodb_trx t"
    " ON p.id = t.trx_mysql_thread_id"
    " WHERE p.db = database() AND (t.trx_state = 'LOCK WAIT' OR p.state = 'Waiting for table metadata lock')",
}
# MariaDB shows what it has shown before to whoever looks again within 0.1 s.
_READ_SECONDS = 0.15

Act = Callable[[Workbench], Any]


@dataclass
class Stage:
    """Three processes on one database, and an onlooker."""

    one: Workbench
    other: Workbench
    third: Workbench
    onlooker: Workbench

    def play(
        self, first: Act, number: int, second: Act, later: tuple[int, Act] | None = None
    ) -> tuple[Any, Any] | None:
        """Run the first act, and before its statement or commit of this number the second, as far as that comes.

        `later` is a third, and before which statement of the first it runs. Returns what the first two told; None where
        the first act has not so many statements.
        """
        seen = count(1)
        acts = {number: (second, self.other)}
        if later:
            acts[later[0]] = (later[1], self.third)
        futures: list[Future[Any]] = []

        def step(*_: object) -> None:
            act, bench = acts.get(next(seen), (None, self.other))
            if act:
                futures.append(threads.submit(act, bench))
                eventually(
                    lambda: all(future.done() for future in futures) or self.waits(),
                    "the other acts end, or wait for the first",
                    every=_READ_SECONDS,
                )

        engine = self.one.database.engine
        names = ("before_cursor_execute", "commit")
        with ThreadPoolExecutor(2) as threads:
            for name in names:
                event.listen(engine, name, step)
            try:
                told = first(self.one)
            finally:
                for name in names:
                    event.remove(engine, name, step)
            answers = [future.result() for future in futures]
        return (told, answers[0]) if len(answers) == len(acts) else None

    def waits(self) -> bool:
        """Whether anybody waits for somebody else's lock."""
        with self.onlooker.database.read() as connection:
            statement = _LOCK_WAITS[self.onlooker.database.kind]
            return bool(connection.exec_driver_sql(statement).scalar_one())


@pytest.fixture
def stage(migrated_database_url: str) -> Iterator[Stage]:
    benches = [Workbench(migrated_database_url) for _ in range(4)]
    yield Stage(*benches)
    for bench in benches:
        bench.close()


def archive(bench: Workbench) -> int:
    with bench.database.read() as connection:
        before = bench.database.now(connection) - timedelta(days=90)
    return sum(move_settled(bench.database, before))


def put_into_archive(bench: Workbench, name: str) -> None:
    add_settled(bench, name)
    archive(bench)
    assert f"r-{name}" in archived_names(bench)


def enqueue(name: str, by: str) -> Act:
    whole = order_of(name)
    fields = {"mobile", "request_id", "custom_parm"} if by == "both" else {"mobile", by}
    return lambda bench: bench.intake.enqueue_orders([{field: whole[field] for field in sorted(fields)}])


def enqueue_twice_in_a_list(name: str) -> Act:
    """An id that is named twice is looked for first, on every database."""
    named = [{"request_id": f"r-{name}"}, {"custom_parm": f"c-{name}", "mobile": MOBILE}, {"request_id": f"r-{name}"}]
    return lambda bench: bench.intake.enqueue_orders(named)


def enqueue_all(*names: str) -> Act:
    return lambda bench: bench.intake.enqueue_orders([order_of(name) for name in names])


def contradict(name: str) -> Act:
    return lambda bench: bench.intake.record_callbacks([callback(f"r-{name}", status="-1", amount="0")])


def rounds(stage: Stage, play: Callable[[str, int], tuple[Any, Any] | None]) -> Iterator[tuple[str, Any, Any]]:
    """Play for each statement there is, each time with an order of its own; tells the order, and what both told."""
    for number in count(1):
        name = f"n{number}"
        told = play(name, number)
        if told is None:
            assert number > 4, "the first act has hardly a statement: nothing was tried"
            return
        yield name, *told


@pytest.mark.parametrize("by", ["request_id", "custom_parm", "both"])
def test_an_order_that_comes_again_while_it_is_archived_is_a_duplicate(stage: Stage, by: str) -> None:
    def play(name: str, number: int) -> tuple[Any, Any] | None:
        add_settled(stage.onlooker, name)
        return stage.play(archive, number, enqueue(name, by))

    for name, _, answer in rounds(stage, play):
        assert answer == DUPLICATE, name
        ((_, _, state, kinds),) = standing(stage.onlooker, name)
        assert (state, kinds) == ("succeeded", ["settled"])


@pytest.mark.parametrize("by", ["request_id", "custom_parm", "both"])
def test_an_order_that_is_archived_while_it_comes_again_is_a_duplicate(stage: Stage, by: str) -> None:
    def play(name: str, number: int) -> tuple[Any, Any] | None:
        add_settled(stage.onlooker, name)
        return stage.play(enqueue(name, by), number, archive)

    for name, answer, _ in rounds(stage, play):
        assert answer == DUPLICATE, name
        ((_, _, state, kinds),) = standing(stage.onlooker, name)
        assert (state, kinds) == ("succeeded", ["settled"])


@pytest.mark.parametrize("others", [["new"], ["new", "archived"]], ids=["beside_a_new_one", "and_an_archived_one"])
def test_an_order_that_is_archived_and_restored_while_it_comes_again_is_a_duplicate(
    stage: Stage, others: list[str]
) -> None:
    def play(number: int, later: int) -> bool:
        moved, names = f"moved{number}-{later}", [f"{other}{number}-{later}" for other in others]
        for name in names[1:]:
            put_into_archive(stage.onlooker, name)
        add_settled(stage.onlooker, moved)
        told = stage.play(enqueue_all(*names, moved), number, archive, (later, contradict(moved)))
        if told is None:
            return False
        assert told[0] == {"accepted": 1, "duplicates": len(others), "rejected": []}, (number, later)
        ((table, _, state, kinds),) = standing(stage.onlooker, moved)
        assert (table, state, kinds) == ("recharge_orders", "succeeded", ["settled", "contradicted"]), (number, later)
        assert [kinds for name in names[1:] for *_, kinds in standing(stage.onlooker, name)] == [["settled"]] * (
            len(others) - 1
        )
        return True

    played = 0
    for number in count(1):
        before = played
        for later in count(number + 1):
            if not play(number, later):
                break
            played += 1
        if played == before:
            break
    assert played > 8, "hardly anything was tried"


def test_an_order_that_a_list_names_twice_is_a_duplicate_while_it_is_moved(stage: Stage) -> None:
    for moved_first in (True, False):

        def play(name: str, number: int, moved_first: bool = moved_first) -> tuple[Any, Any] | None:
            name = f"{name}{moved_first}"
            add_settled(stage.onlooker, name)
            acts = (archive, enqueue_twice_in_a_list(name))
            told = stage.play(acts[not moved_first], number, acts[moved_first])
            return told if told is None or moved_first else (told[1], told[0])

        for name, _, answer in rounds(stage, play):
            assert answer == {"accepted": 0, "duplicates": 3, "rejected": []}, name
            assert [kinds for _, _, _, kinds in standing(stage.onlooker, f"{name}{moved_first}")] == [["settled"]]


@pytest.mark.parametrize("callback_first", [True, False])
def test_a_contradiction_while_an_order_is_archived_is_seen(stage: Stage, callback_first: bool) -> None:
    def play(name: str, number: int) -> tuple[Any, Any] | None:
        add_settled(stage.onlooker, name)
        acts = (contradict(name), archive)
        return stage.play(acts[not callback_first], number, acts[callback_first])

    for name, *_ in rounds(stage, play):
        ((table, _, state, kinds),) = standing(stage.onlooker, name)
        assert (table, state, kinds) == ("recharge_orders", "succeeded", ["settled", "contradicted"]), name
        assert stage.onlooker.order(f"r-{name}").attention == "late_conflict"


@pytest.mark.parametrize("callback_first", [True, False])
def test_an_archived_order_that_two_name_at_once_comes_back_once(stage: Stage, callback_first: bool) -> None:
    def play(name: str, number: int) -> tuple[Any, Any] | None:
        put_into_archive(stage.onlooker, name)
        acts = (contradict(name), enqueue(name, "custom_parm"))
        told = stage.play(acts[not callback_first], number, acts[callback_first])
        return told if told is None or callback_first else (told[1], told[0])

    for name, _, answer in rounds(stage, play):
        assert answer == DUPLICATE, name
        ((table, _, state, kinds),) = standing(stage.onlooker, name)
        assert (table, state, kinds) == ("recharge_orders", "succeeded", ["settled", "contradicted"])


def test_two_archives_at_once_move_each_order_once(stage: Stage) -> None:
    names = [f"n{number}" for number in range(900)]
    add_settled(stage.onlooker, *names)
    with ThreadPoolExecutor(2) as threads:
        moved = list(threads.map(archive, (stage.one, stage.other)))
    # What one of them holds locked the other passes over; the next run moves what nobody did.
    assert sum(moved) + archive(stage.one) == len(names)
    assert sorted(archived_names(stage.onlooker)) == sorted(f"r-{name}" for name in names)
    with ThreadPoolExecutor(2) as threads:
        restored = list(threads.map(lambda bench: sum(restore_all(bench.database)), (stage.one, stage.other)))
    assert sum(restored) == len(names)
    assert len(stage.onlooker.orders()) == len(names)
    assert stage.onlooker.rows(ARCHIVED) == []


def test_a_downgrade_waits_for_the_archive_and_then_refuses(stage: Stage, migrated_database_url: str) -> None:
    add_settled(stage.onlooker, "a")
    with stage.onlooker.database.read() as connection:
        before = stage.onlooker.database.now(connection) - timedelta(days=90)
    with ThreadPoolExecutor(1) as threads:
        futures: list[Future[None]] = []

        def step(_: object) -> None:
            futures.append(threads.submit(downgrade, migrated_database_url, "0003"))
            eventually(lambda: futures[0].done() or stage.waits(), "the downgrade waits", every=_READ_SECONDS)

        event.listen(stage.one.database.engine, "commit", step, once=True)
        assert sum(move_settled(stage.one.database, before)) == 1
        with pytest.raises(CommandError, match="archived_orders holds orders"):
            futures[0].result()
    assert archived_names(stage.onlooker) == ["r-a"]
