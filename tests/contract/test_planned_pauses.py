"""A planned pause begins and ends by itself, by the database's clock, and stands beside any other."""

from datetime import timedelta

import pytest

from tests.support.reconciling import Workbench, answer_to, item
from tests.support.sql import statements_of
from worker.database.tables import ACTS, PAUSES
from worker.domain.records.orders import OrderState
from worker.operations.act_by_hand import Operator, cancel_planned_pauses, pause_accounts, resume_account
from worker.operations.reserve_slot import read_resting

ANN = Operator(name="ann", reason="ticket 77")
BOB = Operator(name="bob", reason="ticket 78")


@pytest.fixture(autouse=True)
def _only_the_test_moves_the_clock(bench: Workbench) -> None:
    bench.database.stopped_at = bench.now()


def plan(bench: Workbench, *, after: float, lasts: float, who: Operator = ANN) -> None:
    begins = bench.now() + timedelta(seconds=after)
    pause_accounts(bench.database, who, ["default"], begins=begins, ends=begins + timedelta(seconds=lasts))


def wait(bench: Workbench, seconds: float) -> None:
    bench.clock.advance(seconds)
    bench.database.step += timedelta(seconds=seconds)


def rests(bench: Workbench) -> bool:
    return "default" in read_resting(bench.database, ["default"])


def may_query(bench: Workbench) -> bool:
    return bench.grants.take(bench.slot) is not None


def test_a_query_that_was_granted_before_a_planned_pause_ends_as_ever_and_none_follows(bench: Workbench) -> None:
    bench.add("1", "2", age_seconds=3600.0)
    plan(bench, after=5.0, lasts=600.0)
    query = bench.take()
    wait(bench, 6.0)
    bench.write_back.answered(query, answer_to(query, [item("1", amount="2.94")]))
    assert bench.order("1").state is OrderState.SUCCEEDED
    wait(bench, 300.0)
    bench.make_due()
    assert (rests(bench), may_query(bench)) == (True, False)
    wait(bench, 300.0)
    assert (rests(bench), may_query(bench)) == (False, True)


def test_one_plan_of_several_is_cancelled_and_without_a_choice_all_are(bench: Workbench) -> None:
    for after in (300.0, 100.0, 500.0):
        plan(bench, after=after, lasts=100.0)
    first, second, third = bench.state().planned_pauses(bench.now())
    assert cancel_planned_pauses(bench.database, ANN, ["default"], second) == {"default": [second]}
    # A page showed it before it was cancelled.
    assert cancel_planned_pauses(bench.database, BOB, ["default"], second) == {}
    assert cancel_planned_pauses(bench.database, ANN, ["default"]) == {"default": [first, third]}
    assert bench.rows(PAUSES) == []
    details = [row["detail"].partition(" from ")[0] for row in bench.rows(ACTS) if row["act"] == "resume"]
    assert details == ["cancelled the planned pause", "cancelled 2 planned pauses, the first"]


def test_a_plan_whose_end_has_passed_is_harmless_and_deleted_with_the_next_query(bench: Workbench) -> None:
    bench.add("1", age_seconds=3600.0)
    plan(bench, after=10.0, lasts=10.0)
    plan(bench, after=5_000.0, lasts=10.0, who=BOB)
    wait(bench, 30.0)
    assert not rests(bench)
    assert not resume_account(bench.database, ANN, "default").is_resumed
    assert len(bench.rows(PAUSES)) == 2
    assert may_query(bench)
    assert [row["paused_by"] for row in bench.rows(PAUSES)] == ["bob"]


def test_many_accounts_are_paused_in_as_many_statements_as_one(bench: Workbench) -> None:
    def statements(accounts: list[str]) -> int:
        with statements_of(bench.database.engine) as seen:
            pause_accounts(bench.database, ANN, accounts)
            assert cancel_planned_pauses(bench.database, ANN, accounts).keys() == {*accounts}
        return sum("account_" in statement for statement, _ in seen)

    names = [f"a{number}" for number in range(20)]
    begins = bench.now() + timedelta(seconds=100)
    pause_accounts(bench.database, ANN, names, begins=begins, ends=begins + timedelta(seconds=100))
    assert statements(names[:1]) == statements(names[1:])
    assert {row["is_planned"] for row in bench.rows(PAUSES)} == {False}


def test_an_account_without_a_pause_is_read_without_its_pauses(bench: Workbench) -> None:
    def statements() -> int:
        with statements_of(bench.database.engine) as seen:
            assert not bench.state().is_paused(bench.now())
        return sum("account_pauses" in statement for statement, _ in seen)

    assert statements() == 0
    plan(bench, after=10.0, lasts=10.0)
    assert statements() == 1
    cancel_planned_pauses(bench.database, ANN, ["default"])
    assert statements() == 0
