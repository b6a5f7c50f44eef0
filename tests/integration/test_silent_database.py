"""A database that acknowledges bytes and never answers: each wait for it ends, and work continues when it is back."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.pool import QueuePool

from tests.support.processes import environment, running_serve
from tests.support.proxy import Mode, Proxy
from tests.support.raw_query import APP_ID, SID, TOKEN
from tests.support.reconciling import Workbench, answer_to, item
from tests.support.waiting import eventually
from worker.database.tables import EVENTS, QUERIES
from worker.database.transactions import ANSWER_SECONDS, Database, is_contention, is_unavailable, retry_until
from worker.domain.records.orders import OrderState
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack
from worker.process.intake import Intake
from worker.process.runtime import Parts, Runtime
from worker.settings import Settings
from worker.simulator.orders import Delay
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator
from worker.web.callbacks import PATIENCE_SECONDS
from worker.web.server import THREADS

# Each ordinary statement has to be answered within it, on a busy machine too.
ANSWER = 1.5
# A wait for an answer and another one for a new connection; less than any other wait for a database (10 s, for a free
# connection).
SOON = 2 * ANSWER + 6.5

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgresql", "mariadb")]


@pytest.fixture
def proxy(migrated_database_url: str) -> Iterator[Proxy]:
    url = make_url(migrated_database_url)
    folder = url.query.get("host")
    upstream = Path(f"{folder}/.s.PGSQL.{url.query['port']}") if folder else (str(url.host), url.port or 0)
    with Proxy(upstream) as proxy:
        yield proxy


@pytest.fixture
def database_behind(migrated_database_url: str, proxy: Proxy) -> str:
    """The URL of the database through the proxy."""
    url = make_url(migrated_database_url).difference_update_query(["host", "port"])
    return url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)


@contextmanager
def opened(database: Database) -> Iterator[Database]:
    try:
        yield database
    finally:
        database.close()


@contextmanager
def ends_soon(seconds: float = SOON) -> Iterator[None]:
    """The block ends in time, with an error that means that the database is away."""
    began = time.monotonic()
    with pytest.raises(DBAPIError) as caught:
        yield
    assert is_unavailable(caught.value)
    assert not is_contention(caught.value)
    assert time.monotonic() - began < seconds


def session_id(connection: Connection) -> int:
    """The id of the database session."""
    function = "pg_backend_pid" if connection.dialect.name == "postgresql" else "connection_id"
    return int(connection.exec_driver_sql(f"SELECT {function}()").scalar_one())


def test_a_statement_without_an_answer_ends_and_its_connection_is_never_used_again(
    database_behind: str, proxy: Proxy
) -> None:
    with opened(Database(database_behind, answer_seconds=ANSWER)) as database:
        with ends_soon(), database.read() as connection:
            session = session_id(connection)
            proxy.set(Mode.HOLD)
            session_id(connection)
        proxy.set(Mode.PASS)
        with database.read() as connection:
            assert session_id(connection) != session


def test_a_pooled_connection_that_went_silent_is_detected_and_replaced(database_behind: str, proxy: Proxy) -> None:
    with opened(Database(database_behind, answer_seconds=ANSWER)) as database:
        with database.read() as connection:
            session = session_id(connection)
        proxy.set(Mode.HOLD)
        # The connection in the pool was given up: the next one is answered.
        event.listen(database.engine, "invalidate", lambda *_: proxy.set(Mode.PASS))
        began = time.monotonic()
        with database.read() as connection:
            assert session_id(connection) != session
        assert time.monotonic() - began < SOON


def test_a_new_connection_without_an_answer_ends_within_the_connect_timeout(database_behind: str, proxy: Proxy) -> None:
    proxy.set(Mode.HOLD)
    with (
        opened(Database(database_behind, answer_seconds=ANSWER)) as database,
        ends_soon(5 + SOON),
        database.read() as connection,
    ):
        session_id(connection)


def test_with_more_threads_than_connections_all_threads_end(database_behind: str, proxy: Proxy) -> None:
    with opened(Database(database_behind, answer_seconds=ANSWER, pool_size=1)) as database:

        def can_read() -> bool:
            with database.read() as connection:
                return bool(session_id(connection))

        assert can_read()
        proxy.set(Mode.MUTE)
        with ThreadPoolExecutor(4) as threads:
            errors = [thread.exception() for thread in [threads.submit(can_read) for _ in range(4)]]
            assert [error is not None and is_unavailable(error) for error in errors] == [True] * 4
            proxy.set(Mode.PASS)
            assert all(threads.map(lambda _: can_read(), range(4)))


def test_a_retried_transaction_commits_once_the_database_answers_again(database_behind: str, proxy: Proxy) -> None:
    with opened(Database(database_behind, answer_seconds=ANSWER)) as database, ThreadPoolExecutor(1) as thread:
        with database.read() as connection:
            session = session_id(connection)
        tries: list[float] = []

        def attempt() -> int:
            tries.append(time.monotonic())
            if len(tries) == 2:
                proxy.set(Mode.PASS)
            with database.write() as connection:
                return session_id(connection)

        proxy.set(Mode.MUTE)
        assert thread.submit(retry_until(seconds=20)(attempt)).result() != session
        assert len(tries) == 2


class LosesCommitAnswer(Database):
    """Loses the server's answer to the first COMMIT that writes; the next transaction is answered again."""

    proxy: Proxy
    losses = 1

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction whose COMMIT arrives and whose answer does not."""
        self.proxy.set(Mode.PASS)
        with super().write() as connection:
            yield connection
            if self.losses > 0:
                self.losses -= 1
                self.proxy.set(Mode.MUTE)


@pytest.fixture
def losing(database_behind: str, proxy: Proxy) -> Iterator[LosesCommitAnswer]:
    with opened(LosesCommitAnswer(database_behind, answer_seconds=ANSWER)) as database:
        assert isinstance(database, LosesCommitAnswer)
        database.proxy = proxy
        yield database


def test_a_grant_whose_commit_is_not_answered_sends_no_query_and_its_reservation_stays(
    bench: Workbench, losing: LosesCommitAnswer
) -> None:
    bench.add("a", "b")
    with ends_soon():
        Grants(losing, bench.clock, bench.rules).take(bench.slot)
    # The server may still commit when the wait for its answer ends.
    eventually(lambda: [row["outcome"] for row in bench.rows(QUERIES)] == ["in_flight"], "the reservation")
    bench.make_due()
    assert bench.grants.take(bench.slot) is None
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.run("UPDATE recharge_orders SET due_at = submitted_at")
    assert bench.take().ids == ("a", "b")


def test_a_write_back_whose_commit_is_not_answered_counts_once(bench: Workbench, losing: LosesCommitAnswer) -> None:
    bench.add("a")
    query = bench.take()
    WriteBack(losing, bench.clock, bench.rules).answered(query, answer_to(query, [item("a")]))
    assert losing.losses == 0
    order = bench.order("a")
    assert (order.state, order.query_count) == (OrderState.SUCCEEDED, 1)
    assert [row["to_state"] for row in bench.rows(EVENTS)].count(OrderState.SUCCEEDED) == 1
    assert [row["outcome"] for row in bench.rows(QUERIES)] == ["answered"]


def test_orders_whose_commit_is_not_answered_are_stored_once(bench: Workbench, losing: LosesCommitAnswer) -> None:
    answer = Intake(losing, bench.rules, bench.app_ids).enqueue_orders([{"request_id": "a"}, {"request_id": "b"}])
    assert losing.losses == 0
    assert answer == {"accepted": 0, "duplicates": 2, "rejected": []}
    assert [order.request_id for order in bench.orders()] == ["a", "b"]


class Impatient(Database):
    """The database of a process that gives up soon."""

    def __init__(self, url: str, **others: Any) -> None:
        super().__init__(url, **{**others, "answer_seconds": ANSWER})


def test_ticks_that_hang_end_and_the_process_queries_again_by_itself(
    bench: Workbench, database_behind: str, proxy: Proxy
) -> None:
    config = SimulatorConfig(
        accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),),
        window_seconds=0.3,
        adopt=True,
        delay=Delay.parse("fixed:0"),
    )
    bench.add(*(f"r{number}" for number in range(200)))
    with Simulator(config) as simulator:
        settings = Settings(
            database_url=database_behind,
            platform_url=simulator.url,
            account_sid=SID,
            auth_token=TOKEN,
            app_id=APP_ID,
            query_window_seconds=0.3,
            query_margin_seconds=0.05,
            request_deadline_seconds=0.5,
            # There is always one more to poll.
            batch_size=1,
            tick_seconds=0.05,
        )
        runtime = Runtime(settings, Parts(database=Impatient))

        def arrivals() -> int:
            return len(simulator.record.arrivals())

        eventually(lambda: arrivals() >= 2, "queries by the process's own ticks")
        proxy.set(Mode.HOLD)
        with ThreadPoolExecutor(3) as threads:
            began = time.monotonic()
            for tick in [threads.submit(runtime.ticks.tick) for _ in range(3)]:
                assert tick.result() is None
            assert time.monotonic() - began < 5 + SOON
        before = arrivals()
        proxy.set(Mode.PASS)
        eventually(lambda: arrivals() >= before + 2, "queries once the database is back")
        runtime.close()
        assert simulator.record.violations() == []


def test_150_callbacks_at_once_are_answered_within_5_seconds_and_committed_once_the_database_is_back(
    database_behind: str, proxy: Proxy, tmp_path: Path
) -> None:
    token = "a-token-of-the-account-1"
    env = environment(database_url=database_behind, callback_token=token)
    with running_serve(env, tmp_path, "--workers", "1") as (serve, url):

        def call_back(number: int) -> int:
            path, body = f"/callbacks/default/{token}", {"requestId": f"r{number}"}
            return urllib3.request("POST", url + path, json=body, retries=False, timeout=30).status

        def refused_at_once() -> int:
            return serve.output.count("the database does not answer at present")

        assert call_back(0) == 200
        proxy.set(Mode.HOLD)
        with ThreadPoolExecutor(150) as pool:
            assert set(pool.map(call_back, range(150))) == {503}
        # The others wait for their commit, as many at a time as there are threads, and no longer than this.
        refused = refused_at_once()
        assert refused >= 150 - 2 * THREADS
        assert PATIENCE_SECONDS < 5
        assert {call_back(number) for number in range(2)} == {503}
        assert refused_at_once() > refused
        proxy.set(Mode.PASS)
        eventually(lambda: call_back(0) == 200, "a commit once the database is back", every=0.2)


def test_waiting_in_vain_for_a_free_connection_means_that_the_database_is_away() -> None:
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect(), pytest.raises(NoConnectionFree) as caught:
        engine.connect()
    assert is_unavailable(caught.value)
    engine.dispose()


def test_a_worker_waits_longer_for_an_answer_than_any_statement_waits_for_a_lock(migrated_database_url: str) -> None:
    with opened(Database(migrated_database_url)) as database, database.read() as connection:
        if database.kind == "postgresql":
            waits = [connection.exec_driver_sql("SHOW lock_timeout").scalar_one().removesuffix("s")]
        else:
            names = "@@innodb_lock_wait_timeout, @@lock_wait_timeout"
            waits = list(connection.exec_driver_sql(f"SELECT {names}").one())
    assert all(1 <= float(wait) < ANSWER_SECONDS for wait in waits)
