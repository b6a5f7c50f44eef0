"""A whole run against a platform that repeats whatever it is sent: nothing that the run leaves holds a secret."""

import base64
import json
import re
import secrets
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from typer.testing import CliRunner

from tests.contract.platform.raw_server import Peer, RawServer, http
from tests.support.command_line import logging_restored
from tests.support.processes import FAST, Program, environment, running_beat, running_serve, running_worker, send_tasks
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually
from worker.cli.app import app
from worker.database.migrations import upgrade

pytestmark = pytest.mark.slow

# Of this run alone: other tests, whose programs may run at the same time, give a simulator its token as an argument.
TOKEN = secrets.token_hex(16)
BROKER_PASSWORD = "the-brokers-own-password"
CALLBACK_TOKENS = (secrets.token_urlsafe(24), secrets.token_urlsafe(24))
SIGNING_KEY = base64.b64encode(secrets.token_bytes(32)).decode()
RECEIVER_PATH = f"/hooks/{secrets.token_hex(16)}?key={secrets.token_hex(16)}"
"""A receiver's URL is often all that it asks for."""
SETTINGS = {
    **FAST,
    "request_deadline_seconds": 1,
    "auth_token": TOKEN,
    "callback_token": " ".join(CALLBACK_TOKENS),
    "query_window_seconds": 0.05,
    "tick_seconds": 0.2,
    "log_level": "DEBUG",
}


class Echo:
    """What a query carries that must stay secret, in every spelling in which an answer may repeat it."""

    def __init__(self, request: bytes) -> None:
        head, _, body = request.decode("ascii").partition("\r\n\r\n")
        self.sign = re.search(r"Sign=(\w{32}) ", head)[1]  # type: ignore[index]  # it is there, or the test fails
        self.authorization = re.search(r"Authorization: (\S+)", head)[1]  # type: ignore[index]  # as above
        self.ids: list[str] = json.loads(body).get("requestId", "").split(",")
        spelt = [TOKEN, TOKEN.upper(), self.sign, self.sign.lower(), self.authorization, quote(self.authorization)]
        beside_keys = [f"?Sign={self.sign}", json.dumps({"Authorization": self.authorization, "auth_token": TOKEN})]
        self.all = " ".join([*spelt, *beside_keys, *head.split("\r\n")])

    def item(self, **fields: object) -> dict[str, object]:
        item: dict[str, object] = {"requestId": self.ids[0], "trafficSts": "0", "remark": self.all}
        return {**item, **fields}


def answered(value: object, status: str = "200 OK") -> bytes:
    return http(json.dumps(value).encode(), status=status)


ENDS: list[Callable[[Echo], bytes]] = [
    lambda echo: answered([echo.item(), {"requestId": echo.sign, "remark": echo.all}]),
    lambda echo: answered({"statusCode": "-9999", "statusMsg": echo.all}),
    lambda echo: answered([echo.item(customParm=echo.authorization)]),
    lambda echo: answered({"statusCode": echo.sign, "statusMsg": echo.all}),
    lambda echo: answered([echo.item(trafficSts=TOKEN, appid=echo.sign, mobile=echo.sign.lower())]),
    lambda echo: http(f"<html>{echo.all}</html>".encode(), status="500 Internal Server Error"),
    lambda echo: answered([echo.item(oriAmount=echo.sign.lower(), trafficSts="1")]),
    lambda echo: answered({"detail": echo.all}, "403 Forbidden"),
    lambda echo: answered([echo.item()]),
    lambda echo: http(echo.all.encode(), f"Location: http://127.0.0.1/?{echo.all}", status="302 Found"),
    lambda echo: answered([echo.item()]),
    lambda echo: http(echo.all.encode(), length=100_000),
    lambda echo: answered([echo.item()]),
    lambda echo: f"HTTP/1.1 {echo.all}\r\n\r\n".encode(),
    lambda echo: f"HTTP/1.1 200 OK\r\n{echo.all}\r\nContent-Length: 2\r\n\r\n[]".encode(),
    lambda echo: http(echo.all.encode(), f"Content-Encoding: {echo.sign}", f"Content-Type: {echo.all}"),
    lambda echo: answered([echo.item(remark="x" * 1990 + echo.sign)]),
    lambda echo: http(b"", f"X-Seen: {echo.all}", status=f"429 {echo.all}"),
    lambda echo: answered({"statusCode": "-9", "statusMsg": f"too frequent {echo.all}"}),
    lambda echo: answered({"statusCode": "-205", "statusMsg": echo.all}),
    lambda echo: answered([echo.item(trafficSts="1", oriAmount="2.94")]),
]
CALLED_OPEN = (0, 8, 10, 12)
"""The answers that call the first order of a query open."""


