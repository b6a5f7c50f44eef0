"""Claims of notifications and notes of how deliveries ended, on every database."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, update

from tests.support.notifying import endpoint, notifications, put_endpoint, put_notifications
from tests.support.reconciling import SteppedDatabase, Workbench
from worker.database.tables import ENDPOINTS
from worker.domain.records.notifications import (
    Claim,
    DeliveryOutcome,
    DeliveryResult,
    EndedTry,
    NotificationState,
    Rank,
)
from worker.operations.deliver import note_and_claim, read_due
from worker.stores.notifications import delete_endpoint, delete_notifications

HOUR = timedelta(hours=1)
OK = DeliveryResult(outcome=DeliveryOutcome.ACCEPTED, http_status=200, answer="thanks")
TIMEOUT = DeliveryResult(outcome=DeliveryOutcome.TIMEOUT)


def answered(status: int) -> DeliveryResult:
    return DeliveryResult(outcome=DeliveryOutcome.HTTP_ERROR, http_status=status, answer="no")


class RacedDatabase(SteppedDatabase):
    """A database to which others may write."""

    meanwhile: Callable[[], object] | None = None
    """What others do before the next reading of the clock."""

    def now(self, connection: Connection) -> datetime:
        """The stepped clock's time."""
        first, self.meanwhile = self.meanwhile, None
        if first is not None:
            first()
        return super().now(connection)


class Process:
    """A worker process, as far as it claims and notes."""

    def __init__(self, bench: Workbench) -> None:
        self.database = RacedDatabase(bench.url)
        self.database.stopped_at = bench.database.stopped_at
        self.claims = 0

    def due(self) -> set[str]:
        return read_due(self.database, ["default"])

    def claim(self, places: int = 8, digest: str = "digest") -> list[Claim]:
        self.claims += 1
        number = self.claims - 1
        claims, _ = note_and_claim(self.database, "default", digest, [], places=places, claim_number=number)
        return claims

    def end(
        self, claims: Sequence[Claim], result: DeliveryResult, digest: str = "digest", *, places: int = 0
    ) -> list[Claim]:
        """Note that all of these ended so; returns what was claimed in the same transaction."""
        ended = [EndedTry(claim=one, result=result, jitter=0.0) for one in claims]
        next_claims, _ = note_and_claim(self.database, "default", digest, ended, places=places, claim_number=0)
        return next_claims


@pytest.fixture(autouse=True)
def _clock_stands(bench: Workbench) -> None:
    """Leases and rests last as long as the test says."""
    bench.database.stopped_at = bench.now()


@pytest.fixture
def process(bench: Workbench) -> Iterator[Process]:
    put_endpoint(bench)
    process = Process(bench)
    yield process
    process.database.close()


@pytest.fixture
def other(bench: Workbench) -> Iterator[Process]:
    other = Process(bench)
    yield other
    other.database.close()


def test_what_is_claimed_is_leased_for_20_seconds_and_not_claimed_again(
    bench: Workbench, process: Process, other: Process
) -> None:
    rows = put_notifications(bench, 5)
    first, second = process.claim(3), other.claim(3)
    assert [one.event_id for one in first + second] == [row.event_id for row in rows]
    assert other.claim(3) == []
    assert process.due() == set()
    other.database.step = timedelta(seconds=19)
    assert other.claim() == []
    other.database.step = timedelta(seconds=21)
    assert len(other.claim()) == 5


@pytest.mark.slow
def test_two_workers_on_one_outbox_claim_nothing_twice(bench: Workbench, process: Process, other: Process) -> None:
    put_notifications(bench, 300)
    have_begun = threading.Barrier(2)

    def claim_all(one: Process) -> list[str]:
        claimed: list[str] = []
        for number in range(200):
            claims = one.claim(3)
            if number == 0:
                have_begun.wait(60)
            claimed += [one.event_id for one in claims]
            one.end(claims, OK)
        return claimed

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(claim_all, (process, other))
    assert len(first) + len(second) == 300
    assert len({*first, *second}) == 300
    assert first
    assert second
    assert {row.state for row in notifications(bench)} == {NotificationState.DELIVERED}


