"""`reconciler serve` as a process of its own: callbacks over real HTTP, and what forgers and faults do to it."""

import http.client
import json
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.missing import without
from tests.support.processes import SERVE, SHOW_FORKS, Program, environment, forks, is_running, running_serve
from tests.support.raw_query import APP_ID
from tests.support.sql import column_of, execute, rows_of
from tests.support.waiting import eventually, locked_table
from worker.adapters.log import VERSION
from worker.database.transactions import Database
from worker.domain.records.accounts import Rules
from worker.process.intake import Intake

pytestmark = pytest.mark.slow

TOKEN, NORTH_TOKEN = "the-token-of-account-default", "the-token-of-account-north"
NORTH = f'[north]\naccount_sid = "north"\nauth_token = "t"\napp_id = "app-2"\ncallback_token = "{NORTH_TOKEN}"\n'
PATH = f"/callbacks/default/{TOKEN}"


@dataclass
class Deployment:
    """A receiver on a database."""

    database_url: str
    program: Program
    url: str

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        """One request; its headers have dashes for underscores."""
        parts = urlsplit(self.url)
        with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=100)) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            assert answer.getheader("Connection") == "close"
            return answer.status, answer.read().decode()

    def call_back(self, request_id: str, path: str = PATH, **fields: object) -> tuple[int, str]:
        item = {"requestId": request_id, "trafficSts": "1", "oriAmount": "2.94", "mobile": "188****0804", **fields}
        return self.send("POST", path, json.dumps(item).encode(), Content_Type="application/json")

    def deliver(self, request_id: str, path: str = PATH, **fields: object) -> tuple[int, str]:
        """Call back as the platform does, which sends again what is put off: the answer is never 503."""

        def answer() -> tuple[int, str] | None:
            status, said = self.call_back(request_id, path, **fields)
            return None if status == 503 else (status, said)

        return eventually(answer, f"an answer about {request_id}")

    def enqueue(self, *request_ids: str, account: str = "default") -> None:
        orders = [{"request_id": one, "mobile": "18812340804", "account": account} for one in request_ids]
        with closing(Database(self.database_url, pool_size=1)) as database:
            answer = Intake(database, Rules(), {"default": APP_ID, "north": "app-2"}).enqueue_orders(orders)
        assert answer["accepted"] == len(orders)

    def rows(self, statement: str) -> list[Any]:
        return rows_of(self.database_url, statement)

    def states(self) -> dict[str, str]:
        return dict(self.rows("SELECT request_id, state FROM recharge_orders"))


@contextmanager
def serving(
    database_url: str,
    folder: Path,
    *options: str,
    program: Sequence[str] = SERVE,
    settings: Mapping[str, object] | None = None,
) -> Iterator[Deployment]:
    accounts = folder / "accounts.toml"
    accounts.write_text(NORTH)
    accounts.chmod(0o600)
    given = {"callback_token": TOKEN, "accounts_file": accounts, "database_url": database_url, **(settings or {})}
    with running_serve(environment(**given), folder, *options, program=program) as (serve, url):
        yield Deployment(database_url, serve, url)


@pytest.fixture(scope="module")
def shared(migrated_module_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with serving(migrated_module_url, tmp_path_factory.mktemp("serve")) as deployment:
        yield deployment


@pytest.fixture
def serve(shared: Deployment) -> Deployment:
    tables = ("recharge_orders", "order_events", "unmatched_callbacks", "rejected_orders")
    execute(shared.database_url, *(f"DELETE FROM {table}" for table in tables))
    return shared


@pytest.fixture
def own_serve(migrated_database_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with serving(migrated_database_url, tmp_path) as deployment:
        yield deployment


def test_a_callback_is_answered_once_it_is_committed_and_settles_its_order_once(serve: Deployment) -> None:
    serve.enqueue("r1", "r2")
    assert serve.deliver("r1") == (200, "Success")
    assert serve.states() == {"r1": "succeeded", "r2": "pending"}
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: serve.deliver(f"r{1 + number % 2}"), range(64)))
    assert set(answers) == {(200, "Success")}
    assert serve.states() == {"r1": "succeeded", "r2": "succeeded"}
    kinds = serve.rows("SELECT kind, count(*) FROM order_events GROUP BY kind")
    assert dict(kinds)["settled"] == 2
    # Two that commit at the same moment may both be recorded.
    assert dict(kinds)["ignored"] <= 2 * 2