class EchoingPlatform(RawServer):
    """Ends each query in the next of these ways, and records the secrets of each."""

    def __init__(self) -> None:
        super().__init__(self._echo)
        self.echoes: list[Echo] = []

    def _echo(self, peer: Peer) -> None:
        echo = Echo(self.requests[-1])
        self.echoes.append(echo)
        number = len(self.echoes) - 1
        if number == len(ENDS):
            # The last of them: the start of an answer, and then nothing until the deadline.
            peer.send(http(echo.all.encode(), length=100_000))
            peer.hold()
        else:
            peer.send(ENDS[number % len(ENDS)](echo))

    def still_open(self) -> str:
        """An order that an answer called open, in a remark that repeats all: not r1, which has a callback."""
        return next(echo.ids[0] for end, echo in enumerate(self.echoes) if end in CALLED_OPEN and echo.ids[0] != "r1")

    def secrets(self) -> set[str]:
        of_queries = {secret for echo in self.echoes for secret in (echo.sign, echo.authorization)}
        return {TOKEN, BROKER_PASSWORD, SIGNING_KEY, RECEIVER_PATH, *CALLBACK_TOKENS, *of_queries}


def texts_with(secrets: Iterable[str], texts: Mapping[str, str]) -> dict[str, list[str]]:
    """The texts that hold a secret in any of its spellings, with the words around it."""
    spelt = {form.casefold() for one in secrets for form in (one, quote(one, safe=""), one.replace("/", "\\/"))}
    folded = {name: text.casefold() for name, text in texts.items()}
    found: dict[str, list[str]] = {}
    # A plain search for each of hundreds of secrets: a pattern of them all takes minutes.
    for name, text in folded.items():
        for form in spelt:
            if (at := text.find(form)) >= 0:
                found.setdefault(name, []).append(text[max(0, at - 60) : at + len(form)])
    return found


def rows_of(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return "\n".join(connection.iterdump())


def all_of_redis(client: redis.Redis) -> str:
    """Every key with its value: queues, messages under way, answers of tasks."""
    return "\n".join(f"{key!r} {_value(client, key)!r}" for key in client.scan_iter())


def _value(client: redis.Redis, key: bytes) -> object:
    match client.type(key):
        case b"string":
            return client.get(key)
        case b"list":
            return client.lrange(key, 0, -1)
        case b"hash":
            return client.hgetall(key)
        case b"set":
            return client.smembers(key)
        case _:
            return client.zrange(key, 0, -1)


def processes() -> str:
    """The arguments of every process of this machine."""
    return subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True).stdout


def said(env: Mapping[str, str], *arguments: str) -> str:
    """What a command prints, whatever its exit status."""
    with logging_restored():
        result = CliRunner(env=env).invoke(app, list(arguments), prog_name="reconciler")
    return f"{result.output} {result.exception!r}"


@pytest.fixture
def broker() -> Iterator[str]:
    with EmbeddedValkey() as valkey:
        with valkey.client() as client:
            client.config_set("requirepass", BROKER_PASSWORD)
        yield valkey.url.replace("://", f"://:{BROKER_PASSWORD}@")


