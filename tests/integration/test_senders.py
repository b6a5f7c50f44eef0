"""The sending threads of a worker process, with a real database and a real receiver."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.pool import QueuePool
from standardwebhooks import Webhook as Verifier
from structlog.testing import capture_logs

from tests.support.notifying import endpoint, notifications, put_endpoint, put_notifications
from tests.support.receiver import Answering, Delivered, Receiver
from tests.support.reconciling import Workbench
from tests.support.waiting import eventually
from tests.support.watching import Watching, unwatched
from worker.adapters.clock import HostClock
from worker.adapters.notify import make_transport
from worker.database.error_kinds import OutageLog
from worker.database.transactions import Database
from worker.domain.records.monitoring import NotificationCounts
from worker.domain.records.notifications import Rank, Webhook
from worker.process.senders import Senders, Target
from worker.views.counts import watched_notifications

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_ANSWER_SECONDS = 0.01

# What differs from one database to the other is tested in test_deliver.py, and by the tests that name all three.
pytestmark = pytest.mark.databases("postgresql")
all_databases = pytest.mark.databases("sqlite", "postgresql", "mariadb")

StartSenders = Callable[..., Senders]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def start(bench: Workbench) -> Iterator[StartSenders]:
    """Starts the threads of one process that sends to these URLs, by account, and enters their endpoints."""
    with ExitStack() as stack:

        def start(
            urls: dict[str, str],
            *,
            database: Database | None = None,
            clock: Any = None,
            enters: bool = True,
            **more: Any,
        ) -> Senders:
            clock, targets = clock or HostClock(), {}
            for account, url in urls.items():
                target = Webhook(url=url, secrets=(SECRET,))
                if enters:
                    put_endpoint(bench, account, target_digest=target.digest)
                transport = make_transport(target, broker_url="redis://127.0.0.1:9", clock=clock, hidden=())
                targets[account] = Target(digest=target.digest, transport=transport)
            if database is None:
                database = stack.enter_context(closing(Database(bench.url)))
            given: dict[str, Any] = {"watchdog": unwatched(), "poll_seconds": 0.05} | more
            senders = Senders(database=database, clock=clock, targets=targets, **given)
            stack.callback(senders.close)
            return senders

        yield start


def states(bench: Workbench, account: str = "default") -> list[str]:
    return [row.state.value for row in notifications(bench, account)]


def waiting(bench: Workbench) -> NotificationCounts:
    with bench.database.read() as connection:
        counts = watched_notifications(connection, bench.database.now(connection))
    return counts.get("default", NotificationCounts())


def counted(logs: Sequence[Mapping[str, Any]]) -> int:
    """How many deliveries the log reports."""
    return sum(line["count"] for line in logs if line["action"] == "notifications_delivered")


def senders_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("notify")]


@all_databases
def test_every_event_is_delivered_once_and_verifies(bench: Workbench, receiver: Receiver, start: StartSenders) -> None:
    rows = put_notifications(bench, 40)
    with capture_logs() as logs:
        start({"default": receiver.url})
        eventually(lambda: counted(logs) == 40, "every delivery, with a line in the log")
    assert states(bench) == ["delivered"] * 40
    assert sorted(receiver.event_ids) == sorted(row.event_id for row in rows)
    for request in receiver.requests:
        assert Verifier(SECRET).verify(request.body, request.headers)
    assert receiver.connections <= 8


@all_databases
@pytest.mark.slow
def test_a_backlog_that_is_being_sent_is_not_shown_as_unsent(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    overdue = datetime.now(UTC) - timedelta(minutes=10)
    for rank in Rank:
        put_notifications(bench, 150, rank=rank, due_at=overdue)
    put_endpoint(bench, target_digest=Webhook(url=receiver.url, secrets=(SECRET,)).digest)
    assert waiting(bench).waits_since is not None
    may_answer = threading.Semaphore(0)

    def answer_in_step(_: Delivered, answering: Answering) -> None:
        may_answer.acquire()
        answering.answer()

    receiver.reply = answer_in_step
    start({"default": receiver.url}, enters=False)
    eventually(lambda: receiver.requests, "a delivery")
    looks = 0
    while (count := waiting(bench)).pending:
        assert count.waits_since is None
        looks += 1
        may_answer.release(30)
    assert looks > 10


def test_an_endpoint_that_hangs_delays_no_other(bench: Workbench, receiver: Receiver, start: StartSenders) -> None:
    with Receiver(lambda _, answering: answering.hang()) as hanging:
        put_notifications(bench, 30, account="hangs")
        put_notifications(bench, 30, account="lives")
        start({"hangs": hanging.url, "lives": receiver.url})
        eventually(lambda: states(bench, "lives") == ["delivered"] * 30, "the deliveries to the other endpoint")
        assert len(hanging.requests) <= 8
        hanging.stopped.set()


@pytest.mark.slow
def test_an_endpoint_that_is_away_rests_and_then_gets_everything(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    receiver.reply = lambda _, answering: answering.answer(503)
    put_notifications(bench, 20)
    with capture_logs() as logs:
        start({"default": receiver.url})
        eventually(lambda: endpoint(bench).rest_from is not None, "the rest")
        requests = len(receiver.requests)
        assert requests <= 8
        receiver.reply = lambda _, answering: answering.answer(200)
        eventually(lambda: states(bench) == ["delivered"] * 20, "every delivery")
    actions = [line["action"] for line in logs]
    assert actions.count("endpoint_rests") == 1
    assert actions.count("endpoint_recovered") == 1
    assert "notification_gave_up" not in actions


@all_databases
@pytest.mark.slow
def test_a_good_event_behind_a_hundred_bad_ones_is_reached_one_at_a_time_without_a_wait_for_the_next_read(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    *_, good = put_notifications(bench, 101)
    under_way, arrivals, lock = [0], list[tuple[float, int]](), threading.Lock()
    doubts = list[int]()

    def refuse_others(request: Delivered, answering: Answering) -> None:
        with lock:
            under_way[0] += 1
            arrivals.append((time.monotonic(), under_way[0]))
        if request.event_id == good.event_id:
            # Before its success, which ends the doubt: later failures may begin another one.
            doubts.append([line["action"] for line in logs].count("endpoint_in_doubt"))
        time.sleep(_ANSWER_SECONDS)
        # Before the answer: the next delivery may come as soon as it is read.
        with lock:
            under_way[0] -= 1
        answering.answer(200 if request.event_id == good.event_id else 500)

    receiver.reply = refuse_others
    with capture_logs() as logs:
        # If each of these deliveries waited for the next read of one process or the other, they would take minutes.
        start({"default": receiver.url}, poll_seconds=5.0)
        start({"default": receiver.url}, poll_seconds=5.0, enters=False)
        eventually(lambda: good.event_id in receiver.event_ids, "the good one")
    # Four failures are noted, and sixteen events under way, when the fifth comes; their ends meet the first lone ones.
    alone = arrivals[30 : receiver.event_ids.index(good.event_id) + 1]
    assert len(alone) == 101 - 30
    assert {count for _, count in alone} == {1}
    assert 20 * (alone[-1][0] - alone[0][0]) >= len(alone) - 2
    assert doubts == [1]


def test_what_an_event_is_to_blame_for_is_in_the_log_without_its_text(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    receiver.reply = lambda _, answering: answering.answer(422, b"13800138000")
    (row,) = put_notifications(bench, 1, tries=9)
    with capture_logs() as logs:
        start({"default": receiver.url})
        eventually(lambda: states(bench) == ["gave_up"], "its end")
        eventually(lambda: len(logs) == 2, "the lines")
    failed, gave_up = logs
    assert (failed["action"], failed["http_status"], failed["event_id"]) == ("notification_failed", 422, row.event_id)
    assert (gave_up["action"], gave_up["tries"], gave_up["order_id"]) == ("notification_gave_up", 10, 1)
    assert "13800138000" not in str(logs)
    assert "13800138000" not in str(notifications(bench)[0].answer)


def test_an_endpoint_that_answers_410_is_stopped_with_a_line(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    receiver.reply = lambda _, answering: answering.answer(410)
    put_notifications(bench, 1)
    with capture_logs() as logs:
        start({"default": receiver.url})
        eventually(lambda: any(line["action"] == "endpoint_stopped" for line in logs), "the line")
    assert states(bench) == ["pending"]


class FullDatabase(Database):
    """A database that has no connection free for a while."""

    is_full = True
    asked = 0

    def now(self, connection: Connection) -> datetime:
        """The database's clock, where there is a connection."""
        self.asked += 1
        if self.is_full:
            raise NoConnectionFree
        return super().now(connection)