def test_forged_callbacks_settle_nothing_and_leave_no_row(serve: Deployment) -> None:
    serve.enqueue("r1")
    serve.enqueue("n1", account="north")
    forged = [
        f"/callbacks/default/{TOKEN[:-1]}x",
        f"/callbacks/default/{NORTH_TOKEN}",
        f"/callbacks/north/{TOKEN}",
        f"/callbacks/nobody/{TOKEN}",
        "/callbacks/default/",
        f"/callbacks/default/{'x' * 1500}",
    ]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: serve.call_back("r1", forged[number % len(forged)]), range(300)))
    assert {status for status, _ in answers} == {404}
    huge = b'{"requestId": "r1", "trafficSts": "1", "remark": "' + b"x" * 900_000 + b'"}'
    assert serve.send("POST", PATH, huge)[0] == 413
    assert serve.send("POST", forged[0], huge)[0] == 404
    for table in ("rejected_orders", "unmatched_callbacks"):
        assert serve.rows(f"SELECT * FROM {table}") == []
    # With the right token of another account.
    assert serve.deliver("n1", appid="app-2")[0] == 200
    assert serve.deliver("n1")[0] == 200
    assert serve.states() == {"r1": "pending", "n1": "pending"}
    assert serve.rows("SELECT account FROM unmatched_callbacks") == [("default",)]
    assert len(serve.rows("SELECT * FROM rejected_orders")) == 1
    assert serve.deliver("n1", f"/callbacks/north/{NORTH_TOKEN}")[0] == 200
    assert serve.states() == {"r1": "pending", "n1": "succeeded"}


@pytest.mark.databases("sqlite")
def test_connections_that_are_kept_open_delay_no_other(migrated_database_url: str, tmp_path: Path) -> None:
    with serving(migrated_database_url, tmp_path, "--workers", "1") as serve, ExitStack() as stack:
        parts = urlsplit(serve.url)
        lines = [socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) for _ in range(12)]
        began = time.monotonic()
        for held in lines:
            stack.enter_context(closing(held))
            held.sendall(b"POST /callbacks/default/wrong HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        assert {held.recv(12) for held in lines} == {b"HTTP/1.1 404"}
        assert serve.send("GET", "/livez")[0] == 200
        # Each would delay the next by two seconds, 22 in all.
        assert time.monotonic() - began < 20


def test_no_log_line_holds_a_token_or_a_guess(own_serve: Deployment) -> None:
    guess = "a-guess-that-nobody-should-read"
    own_serve.call_back("r1")
    own_serve.call_back("r1", f"/callbacks/default/{guess}")
    for broken in (
        f"POST {PATH} HTTP/9.9",
        f"P<ST {PATH} HTTP/1.1",
        f"POST {PATH}/{guess} HTTP/1.1\r\nContent-Length: x",
    ):
        raw_request(own_serve, f"{broken}\r\n\r\n".encode())
    own_serve.program.stop()
    assert "http_request" in own_serve.program.output
    assert not [word for word in (TOKEN, guess) if word in own_serve.program.output]


def test_a_body_that_does_not_come_whole_is_not_taken_in(serve: Deployment) -> None:
    body = b"requestId=r1&trafficSts=1"
    head = f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body) + 9}\r\n\r\n".encode()
    raw_request(serve, head + body)
    chunked = f"POST {PATH} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    raw_request(serve, chunked + b"19\r\n" + body + b"\r\nzz\r\n")
    raw_request(serve, chunked + b"19\r\n" + body + b"\r\n")
    assert serve.rows("SELECT id FROM unmatched_callbacks UNION SELECT id FROM rejected_orders") == []
    whole = raw_request(serve, chunked + b"19\r\n" + body + b"\r\n0\r\n\r\n")
    assert b"Success" in whole
    assert len(serve.rows("SELECT * FROM unmatched_callbacks")) == 1


