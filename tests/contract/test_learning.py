"""What orders, callbacks and answers teach, on every database: noted once, learned once, priced now and then."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from tests.support.reconciling import Workbench, answer_to, item
from worker.domain.pricing.due import SPARE_WAITS
from worker.domain.pricing.json_text import read_learned, read_notes
from worker.domain.pricing.learning import REPRICE_WINDOWS, Learned, Notes
from worker.domain.pricing.prices import Prices, prior_prices
from worker.domain.records.parameters import Rules
from worker.operations import learn
from worker.operations.learn import Learning, add_notes, read_prices
from worker.stores.poll_schedules import NOTES, PRICES

RULES = Rules(grace_seconds=600.0)


@pytest.fixture
def bench(migrated_database_url: str) -> Iterator[Workbench]:
    bench = Workbench(migrated_database_url, RULES, app_ids={"default": "app-1", "b": "app-2"}).open()
    yield bench
    bench.close()


def noted(bench: Workbench, account: str = "default") -> Notes:
    """All that waits to be learned of an account."""
    notes = Notes()
    for row in bench.rows(NOTES):
        if row["account"] == account:
            notes.add(read_notes(row["notes"], bench.rules))
    return notes


def reprice(bench: Workbench, *accounts: str) -> bool:
    """What a process does that has just been started."""
    return Learning(bench.database, bench.rules).reprice(accounts or tuple(bench.app_ids))


def stored(bench: Workbench, account: str = "default") -> Learned:
    with bench.database.read() as connection:
        text = connection.scalar(select(PRICES.c.learned).where(PRICES.c.account == account))
    learned = read_learned(str(text), bench.rules)
    assert learned is not None
    return learned


def prices_of(bench: Workbench, account: str = "default", rules: Rules | None = None) -> Prices:
    with bench.database.read() as connection:
        return read_prices(connection, account, rules or bench.rules)


def let_it_be_due(bench: Workbench) -> None:
    with bench.database.write() as connection:
        past = bench.database.now(connection) - bench.rules.windows(REPRICE_WINDOWS)
        connection.execute(update(PRICES).values(priced_at=past))


def note(bench: Workbench, *accounts: str, times: int = 1) -> None:
    for _ in range(times):
        with bench.database.write() as connection:
            now = bench.database.now(connection)
            notes = Notes()
            notes.submitted[int(now.timestamp() // 600)] += 1
            add_notes(connection, dict.fromkeys(accounts or ("default",), notes), now, bench.rules)


# ---- what is noted


def test_an_order_is_noted_once_however_often_it_is_sent(bench: Workbench) -> None:
    bench.add("a", "b", age_seconds=60.0)
    bench.add("a", "b", "c", age_seconds=60.0)
    assert noted(bench).submitted.total() == 3
    assert len(bench.rows(NOTES)) == 2, "one row for a transaction"


def test_an_order_that_comes_in_past_its_grace_is_not_noted_nor_its_callback_nor_its_first_look(
    bench: Workbench,
) -> None:
    bench.add("old", "older", age_seconds=700.0)
    bench.intake.record_callbacks([{"requestId": "old", "appid": "app-1", "trafficSts": "1", "oriAmount": "2.94"}])
    bench.ask([item("older", "0", None)])
    assert not noted(bench)
    bench.make_due()
    bench.ask([item("older")])
    (look,) = noted(bench).looks
    assert look.is_hit


def test_a_callback_is_noted_once_at_the_age_at_which_it_settles(bench: Workbench) -> None:
    bench.add("a", age_seconds=60.0)
    for _ in range(2):
        bench.intake.record_callbacks([{"requestId": "a", "appid": "app-1", "trafficSts": "1", "oriAmount": "2.94"}])
    assert noted(bench).called_back.total() == 1


def test_a_callback_that_came_before_its_order_is_noted_with_it(bench: Workbench) -> None:
    bench.intake.record_callbacks([{"requestId": "a", "appid": "app-1", "trafficSts": "1", "oriAmount": "2.94"}])
    assert not noted(bench)
    bench.add("a", age_seconds=1.0)
    notes = noted(bench)
    assert (notes.submitted.total(), notes.called_back.total()) == (1, 1)


def test_looks_are_noted_once_of_what_was_believed_and_held(bench: Workbench) -> None:
    bench.add("won", "open", "absent", "odd", age_seconds=60.0)
    bench.make_due()
    query = bench.take()
    answer = answer_to(query, [item("won"), item("open", "0", None), item("odd", "17", None)])
    for _ in range(2):
        bench.write_back.answered(query, answer)
    assert sorted(look.is_hit for look in noted(bench).looks.elements()) == [False, True]


def test_a_stale_answer_is_no_look(bench: Workbench) -> None:
    bench.add("a", age_seconds=60.0)
    bench.make_due()
    stale = bench.take()
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.run("UPDATE recharge_orders SET due_at = submitted_at")
    bench.take()
    bench.write_back.answered(stale, answer_to(stale, [item("a")]))
    assert not noted(bench).looks


# ---- what is learned


def test_before_anything_is_learned_an_account_has_the_prices_of_any(bench: Workbench) -> None:
    assert prices_of(bench) == prior_prices(RULES)
    assert not reprice(bench)
    assert prices_of(bench) == prior_prices(RULES)


def test_what_was_noted_is_learned_once_and_the_looks_are_priced_by_it(bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(300)), age_seconds=60.0)
    callbacks = [
        {"requestId": f"r{number}", "appid": "app-1", "trafficSts": "1", "oriAmount": "2.94"} for number in range(280)
    ]
    bench.intake.record_callbacks(callbacks)
    assert reprice(bench)
    assert bench.rows(NOTES) == []
    assert not reprice(bench), "not again within ten windows"
    let_it_be_due(bench)
    assert reprice(bench)
    (cohort, *rest) = stored(bench).cohorts.values()
    assert (cohort.size, cohort.called_back.total(), rest) == (300, 280, [])
    assert prices_of(bench) != prior_prices(RULES)
    assert prices_of(bench) is prices_of(bench), "the text is read once"


def test_a_grant_and_a_write_back_go_by_the_stored_prices(bench: Workbench) -> None:
    note(bench)
    # More than fits one batch.
    bench.add(*(f"r{number}" for number in range(101)), age_seconds=0.0)
    assert reprice(bench)
    bench.add("a", age_seconds=60_000.0)
    query = bench.ask([item("a", "0", None)])
    expected = prices_of(bench).due_age(60_000.0) - 60_000.0
    waited = (bench.order("a").due_at - query.sent_at).total_seconds()
    assert waited == pytest.approx(min(expected, 360 * 60), rel=0.02)


@pytest.mark.parametrize(("others", "fits"), [(99, True), (100, False)])
def test_where_all_that_is_pending_fits_one_batch_orders_wait_for_less(
    bench: Workbench, others: int, fits: bool
) -> None:
    bench.add(*(f"r{number}" for number in range(others)), age_seconds=0.0)
    bench.add("foreign", account="b")
    bench.add("settled", age_seconds=60.0)
    bench.intake.record_callbacks([{"requestId": "settled", "appid": "app-1", "trafficSts": "1", "oriAmount": "2.94"}])
    bench.add("a", age_seconds=60_000.0)
    assert reprice(bench)
    query = bench.ask([item("a", "0", None)])
    waited = (bench.order("a").due_at - query.sent_at).total_seconds()
    # The order grows older while the test runs.
    assert (waited < 60_100 / SPARE_WAITS) is fits


@pytest.mark.parametrize("apart", ["lane = 'alone'", "id_kind = 'customParm', custom_parm = 'c'"])
def test_while_an_order_is_asked_alone_batches_leave_it_slots(bench: Workbench, apart: str) -> None:
    bench.add("a", "apart", age_seconds=60_000.0)
    bench.run(f"UPDATE recharge_orders SET {apart} WHERE request_id = 'apart'")
    note(bench)
    assert reprice(bench)
    assert not prices_of(bench).fits_one_batch


def test_accounts_are_priced_one_at_a_time_first_those_never_priced_then_the_one_longest_ago(
    bench: Workbench,
) -> None:
    note(bench, "default", "b")
    assert [reprice(bench) for _ in range(3)] == [True, True, False]
    priced_at = {}
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        for account, windows in (("default", 20), ("b", 30)):
            at = now - bench.rules.windows(windows)
            connection.execute(update(PRICES).where(PRICES.c.account == account).values(priced_at=at))
            priced_at[account] = at
    assert reprice(bench)
    with bench.database.read() as connection:
        rows = connection.execute(select(PRICES.c.account, PRICES.c.priced_at))
        after = {row.account: row.priced_at for row in rows}
    assert after["default"] == priced_at["default"]
    assert after["b"] > priced_at["b"]


def test_only_the_accounts_of_this_worker_are_priced(bench: Workbench) -> None:
    note(bench, "elsewhere")
    assert not reprice(bench)
    assert len(bench.rows(NOTES)) == 1


def test_a_time_of_pricing_that_lies_ahead_is_the_mark_of_a_stepped_clock(bench: Workbench) -> None:
    note(bench)
    assert reprice(bench)
    with bench.database.write() as connection:
        ahead = bench.database.now(connection) + timedelta(days=1)
        connection.execute(update(PRICES).values(priced_at=ahead))
    assert reprice(bench)


def test_two_processes_at_once_count_each_note_once(bench: Workbench) -> None:
    note(bench, times=40)
    barrier = threading.Barrier(4)

    def run(_: int) -> bool:
        barrier.wait()
        return reprice(bench, "default")

    with ThreadPoolExecutor(4) as threads:
        assert any(threads.map(run, range(4)))
    assert sum(cohort.size for cohort in stored(bench).cohorts.values()) == 40
    assert bench.rows(NOTES) == []


def test_of_more_notes_than_one_transaction_takes_the_next_one_goes_on(bench: Workbench) -> None:
    with bench.database.write() as connection:
        now, notes = bench.database.now(connection), Notes()
        notes.submitted[int(now.timestamp() // 600)] += 1
        for _ in range(learn.MOST_NOTES + 10):
            add_notes(connection, {"default": notes}, now, bench.rules)
    assert reprice(bench)
    assert len(bench.rows(NOTES)) == 10
    assert reprice(bench)
    assert not reprice(bench)
    assert sum(cohort.size for cohort in stored(bench).cohorts.values()) == learn.MOST_NOTES + 10


def test_what_was_learned_for_other_ages_is_dropped_and_learning_begins_anew(bench: Workbench) -> None:
    bench.add("a", age_seconds=60.0)
    assert reprice(bench)
    other = Rules(grace_seconds=600.0, window_seconds=30.0)
    assert prices_of(bench, rules=other) == prior_prices(other)
    bench.add("b", age_seconds=60.0)
    let_it_be_due(bench)
    assert Learning(bench.database, other).reprice(["default"])
    assert prices_of(bench, rules=other) == prior_prices(other)
    assert bench.rows(NOTES) == []


def test_stored_texts_that_cannot_be_read_stop_nothing_and_learning_begins_anew(bench: Workbench) -> None:
    note(bench, "default")
    assert reprice(bench)
    bench.run("UPDATE account_prices SET learned = 'junk', prices = '[]'")
    assert prices_of(bench) == prior_prices(bench.rules)
    let_it_be_due(bench)
    note(bench, "default")
    assert reprice(bench)
    assert sum(cohort.size for cohort in stored(bench).cohorts.values()) == 1


def test_notes_that_cannot_be_learned_from_stop_no_other_account(bench: Workbench) -> None:
    note(bench, "b", "default")
    bench.run("UPDATE settlement_notes SET notes = replace(notes, 'looks', 'junk') WHERE account = 'b'")
    assert reprice(bench)
    assert reprice(bench)
    assert not bench.rows(NOTES)
    assert prices_of(bench, "b") == prior_prices(bench.rules)
    assert stored(bench, "default").cohorts


def test_where_nothing_is_to_be_priced_a_process_does_not_look_again_within_a_window(bench: Workbench) -> None:
    process = Learning(bench.database, bench.rules)
    assert not process.reprice(["default"])
    note(bench)
    assert not process.reprice(["default"])
    assert reprice(bench)