LISTS = (("todo",), ("queries",), ("rejected",), ("unmatched",), ("acts",), ("report",))
WHY = ("--reason", "ticket 77", "--by", "ann")
COMMANDS = (
    *(("status", *form) for form in ((), ("--json",), ("--check",), ("--check", "--json"))),
    ("health",),
    ("orders", "--json"),
    ("orders", "--summary"),
    ("order", "r1", "--json"),
    ("check", "r3", TOKEN[:-1]),
    ("resolve", "r2", "--state", "succeeded", "--amount", "1", *WHY),
    ("reopen", "r2", *WHY, "--json"),
    ("cancel", "r4", *WHY),
    ("dismiss", "r6", *WHY),
    ("pause", "default", "--for", "1m", "--dry-run", *WHY),
    ("resume", "default", *WHY),
    ("hold", "--dry-run", *WHY),
    *((*command, *form) for command in LISTS for form in ((), ("--json",))),
    ("query", "1"),
    *(("query", str(number), "--json") for number in range(1, len(ENDS) + 1)),
    ("rejected", "1", "--json"),
    ("rejected", "--retry", "1"),
    ("doctor",),
    ("doctor", "--json"),
    ("compare", "STATEMENT", "--from", "today", "--json"),
    ("purge", "--orders", "90d", "--yes"),
    ("purge", "--older-than", "30d", "--dry-run"),
    ("report", "--json"),
    ("notifications",),
    ("notifications", "--json"),
    ("notify-test",),
    ("notify-test", "--json"),
    ("resend", "r1"),
    ("todo", "--json"),
    ("migrate",),
    ("rejected", "--json"),
    ("unmatched", "--json"),
)


def call_back(serve: str) -> None:
    """Callbacks over HTTP, right ones and such as a server reports: each has a token in its path."""
    port = int(serve.rpartition(":")[2])
    body = b'{"requestId": "r2", "trafficSts": "0"}'
    for token in CALLBACK_TOKENS:
        path = f"/callbacks/default/{token}"
        requests = [
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nno {path}".encode(),
            f"GET {path}?{token} HTTP/1.1\r\nHost: h\r\nReferer: {path}\r\n\r\n".encode(),
            f"POST {path} HTTP/7.7\r\n\r\n".encode(),
            f"POST {path} {path}\r\n\r\n".encode(),
            f"POST {path} HTTP/1.1\r\nHost: h\r\n{path}\r\n\r\n".encode(),
            f"POST {path}{'x' * 3000} HTTP/1.1\r\nHost: h\r\n\r\n".encode(),
        ]
        for request in requests:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, suppress(ConnectionError):
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass


def run_all(platform: EchoingPlatform, env: Mapping[str, str], broker: str, folder: Path) -> dict[str, str]:
    """Run everything, through every end of a query and through a database that breaks; returns what it printed."""
    file = folder / "orders.db"
    texts: dict[str, str] = {}
    json_env = {**env, "RECONCILER_LOG_FORMAT": "json"}
    with (
        running_worker(env, folder, "--task-events", name="console") as console,
        running_worker(json_env, folder, name="machine") as machine,
        running_beat(json_env, folder) as beat,
        running_serve(env, folder, "--workers", "1") as (serve, serve_url),
    ):
        orders = [{"request_id": f"r{number}", "mobile": "18812340804"} for number in range(1, 40)]
        answers = send_tasks(broker, ("reconciler.enqueue_orders", [[*orders, {"request_id": "?"}]]), backend=broker)
        callback = {"requestId": "r1", "trafficSts": "1", "remark": "done"}
        answers += send_tasks(broker, ("reconciler.record_callbacks", [[callback, "junk"]]), backend=broker)
        texts["answers"] = json.dumps(answers)
        call_back(serve_url)
        eventually(lambda: len(platform.echoes) > len(ENDS) + 1, "a query for each of its ends")
        texts["processes"] = processes()
        assert "celery" in texts["processes"]
        statement = folder / "statement.csv"
        statement.write_text("request_id,state,amount\nr1,1,2.94\nr2,-1,\n", "utf-8")
        for command in COMMANDS:
            named = [str(statement) if word == "STATEMENT" else word for word in command]
            texts[" ".join(command)] = said(env, *named)
        texts["order"] = said(env, "order", platform.still_open())
        break_the_database(file, broker, console, machine)
        with redis.Redis.from_url(broker) as client:
            texts["broker"] = all_of_redis(client)
        assert [program.stop() for program in (beat, console, machine, serve)] == [0, 0, 0, 0]
    texts["database"] = rows_of(file)
    texts |= {path.name: path.read_text(errors="replace") for path in folder.iterdir() if path.suffix == ".log"}
    return texts