def raw_request(serve: Deployment, sent: bytes) -> bytes:
    """What comes back for these bytes, after which the client sends no more."""
    parts = urlsplit(serve.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(4096):
            received += part
        return received


KILLED = """
import os, signal, sys
from pathlib import Path
from worker.adapters.log import configure_logging
from worker.process.intake import Intake
from worker.settings import load_settings
from worker.web.app import WebProcess
from worker.web.server import Server

class KilledAfterCommit(Intake):
    def receive_callbacks(self, received):
        keys = super().receive_callbacks(received)
        if Path("kill").exists():
            os.unlink("kill")
            os.kill(os.getpid(), signal.SIGKILL)
        return keys

configure_logging("INFO", "json")
make = lambda settings, parts: WebProcess(settings, parts, intake=KilledAfterCommit)
Server(load_settings(), host="127.0.0.1", port=0, workers=1, make_process=make).run()
"""


def test_a_callback_whose_process_dies_between_commit_and_answer_settles_its_order_once(
    migrated_database_url: str, tmp_path: Path
) -> None:
    with serving(migrated_database_url, tmp_path, program=[sys.executable, "-c", KILLED]) as serve:
        serve.enqueue("r1")
        (tmp_path / "kill").touch()
        with pytest.raises((OSError, http.client.HTTPException)):
            serve.call_back("r1")
        assert serve.states() == {"r1": "succeeded"}
        # As the platform does, which had no answer: another process has taken the place of the one that died.
        assert eventually(lambda: repeated(serve), "an answer to the repeated callback") == (200, "Success")
        kinds = column_of(serve.database_url, "SELECT kind FROM order_events ORDER BY id")
        assert kinds == ["settled", "ignored"]


def test_no_collection_of_garbage_in_a_process_writes_to_what_was_imported_before_the_fork(
    migrated_database_url: str, tmp_path: Path
) -> None:
    program = [sys.executable, "-c", SHOW_FORKS + "from worker.cli import main; main()", "serve"]
    with serving(migrated_database_url, tmp_path, program=program) as serve:
        eventually(lambda: len(forks(serve.program)) == 2, "two processes")
        assert all(frozen > 10 * others for frozen, others in forks(serve.program)), forks(serve.program)


def repeated(serve: Deployment) -> tuple[int, str] | None:
    try:
        return serve.deliver("r1")
    except (OSError, http.client.HTTPException):
        return None


@pytest.mark.databases("postgresql", "mariadb")
def test_while_the_database_keeps_silent_the_answer_is_503(serve: Deployment) -> None:
    serve.enqueue("r1")
    with locked_table(serve.database_url, "recharge_orders"):
        assert serve.call_back("r1")[0] == 503
    assert serve.deliver("r1")[0] == 200
    assert serve.states() == {"r1": "succeeded"}


def test_probes_say_whether_callbacks_can_be_taken_in(own_serve: Deployment) -> None:
    assert own_serve.send("GET", "/livez") == (200, "alive\n")
    assert own_serve.send("GET", "/readyz") == (200, "ready\n")
    execute(own_serve.database_url, "UPDATE alembic_version SET version_num = '9999'")
    # A newer release has migrated it, and has kept what this one needs.
    assert own_serve.send("GET", "/readyz") == (200, "ready\n")
    execute(own_serve.database_url, "UPDATE alembic_version SET version_num = '0009'")

    def is_refused() -> bool:
        status, said = own_serve.send("GET", "/readyz")
        return status == 503 and "0009" in said

    # Each process keeps for a second what it has read.
    eventually(is_refused, "a process that is not ready")
    assert own_serve.send("GET", "/livez")[0] == 200


@pytest.mark.databases("sqlite")
def test_it_ends_in_order_and_leaves_nothing_running(migrated_database_url: str, tmp_path: Path) -> None:
    with serving(migrated_database_url, tmp_path, "--workers", "2") as serve:
        children = eventually(lambda: found if len(found := serve.program.children()) == 2 else None, "two processes")
        assert serve.program.stop(how=signal.SIGTERM) == 0
        # One that was killed may have nobody who reaps it.
        eventually(lambda: not any(map(is_running, children)), "the end of both processes")


@pytest.mark.databases("sqlite")
def test_its_log_begins_with_its_version(migrated_database_url: str, tmp_path: Path) -> None:
    with serving(migrated_database_url, tmp_path) as serve:
        records = [json.loads(line) for line in serve.program.output.splitlines() if line.startswith("{")]
    assert (records[0]["action"], records[0]["version"]) == ("started", VERSION)


@pytest.mark.databases("sqlite")
def test_a_bind_beyond_loopback_is_warned_of(migrated_database_url: str, tmp_path: Path) -> None:
    with serving(migrated_database_url, tmp_path, "--host", "0.0.0.0") as serve:
        assert "Warning: 0.0.0.0 can be reached from other machines" in serve.program.output
        assert (
            "Warning: there is no user who could sign in at the console: set RECONCILER_USERS_FILE"
            in serve.program.output
        )
        assert "people sign in at the console over https only" in serve.program.output


@pytest.mark.databases("sqlite")
def test_each_part_is_warned_of_what_it_lacks_alone(migrated_database_url: str, tmp_path: Path) -> None:
    env = environment(database_url=migrated_database_url)
    with running_serve(env, tmp_path, "--only", "callbacks", "--host", "0.0.0.0", name="callbacks") as (program, _):
        assert "Warning: no account has a token" in program.output
        assert "sign in" not in program.output
    with running_serve(env, tmp_path, "--only", "operate", name="operate") as (program, url):
        assert "Warning" not in program.output
        deployment = Deployment(migrated_database_url, program, url)
        assert deployment.send("GET", "/sign-in")[0] == 200
        assert deployment.send("GET", "/")[0] == 303
        assert deployment.send("POST", PATH, b"{}")[0] == 404
    users = tmp_path / "users.toml"
    users.write_text("no TOML")
    env = environment(database_url=migrated_database_url, users_file=users)
    with running_serve(env, tmp_path, "--only", "operate", name="users") as (program, _):
        assert f"Warning: no user can sign in: {users} is not valid TOML" in program.output


@pytest.mark.parametrize("package", ["flask", "gunicorn"])
def test_without_the_extra_one_line_says_how_to_install_it(package: str, tmp_path: Path) -> None:
    code = "from worker.cli import main; sys.argv = ['reconciler', 'serve']; main()"
    command: list[str] = without([package], code)
    env: Mapping[str, str] = environment()
    with Program(*command, env=env, log=tmp_path / "serve.log") as program:
        assert program.wait() == 1
        assert program.output == (
            f"Error: the package {package} is not installed: pip install 'recharge-reconciler[web]'\n"
        )