def test_a_success_is_noted_with_what_the_receiver_said(bench: Workbench, process: Process) -> None:
    put_notifications(bench, 2)
    process.end(process.claim(), OK)
    for row in notifications(bench):
        assert (row.state, row.outcome, row.http_status, row.answer) == ("delivered", "accepted", 200, "thanks")
        assert row.delivered_at == row.tried_at is not None
        assert (row.lease_token, row.leased_until) == (None, None)
        assert row.tries == 0
    assert process.due() == set()
    assert process.claim() == []


def test_ends_are_noted_and_the_next_are_claimed_in_one_transaction(bench: Workbench, process: Process) -> None:
    rows = put_notifications(bench, 4)
    claims = process.end(process.claim(2), OK, places=8)
    assert [one.id for one in claims] == [row.id for row in rows[2:]]
    assert process.end(claims, TIMEOUT, places=8) == []
    assert [row.outcome for row in notifications(bench)] == ["accepted", "accepted", "timeout", "timeout"]


def test_a_success_is_not_noted_for_another_event_that_has_the_id_of_its_row_by_now(
    bench: Workbench, process: Process
) -> None:
    put_notifications(bench, 1)
    late = process.claim()
    with bench.database.write() as connection:
        delete_notifications(connection, [late[0].id])
    # SQLite gives it by itself.
    (row,) = put_notifications(bench, 1, id=late[0].id)
    process.end(late, OK)
    assert row.id == late[0].id
    assert notifications(bench) == [row]


def test_what_was_delivered_twice_keeps_its_first_time(bench: Workbench, process: Process) -> None:
    put_notifications(bench, 1)
    claims = process.claim()
    process.end(claims, OK)
    first = notifications(bench)
    process.database.step = HOUR
    process.end(claims, OK)
    assert notifications(bench) == first


def test_a_failure_of_its_own_delays_an_event_and_makes_way_for_others(bench: Workbench, process: Process) -> None:
    put_notifications(bench, 1)
    process.end(process.claim(), answered(500))
    (row,) = notifications(bench)
    assert (row.state, row.tries, row.rank, row.outcome, row.http_status) == ("pending", 1, 2, "http_error", 500)
    assert row.tried_at is not None
    assert row.due_at == row.tried_at + timedelta(seconds=5)
    assert row.refused_since == row.tried_at
    assert (row.lease_token, row.leased_until) == (None, None)
    assert process.claim() == []
    process.database.step = timedelta(seconds=6)
    assert len(process.claim()) == 1


def test_one_process_probes_a_resting_endpoint_with_one_event(
    bench: Workbench, process: Process, other: Process
) -> None:
    put_notifications(bench, 5)
    process.end(process.claim(3), TIMEOUT)
    failed = endpoint(bench).last_failed_id
    assert process.due() == other.due() == set()
    assert process.claim() == other.claim() == []
    process.database.step = other.database.step = timedelta(seconds=6)
    assert process.due() == {"default"}
    (probe,) = process.claim()
    assert probe.id != failed
    assert other.due() == set()
    assert other.claim() == []
    process.end([probe], OK)
    assert endpoint(bench).rest_from is None
    # What failed last is to blame, and waits by itself.
    assert len(other.claim()) == 3


def forget(bench: Workbench) -> None:
    with bench.database.write() as connection:
        delete_endpoint(connection, "default")


def give_another_url(bench: Workbench) -> None:
    bench.run(update(ENDPOINTS).values(target_digest="a newer URL"))


# On SQLite no other transaction writes between two statements of a transaction that may write.
@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize("others_do", [forget, give_another_url])
def test_no_probe_goes_to_an_endpoint_that_was_forgotten_or_changed_since_it_was_read(
    bench: Workbench, process: Process, others_do: Callable[[Workbench], None]
) -> None:
    put_notifications(bench, 3)
    process.end(process.claim(1), TIMEOUT)
    process.database.step = timedelta(seconds=6)
    process.database.meanwhile = lambda: others_do(bench)
    assert process.claim() == []
    assert [row.leased_until for row in notifications(bench)] == [None] * 3


def test_a_probe_that_is_never_noted_is_followed_by_another_one_when_its_lease_runs_out(
    bench: Workbench, process: Process, other: Process
) -> None:
    put_notifications(bench, 3)
    process.end(process.claim(1), TIMEOUT)
    process.database.step = timedelta(seconds=6)
    assert len(process.claim()) == 1
    other.database.step = timedelta(seconds=25)
    assert other.claim() == []
    other.database.step = timedelta(seconds=27)
    assert len(other.claim()) == 1