def break_the_database(file: Path, broker: str, *workers: Program) -> None:
    """Store values that the product never writes: every process logs tracebacks of its passes and of retried tasks."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=20)) as connection:
        (due_at,) = connection.execute("SELECT due_at FROM query_budgets").fetchone()
        connection.execute("UPDATE query_budgets SET due_at = 'junk'")
        connection.execute("UPDATE recharge_orders SET submitted_at = 'junk' WHERE request_id = 'r5'")
        send_tasks(broker, *[("reconciler.check_orders", [[{"request_id": "r5"}]])] * 4)
        for worker in workers:
            worker.wait_for("Traceback")
        eventually(lambda: any("task_failed" in worker.output for worker in workers), "a task that fails")
        connection.execute("UPDATE query_budgets SET due_at = ?", (due_at,))
        connection.execute("UPDATE recharge_orders SET submitted_at = created_at WHERE request_id = 'r5'")


def test_nothing_that_a_run_leaves_holds_a_secret(broker: str, tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'orders.db'}")
    # A receiver that repeats in its answers what only it and we know.
    repeated = http(f"whsec_{SIGNING_KEY} {SIGNING_KEY} {RECEIVER_PATH}".encode())
    with EchoingPlatform() as platform, RawServer(repeated) as receiver:
        urls = {"broker_url": broker, "result_backend": broker, "database_url": f"sqlite:///{tmp_path / 'orders.db'}"}
        told = {"notify_url": receiver.url + RECEIVER_PATH, "notify_secret": f"whsec_{SIGNING_KEY}"}
        env = environment(platform_url=platform.url, **urls, **told, **SETTINGS)
        texts = run_all(platform, env, broker, tmp_path)
    texts["wrong token"] = said(env | {"RECONCILER_CALLBACK_TOKEN": " ".join([*CALLBACK_TOKENS, TOKEN])}, "status")
    texts["wrong settings"] = said(env | {"RECONCILER_AUTH_TOKEN": f"{TOKEN} {TOKEN}"}, "status")
    misspelt = {"RECONCILER_BROKER_URL": broker.replace("redis:", "radis:")}
    wrong_secret = {"RECONCILER_NOTIFY_SECRET": f"whsec_{SIGNING_KEY}="}
    texts["wrong secret"] = said(env | wrong_secret, "notifications") + said(env | wrong_secret, "doctor")
    texts["wrong broker"] = said(env | misspelt, "doctor")
    assert texts_with(platform.secrets(), texts) == {}
    # The repeated secrets did arrive, masked. Otherwise there would have been nothing to find.
    for name in ("database", "console.log", "machine.log", "order", "notify-test"):
        assert "***" in texts[name], name
    ends = ("answered", "refused", "http_error", "malformed", "timeout")
    assert [end for end in ends if f"'{end}'" not in texts["database"]] == []
    assert "http_request" in texts["serve.log"]
    assert "task_failed" in texts["console.log"] + texts["machine.log"]
    # The search does find a secret that is there.
    planted = {
        "a": f"x?sign={platform.echoes[-1].sign.title()}",
        "b": quote(platform.echoes[0].authorization),
        "c": "x",
    }
    assert set(texts_with(platform.secrets(), planted)) == {"a", "b"}
