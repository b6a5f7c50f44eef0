"""Observations of orders, callbacks and answers, on every database: stored once, learned once, and made a schedule."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from sqlalchemy import insert, select, update

from tests.support.reconciling import Workbench, answer_to, item
from tests.support.settled_orders import callback
from worker.database.tables import OBSERVATIONS, SCHEDULES
from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import Observations
from worker.domain.scheduling.learning import RELEARN_WINDOWS, Learned
from worker.domain.scheduling.poll_schedule import SPARE_WAITS, PollSchedule, prior_schedule
from worker.domain.scheduling.stored_json import read_learned, read_observations
from worker.operations import learn
from worker.operations.learn import Learning, add_observations, read_schedule

RULES = Rules(grace_seconds=600.0)

pytestmark = pytest.mark.workbench(rules=RULES, app_ids={"default": "app-1", "b": "app-2"})


def observed(bench: Workbench, account: str = "default") -> Observations:
    """All observations of an account that wait to be learned."""
    observations = Observations()
    for row in bench.rows(OBSERVATIONS):
        if row["account"] == account:
            observations.add(read_observations(row["observations"], bench.rules))
    return observations


def relearn(bench: Workbench, *accounts: str) -> bool:
    """Learn as a process does that has just been started."""
    return Learning(bench.database, bench.rules).relearn(accounts or tuple(bench.app_ids))


def stored(bench: Workbench, account: str = "default") -> Learned:
    with bench.database.read() as connection:
        text = connection.scalar(select(SCHEDULES.c.learned).where(SCHEDULES.c.account == account))
    learned = read_learned(str(text), bench.rules)
    assert learned is not None
    return learned


def schedule_of(bench: Workbench, account: str = "default", rules: Rules | None = None) -> PollSchedule:
    with bench.database.read() as connection:
        return read_schedule(connection, account, rules or bench.rules)


def computed_at(bench: Workbench) -> dict[str, datetime]:
    with bench.database.read() as connection:
        rows = connection.execute(select(SCHEDULES.c.account, SCHEDULES.c.computed_at))
        return {row.account: row.computed_at for row in rows}


def let_it_be_due(bench: Workbench, account: str = "default", windows: int = RELEARN_WINDOWS) -> None:
    with bench.database.write() as connection:
        past = bench.database.now(connection) - bench.rules.windows(windows)
        connection.execute(update(SCHEDULES).where(SCHEDULES.c.account == account).values(computed_at=past))


def observe(bench: Workbench, *accounts: str, times: int = 1) -> None:
    for _ in range(times):
        with bench.database.write() as connection:
            now = bench.database.now(connection)
            observations = Observations()
            observations.submitted[int(now.timestamp() // 600)] += 1
            add_observations(connection, dict.fromkeys(accounts or ("default",), observations), now, bench.rules)


# ---- what is observed


def test_an_order_is_observed_once_however_often_it_is_sent(bench: Workbench) -> None:
    bench.add("a", "b", age_seconds=60.0)
    bench.add("a", "b", "c", age_seconds=60.0)
    assert observed(bench).submitted.total() == 3
    assert len(bench.rows(OBSERVATIONS)) == 2, "one row for a transaction"


def test_a_callback_that_came_before_its_order_is_observed_with_it(bench: Workbench) -> None:
    bench.intake.record_callbacks([callback("a")])
    assert not observed(bench)
    bench.add("a", age_seconds=1.0)
    observations = observed(bench)
    assert (observations.submitted.total(), observations.called_back.total()) == (1, 1)


def test_polls_are_observed_once_of_believed_items_and_held_orders(bench: Workbench) -> None:
    bench.add("won", "open", "absent", "odd", age_seconds=60.0)
    bench.make_due()
    query = bench.take()
    answer = answer_to(query, [item("won"), item("open", "0", None), item("odd", "17", None)])
    for _ in range(2):
        bench.write_back.answered(query, answer)
    assert sorted(poll.is_hit for poll in observed(bench).polls.elements()) == [False, True]


def test_a_stale_answer_is_not_observed(bench: Workbench) -> None:
    bench.add("a", age_seconds=60.0)
    bench.make_due()
    stale, _ = bench.take_twice()
    bench.write_back.answered(stale, answer_to(stale, [item("a")]))
    assert not observed(bench).polls


# ---- what is learned


def test_observations_are_learned_once_and_change_the_schedule(bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(300)), age_seconds=60.0)
    bench.intake.record_callbacks([callback(f"r{number}") for number in range(280)])
    assert relearn(bench)
    assert bench.rows(OBSERVATIONS) == []
    assert not relearn(bench), "not again within ten windows"
    let_it_be_due(bench)
    assert relearn(bench)
    (cohort, *rest) = stored(bench).cohorts.values()
    assert (cohort.size, cohort.called_back.total(), rest) == (300, 280, [])
    assert schedule_of(bench) != prior_schedule(RULES)
    assert schedule_of(bench) is schedule_of(bench), "the text is read once"


def test_a_grant_and_a_write_back_use_the_stored_schedule(bench: Workbench) -> None:
    observe(bench)
    # More than fits one batch.
    bench.add(*(f"r{number}" for number in range(101)), age_seconds=0.0)
    assert relearn(bench)
    bench.add("a", age_seconds=60_000.0)
    query = bench.reconcile([item("a", "0", None)])
    expected = schedule_of(bench).due_age(60_000.0) - 60_000.0
    waited = (bench.order("a").due_at - query.sent_at).total_seconds()
    assert waited == pytest.approx(min(expected, 360 * 60), rel=0.02)


@pytest.mark.parametrize(("others", "fits"), [(99, True), (100, False)])
def test_where_all_that_is_pending_fits_one_batch_orders_wait_for_less(
    bench: Workbench, others: int, fits: bool
) -> None:
    bench.add(*(f"r{number}" for number in range(others)), age_seconds=0.0)
    bench.add("foreign", account="b")
    bench.add("settled", age_seconds=60.0)
    bench.intake.record_callbacks([callback("settled")])
    bench.add("a", age_seconds=60_000.0)
    assert relearn(bench)
    query = bench.reconcile([item("a", "0", None)])
    waited = (bench.order("a").due_at - query.sent_at).total_seconds()
    # The order grows older while the test runs.
    assert (waited < 60_100 / SPARE_WAITS) is fits


@pytest.mark.parametrize("apart", ["lane = 'alone'", "id_kind = 'customParm', custom_parm = 'c'"])
def test_while_an_order_is_polled_alone_batches_leave_it_slots(bench: Workbench, apart: str) -> None:
    bench.add("a", "apart", age_seconds=60_000.0)
    bench.run(f"UPDATE recharge_orders SET {apart} WHERE request_id = 'apart'")
    observe(bench)
    assert relearn(bench)
    assert not schedule_of(bench).fits_one_batch


def test_accounts_learn_one_at_a_time_first_those_that_never_did_then_the_one_longest_ago(
    bench: Workbench,
) -> None:
    observe(bench, "default", "b")
    assert [relearn(bench) for _ in range(3)] == [True, True, False]
    let_it_be_due(bench, "default", windows=20)
    let_it_be_due(bench, "b", windows=30)
    before = computed_at(bench)
    assert relearn(bench)
    after = computed_at(bench)
    assert after["default"] == before["default"]
    assert after["b"] > before["b"]


def test_only_the_accounts_of_this_worker_learn(bench: Workbench) -> None:
    observe(bench, "elsewhere")
    assert not relearn(bench)
    assert len(bench.rows(OBSERVATIONS)) == 1


def test_a_last_learning_that_lies_ahead_counts_as_a_stepped_clock(bench: Workbench) -> None:
    observe(bench)
    assert relearn(bench)
    let_it_be_due(bench, windows=-24 * 60)
    assert relearn(bench)


def test_two_processes_at_once_count_each_observation_once(bench: Workbench) -> None:
    observe(bench, times=40)
    barrier = threading.Barrier(4)

    def run(_: int) -> bool:
        barrier.wait()
        return relearn(bench, "default")

    with ThreadPoolExecutor(4) as threads:
        assert any(threads.map(run, range(4)))
    assert sum(cohort.size for cohort in stored(bench).cohorts.values()) == 40
    assert bench.rows(OBSERVATIONS) == []


def test_where_one_transaction_does_not_take_all_observations_the_next_one_continues(bench: Workbench) -> None:
    observe(bench)
    (row,) = bench.rows(OBSERVATIONS)
    del row["id"]
    bench.run(insert(OBSERVATIONS), *[row] * (learn.MOST_OBSERVATIONS + 9))
    assert relearn(bench)
    assert len(bench.rows(OBSERVATIONS)) == 10
    assert relearn(bench)
    assert not relearn(bench)
    assert sum(cohort.size for cohort in stored(bench).cohorts.values()) == learn.MOST_OBSERVATIONS + 10


def test_what_was_learned_for_other_ages_is_dropped_and_learning_starts_again(bench: Workbench) -> None:
    bench.add("a", age_seconds=60.0)
    assert relearn(bench)
    other = Rules(grace_seconds=600.0, window_seconds=30.0)
    assert schedule_of(bench, rules=other) == prior_schedule(other)
    bench.add("b", age_seconds=60.0)
    let_it_be_due(bench)
    assert Learning(bench.database, other).relearn(["default"])
    assert schedule_of(bench, rules=other) == prior_schedule(other)
    assert bench.rows(OBSERVATIONS) == []


def test_stored_texts_that_cannot_be_read_stop_nothing_and_learning_starts_again(bench: Workbench) -> None:
    observe(bench, "default")
    assert relearn(bench)
    bench.run("UPDATE poll_schedules SET learned = 'junk', schedule = '[]'")
    assert schedule_of(bench) == prior_schedule(bench.rules)
    let_it_be_due(bench)
    observe(bench, "default")
    assert relearn(bench)
    assert sum(cohort.size for cohort in stored(bench).cohorts.values()) == 1


def test_observations_that_cannot_be_read_stop_no_other_account(bench: Workbench) -> None:
    observe(bench, "b", "default")
    bench.run(
        "UPDATE settlement_observations SET observations = replace(observations, 'polls', 'junk') WHERE account = 'b'"
    )
    assert relearn(bench)
    assert relearn(bench)
    assert not bench.rows(OBSERVATIONS)
    assert schedule_of(bench, "b") == prior_schedule(bench.rules)
    assert stored(bench, "default").cohorts


def test_where_no_account_is_to_learn_a_process_does_not_read_again_within_a_window(bench: Workbench) -> None:
    process = Learning(bench.database, bench.rules)
    assert not process.relearn(["default"])
    observe(bench)
    assert not process.relearn(["default"])
    assert relearn(bench)