@pytest.mark.slow
def test_a_database_that_is_away_ends_no_thread_and_is_one_line(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    put_notifications(bench, 3)
    with closing(FullDatabase(bench.url)) as database, capture_logs() as logs:
        senders = start({"default": receiver.url}, database=database, outages=OutageLog())
        eventually(lambda: database.asked > 1, "another try")
        database.is_full = False
        eventually(lambda: states(bench) == ["delivered"] * 3, "every delivery")
        senders.close()
    assert [line["action"] for line in logs if line["log_level"] == "warning"] == ["database_connections"]


def test_once_it_has_closed_it_asks_the_database_nothing(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    database = Database(bench.url)
    senders = start({"default": receiver.url}, database=database, poll_seconds=0.0)
    senders.close()
    database.close()
    senders.close()
    assert isinstance(database.engine.pool, QueuePool)
    assert database.engine.pool.checkedin() == 0


def test_what_a_defect_logs_holds_no_parameters_of_a_statement(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    receiver.reply = lambda _, answering: answering.answer(400, b"Wang Wei has no account")
    bench.run("ALTER TABLE notifications ALTER COLUMN answer TYPE integer USING NULL")
    put_notifications(bench, 1)
    with capture_logs() as logs:
        start({"default": receiver.url})
        eventually(lambda: any(line["action"] == "sender_failed" for line in logs), "the line")
    (line, *_) = (line for line in logs if line["action"] == "sender_failed")
    assert line["error"].startswith('ProgrammingError: column "answer" is of type integer')
    assert "in note_and_claim" in line["stack"]
    # A traceback would be written with the texts of the errors.
    assert "exc_info" not in line
    assert "Wang Wei" not in str(logs)


class WrongHost(HostClock):
    """A host whose wall clock is six minutes behind: the libraries of receivers allow for five."""

    def now(self) -> datetime:
        return super().now() - timedelta(minutes=6)


@all_databases
def test_each_try_is_signed_with_its_time_by_the_databases_clock(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    put_notifications(bench, 2)
    start({"default": receiver.url}, clock=WrongHost())
    eventually(lambda: states(bench) == ["delivered"] * 2, "both deliveries")
    for request in receiver.requests:
        assert Verifier(SECRET).verify(request.body, request.headers)
        # The host's own clock is 360 s off.
        assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 90


class SuspendedClock(HostClock):
    """A boot clock that jumps ahead after each claim, as that of a machine that was suspended."""

    readings = 0

    def boot(self) -> float:
        self.readings += 1
        return super().boot() + (0.0 if self.readings % 2 else 9.0)


def test_nothing_is_sent_late_within_its_lease(bench: Workbench, receiver: Receiver, start: StartSenders) -> None:
    put_notifications(bench, 1)
    senders = start({"default": receiver.url}, clock=SuspendedClock())
    eventually(lambda: notifications(bench)[0].lease_token is not None, "the claim")
    senders.close()
    assert receiver.requests == []
    assert notifications(bench)[0].tried_at is None


def test_what_is_under_way_at_the_end_is_waited_for_and_noted(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def wait(_: Delivered, answering: Answering) -> None:
        arrived.set()
        go_on.wait(10)
        answering.answer()

    receiver.reply = wait
    put_notifications(bench, 1)
    senders = start({"default": receiver.url})
    assert arrived.wait(100)
    threading.Timer(0.2, go_on.set).start()
    senders.close()
    assert states(bench) == ["delivered"]
    assert senders_threads() == []


def test_without_an_endpoint_there_is_no_thread(bench: Workbench, start: StartSenders) -> None:
    start({})
    assert senders_threads() == []


@all_databases
def test_an_event_that_a_stepped_clock_put_far_ahead_is_sent_all_the_same(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    ahead = bench.now() + timedelta(hours=1)
    put_notifications(bench, 2, due_at=ahead)
    start({"default": receiver.url})
    eventually(lambda: states(bench) == ["delivered"] * 2, "both deliveries")


def test_a_delivery_and_the_claims_are_watched_until_they_end(
    bench: Workbench, receiver: Receiver, start: StartSenders
) -> None:
    watching, has_begun, may_answer = Watching(), threading.Event(), threading.Event()

    def reply(_: object, answering: Any) -> None:
        has_begun.set()
        assert may_answer.wait(30)
        answering.answer(200)

    receiver.reply = reply
    put_notifications(bench, 1)
    start({"default": receiver.url}, watchdog=watching.dog)

    def under_way() -> set[str]:
        return {watched.what for watched in list(watching.dog.under_way)}

    eventually(lambda: under_way() == {"the thread notify-claims", "a delivery"}, "a delivery under way")
    assert has_begun.wait(100), "its thread is to have made its first step"
    # The thread of the claims goes on reading what is due.
    watching.pass_time(150)
    eventually(lambda: watching.hanging() == {"a delivery"}, "a delivery that hangs")
    watching.pass_time(51)
    assert set(watching.ended) == {"a delivery"}
    may_answer.set()
    eventually(lambda: under_way() == {"the thread notify-claims"}, "the end of the delivery")
