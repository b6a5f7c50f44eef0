"""The budget, on every database: when a query may be sent, by which clock, and with which orders."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.reconciling import ManualClock, Workbench, answer_to, item
from worker.database.tables import BUDGETS, QUERIES
from worker.database.transactions import Database
from worker.domain.queries.choose_batch import choose, first_pages
from worker.domain.records.accounts import Pause, Rules, SlotKey
from worker.domain.records.incoming import DeadlineExceeded, QueryError, Refused
from worker.domain.records.queries import Query
from worker.domain.scheduling.poll_schedule import prior_schedule
from worker.stores.pending_orders import claim, read_candidates


def test_a_slot_seen_for_the_first_time_starts_with_one_full_reservation(migrated_database_url: str) -> None:
    bench = Workbench(migrated_database_url)
    bench.maintenance.prepare(bench.slots)
    bench.add("a")
    assert bench.take_after(bench.rules.reservation_seconds).ids == ("a",)
    bench.close()


def test_a_slot_whose_row_was_lost_starts_again_with_one_full_reservation(bench: Workbench) -> None:
    bench.add("a")
    bench.run("DELETE FROM query_budgets")
    assert bench.open_slots() == []
    assert bench.take_after(bench.rules.reservation_seconds).ids == ("a",)


@pytest.mark.workbench(rules=Rules(grace_seconds=1.0, slots=3))
def test_one_lost_row_leaves_the_other_slots_as_they_are(bench: Workbench) -> None:
    bench.run("DELETE FROM query_budgets WHERE slot = 1")
    assert bench.open_slots() == [bench.slots[0], bench.slots[2]]
    bench.clock.advance(bench.rules.reservation_seconds)
    assert bench.open_slots() == bench.slots


def taken_at_once(bench: Workbench, slots: Sequence[SlotKey]) -> list[Query | None]:
    """What passes get that start in the same moment."""
    barrier = threading.Barrier(len(slots))

    def take(slot: SlotKey) -> Query | None:
        barrier.wait()
        return bench.grants.take(slot)

    with ThreadPoolExecutor(len(slots)) as threads:
        return list(threads.map(take, slots))


@pytest.mark.workbench(rules=Rules(grace_seconds=1.0, slots=4, batch_size=1))
def test_an_account_whose_row_was_lost_starts_again_whichever_process_is_first(bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(100)))
    bench.run("DELETE FROM account_states")
    assert None not in taken_at_once(bench, bench.slots)
    assert bench.state().turn == 4


@pytest.mark.parametrize(
    ("error", "is_readable"),
    [(None, True), (Refused("-2", "缺少必要参数"), True), (DeadlineExceeded("no answer"), False)],
    ids=["an answer", "a refusal that parsed", "no answer"],
)
def test_what_was_read_opens_the_slot_a_window_and_the_margin_later_and_else_the_reservation_stays(
    bench: Workbench, error: QueryError | None, is_readable: bool
) -> None:
    bench.add("a")
    query = bench.take()
    bench.clock.advance(0.3)
    if error is None:
        bench.write_back.answered(query, answer_to(query, [item("a")]))
    else:
        bench.write_back.failed(query, error)
    bench.run("UPDATE account_states SET backoff_until = NULL")
    bench.add("b")
    bench.take_after(bench.rules.spacing_seconds if is_readable else bench.rules.reservation_seconds - 0.3)


def test_an_empty_claim_leaves_the_slot_unspent(bench: Workbench) -> None:
    before = bench.rows(BUDGETS)
    assert bench.grants.take(bench.slot) is None
    assert bench.rows(BUDGETS) == before
    bench.add("a")
    assert bench.take().ids == ("a",)


def test_two_passes_at_once_on_one_slot_make_one_query(bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(300)))
    assert taken_at_once(bench, [bench.slot] * 8).count(None) == 7
    assert len(bench.rows(QUERIES)) == 1


@pytest.mark.workbench(rules=Rules(grace_seconds=1.0, slots=4, batch_size=50))
def test_claims_of_two_slots_do_not_overlap(bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(500)))
    # The slots share the account's row: a pass that does not get it at once gets it a moment later.
    polled = [name for query in taken_at_once(bench, bench.slots) if query is not None for name in query.ids]
    assert len(polled) == len(set(polled)) == 200


def test_a_slot_that_is_locked_is_skipped_at_once(bench: Workbench) -> None:
    if bench.database.kind == "sqlite":
        pytest.skip("SQLite has one writer: a grant waits for it, and reads its clocks after the wait")
    bench.add("a")
    other = Database(bench.url)
    with other.write() as connection:
        connection.exec_driver_sql("SELECT * FROM query_budgets FOR UPDATE")
        assert bench.grants.take(bench.slot) is None
    other.close()
    assert bench.take().ids == ("a",)


def test_a_row_is_of_this_boot_even_in_the_microsecond_in_which_it_was_written(bench: Workbench) -> None:
    """Times are stored in microseconds: rounded up, the row would be of a later time, so of another boot.

    The database's clock was set forward too.
    """
    for number in range(20):
        bench.clock.seconds = 1_000_000.7 + number * 1_000.1
        bench.run("UPDATE query_budgets SET boot_due_us = 0, wait_us = 0")
        bench.add(f"a{number}", f"b{number}")
        query = bench.take()
        bench.write_back.answered(query, answer_to(query, []))
        _step_slot(bench, -timedelta(hours=1))
        bench.make_due()
        assert bench.grants.take(bench.slot) is None


def test_another_boot_uses_the_databases_clock(bench: Workbench) -> None:
    bench.add("a")
    bench.take()
    bench.add("b")
    other = _other_host(bench)
    other.clock.advance(1_000_000)
    assert other.grants.take(other.slot) is None
    _step_slot(bench, -timedelta(seconds=bench.rules.reservation_seconds))
    assert other.take().ids == ("b",)
    other.close()


def test_a_wait_beyond_its_own_length_is_clamped_and_nothing_else_changes(bench: Workbench) -> None:
    bench.add("a")
    bench.take()
    bench.add("b")
    _step_slot(bench, timedelta(hours=1))
    before = bench.rows(BUDGETS)[0]
    other = _other_host(bench)
    bench.database.stopped_at = other.database.stopped_at = bench.now()

    assert other.grants.take(other.slot) is None
    after = bench.rows(BUDGETS)[0]
    ahead = (after["due_at"] - bench.now()).total_seconds()
    assert ahead == pytest.approx(bench.rules.reservation_seconds)
    for column in ("boot_id", "boot_due_us", "token", "in_flight_query_id"):
        assert after[column] == before[column]
    other.close()


def test_a_query_still_in_flight_when_its_slot_is_granted_again_becomes_lost(bench: Workbench) -> None:
    bench.add("a", "b")
    bench.take_twice()
    assert [row["outcome"] for row in bench.rows(QUERIES)] == ["lost", "in_flight"]


def test_a_lease_keeps_its_orders_from_other_batches_until_it_runs_out(bench: Workbench) -> None:
    bench.add("a")
    query = bench.take()
    order = bench.order("a")
    assert order.lease_token == query.token
    leased_for = (order.due_at - query.sent_at).total_seconds()
    assert leased_for == pytest.approx(bench.rules.reservation_seconds)
    bench.clock.advance(bench.rules.reservation_seconds)
    assert bench.grants.take(bench.slot) is None


def test_a_backed_off_account_is_skipped_and_a_pause_never_ends_by_itself(bench: Workbench) -> None:
    bench.add("a")
    now = bench.now()
    bench.put_state(replace(bench.state(), backoff_until=now + timedelta(seconds=50), backoff_seconds=60.0))
    assert bench.grants.take(bench.slot) is None
    bench.put_state(replace(bench.state(), backoff_until=None))
    bench.put_pauses(Pause(paused_at=now - timedelta(days=400)))
    assert bench.grants.take(bench.slot) is None
    bench.put_pauses()
    assert bench.take().ids == ("a",)


@pytest.mark.workbench(app_ids={"a": "app-1", "b": "app-2"})
def test_accounts_that_share_a_sid_share_its_slots_and_take_turns(bench: Workbench) -> None:
    for account in ("a", "b"):
        bench.enqueue(*({"request_id": f"{account}{number}", "account": account} for number in range(400)))
    queried = [bench.reconcile([]).account for _ in range(4)]
    assert sorted(queried[:2]) == sorted(queried[2:]) == ["a", "b"]


def test_as_many_slots_as_queries_per_window_and_surplus_rows_are_ignored(migrated_database_url: str) -> None:
    many = Workbench(migrated_database_url, Rules(grace_seconds=1.0, slots=3)).open()
    many.add(*(f"r{number}" for number in range(400)))
    assert [many.grants.take(slot) is not None for slot in many.slots] == [True, True, True]

    few = Workbench(migrated_database_url, Rules(grace_seconds=1.0, slots=1), clock=many.clock)
    assert [slot.number for slot in few.open_slots()] == []
    many.clock.advance(many.rules.reservation_seconds)
    assert [slot.number for slot in few.open_slots()] == [0]
    many.close()
    few.close()


def test_a_slot_that_opens_within_the_given_time_is_returned_with_the_seconds_until_then(bench: Workbench) -> None:
    bench.add("a")
    bench.take()
    bench.clock.advance(bench.rules.reservation_seconds - 1.0)
    assert bench.maintenance.openings(bench.slots, within_seconds=0.9) == []
    (opening,) = bench.maintenance.openings(bench.slots, within_seconds=1.1)
    assert opening.slot == bench.slot
    assert opening.in_seconds == pytest.approx(1.0, abs=0.001)


@pytest.mark.databases("postgresql", "mariadb")
def test_a_session_that_stays_idle_in_a_transaction_is_ended_by_the_database(migrated_database_url: str) -> None:
    bench = Workbench(migrated_database_url).open()
    bench.add("a")
    holder = Database(migrated_database_url, idle_transaction_seconds=1.0)
    connection = holder.engine.connect()
    connection.begin()
    connection.exec_driver_sql("SELECT * FROM query_budgets FOR UPDATE")

    # The lock ends with the session: this waits for the row, and gets it.
    with bench.database.write() as waiting:
        waiting.exec_driver_sql("SELECT * FROM query_budgets FOR UPDATE")
    assert bench.take().ids == ("a",)
    connection.invalidate()
    connection.close()
    holder.close()
    bench.close()


def _step_slot(bench: Workbench, step: timedelta) -> None:
    """Move the slot's due time by the database's clock: the same as a step of that clock in the other direction."""
    due_at = bench.rows(BUDGETS)[0]["due_at"] + step
    with bench.database.write() as connection:
        connection.execute(BUDGETS.update().values(due_at=due_at))


def _other_host(bench: Workbench) -> Workbench:
    return Workbench(bench.url, bench.rules, clock=ManualClock(boot_id="boot-2", seconds=5.0))


def test_an_order_that_learns_its_request_id_while_it_is_chosen_is_left_for_the_next_query(bench: Workbench) -> None:
    bench.put_state(replace(bench.state(), echoes_custom_parm=True))
    bench.enqueue(*({"custom_parm": f"c{number}", "mobile": "18812340804"} for number in range(3)))
    with bench.database.read() as connection:
        now = bench.database.now(connection)
        candidates = read_candidates(connection, "default", now, first_pages(bench.state(), now, Rules()))
    choice = choose(candidates, bench.state(), prior_schedule(bench.rules), now, bench.rules)
    assert choice is not None
    bench.intake.enqueue_orders([{"custom_parm": "c1", "request_id": "c2"}])
    with bench.database.write() as connection:
        claimed = claim(connection, "default", choice, now, 100)
    assert [order.polled_id for order in claimed] == ["c0", "c2"]