PAUSE = timedelta(seconds=0.06)


def in_doubt(bench: Workbench, process: Process) -> None:
    """The endpoint refuses five different events, which are there."""
    process.end(process.claim(5), answered(404))
    assert endpoint(bench).failing_since is not None


def test_in_doubt_all_processes_together_send_one_at_a_time(bench: Workbench, process: Process, other: Process) -> None:
    put_notifications(bench, 9)
    in_doubt(bench, process)
    for first, second in ((process, other), (other, process)):
        first.database.step = second.database.step = first.database.step + PAUSE
        (only,) = first.claim()
        assert second.due() == first.due() == set()
        assert second.claim() == first.claim() == []
        first.end([only], answered(404))
    assert [row.tries for row in notifications(bench)] == [1] * 7 + [0] * 2
    other.database.step += PAUSE
    other.end(other.claim(), OK)
    assert endpoint(bench).failing_since is None
    # All that is due may be sent again.
    assert len(process.claim()) == 1


def test_in_doubt_what_was_never_tried_goes_first_and_then_what_is_due_longest(
    bench: Workbench, process: Process
) -> None:
    put_notifications(bench, 5)
    in_doubt(bench, process)
    process.database.step += HOUR
    bulk = put_notifications(bench, 2, rank=Rank.BULK)[-2:]
    result = put_notifications(bench, 1)[-1]
    sent = []
    for _ in range(8):
        process.database.step += PAUSE
        (only,) = process.claim()
        sent.append(only.id)
        process.end([only], answered(404))
    assert sent[:3] == [result.id, *(row.id for row in bulk)]
    assert sorted(sent[3:]) == [row.id for row in notifications(bench)[:5]]


def test_a_claim_is_filled_with_what_is_of_the_other_rank(bench: Workbench, process: Process) -> None:
    put_notifications(bench, 3, rank=Rank.BULK)
    put_notifications(bench, 3)
    assert len(process.claim(5)) == 5


def test_a_worker_with_another_target_claims_nothing_and_notes_no_failure(bench: Workbench, process: Process) -> None:
    put_notifications(bench, 2)
    assert process.claim(digest="an older URL") == []
    claims = process.claim(1)
    process.end(claims, TIMEOUT, digest="an older URL")
    assert endpoint(bench).rest_from is None
    process.end(claims, OK, digest="an older URL")
    assert notifications(bench)[0].state is NotificationState.DELIVERED


def test_without_an_endpoint_nothing_is_due_and_a_late_success_is_noted(bench: Workbench, other: Process) -> None:
    assert other.due() == set()
    assert other.claim() == []
    (row,) = put_notifications(bench, 1)
    late = Claim(
        id=row.id,
        account="default",
        event_id=row.event_id,
        order_id=1,
        body="",
        token="gone",
        rest_from=None,
        claimed_at=row.due_at,
    )
    other.end([late], OK)
    assert notifications(bench)[0].state is NotificationState.DELIVERED
    other.end([late], TIMEOUT)


@pytest.mark.parametrize("result", [None, TIMEOUT], ids=["leases", "a rest"])
def test_after_a_step_back_by_an_hour_leases_and_rests_have_run_out(
    bench: Workbench, process: Process, result: DeliveryResult | None
) -> None:
    put_notifications(bench, 3)
    claims = process.claim(3)
    if result is not None:
        process.end(claims, result)
        assert process.claim() == []
    process.database.step = -HOUR
    assert len(process.claim()) == (3 if result is None else 1)


def test_what_a_step_back_has_put_far_ahead_is_found_by_a_read_that_looks_so_far(
    bench: Workbench, process: Process
) -> None:
    put_notifications(bench, 1)
    process.database.step = -HOUR
    assert process.due() == set()
    assert read_due(process.database, ["default"], however_far=True) == {"default"}
    assert len(process.claim()) == 1
    assert read_due(process.database, ["default"], however_far=True) == set()


def test_what_was_read_just_before_a_claim_does_not_make_that_claim_look_stepped(
    bench: Workbench, process: Process, other: Process
) -> None:
    put_notifications(bench, 3)
    assert len(process.claim()) == 3
    other.database.step = -timedelta(seconds=5)
    assert other.claim() == []
