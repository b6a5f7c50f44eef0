"""A planned pause begins and ends by itself, by the database's clock, and stands beside one that holds."""

from datetime import timedelta

import pytest

from tests.support.reconciling import Workbench, answer_to, item
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


def test_a_pause_and_a_planned_one_do_not_end_each_other(bench: Workbench) -> None:
    bench.add("1", age_seconds=3600.0)
    plan(bench, after=200.0, lasts=200.0)
    pause_accounts(bench.database, BOB, ["default"], lasts=timedelta(seconds=100))
    held = []
    for _ in range(5):
        held.append(rests(bench))
        wait(bench, 95.0)
    # At 0 s, 95 s, 190 s, 285 s and 380 s.
    assert held == [True, True, False, True, True]
    assert not rests(bench)


def test_what_is_planned_while_a_planned_pause_holds_does_not_end_it(bench: Workbench) -> None:
    bench.add("1", age_seconds=3600.0)
    plan(bench, after=10.0, lasts=100.0)
    wait(bench, 20.0)
    plan(bench, after=1_000.0, lasts=100.0, who=BOB)
    held = bench.state().pause(bench.now())
    assert held is not None
    assert (held.paused_by, rests(bench)) == ("ann", True)
    assert resume_account(bench.database, ANN, "default").was_paused
    assert not rests(bench)
    wait(bench, 1_000.0)
    assert rests(bench)


def test_what_was_planned_otherwise_since_it_was_shown_is_not_cancelled(bench: Workbench) -> None:
    bench.add("1", age_seconds=3600.0)
    plan(bench, after=100.0, lasts=100.0)
    shown = bench.state().planned_pause(bench.now())
    plan(bench, after=200.0, lasts=100.0, who=BOB)
    assert cancel_planned_pauses(bench.database, ANN, ["default"], shown) == {}
    planned = bench.state().planned_pause(bench.now())
    assert cancel_planned_pauses(bench.database, ANN, ["default"], planned) == {"default": planned}
    wait(bench, 250.0)
    assert not rests(bench)
