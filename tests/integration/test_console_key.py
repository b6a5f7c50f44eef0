"""The console without a file of users: who has the key that `serve` prints sees it, and others do not."""

import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from werkzeug.test import TestResponse

from tests.support.processes import environment, running_serve
from tests.support.visitors import ConsoleProcess, console_process, write_users

KEY = "the-key-of-this-serve"
OPENED = f"/sign-in?key={KEY}"

pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def serving(migrated_database_url: str) -> Iterator[ConsoleProcess]:
    with console_process(migrated_database_url, None, console_key=KEY) as process:
        yield process


def is_sent_away(answer: TestResponse) -> bool:
    return (answer.status_code, answer.location.partition("?")[0]) == (303, "/sign-in")


def test_the_console_is_not_seen_without_the_key_on_this_machine_either(serving: ConsoleProcess) -> None:
    # As a proxy on this machine asks that adds no header and speaks HTTP/1.1: nothing tells it from a browser here.
    for visitor in (serving.local(), serving.visitor()):
        for path in ("/", "/orders", "/orders/1", "/queries?format=csv", "/acts"):
            assert is_sent_away(visitor.get(path)), path
        page = visitor.get("/sign-in")
        assert (page.status_code, "reconciler serve" in page.text) == (200, True)
        assert KEY not in page.text


def test_who_opens_the_address_with_the_key_sees_the_console_from_then_on(serving: ConsoleProcess) -> None:
    visitor = serving.local()
    opened = visitor.get(OPENED)
    # The key is not in the next address: it would be in the browser's history, and in what it sends along.
    assert (opened.status_code, opened.location) == (303, "/")
    assert opened.headers["Referrer-Policy"] == "same-origin"
    assert opened.headers["Cache-Control"] == "no-store"
    assert visitor.get("/orders").status_code == 200
    cookie = visitor.cookie("key")
    assert (cookie.http_only, cookie.same_site, cookie.path, cookie.max_age) == (True, "Strict", "/", None)
    assert KEY not in visitor.get("/orders").text
    assert is_sent_away(serving.local().get("/orders"))


def test_beyond_this_machine_the_browser_keeps_the_key_for_https_alone(serving: ConsoleProcess) -> None:
    visitor = serving.visitor()
    assert visitor.get(OPENED).location == "/"
    assert visitor.get("/orders").status_code == 200
    cookie = visitor.cookie("__Host-key")
    assert (cookie.secure, cookie.http_only, cookie.same_site) == (True, True, "Strict")


@pytest.mark.parametrize("given", ["", "wrong", KEY[:-1], f"{KEY}x", KEY.upper(), "ключ", "\udcff"])
def test_another_key_opens_nothing(given: str, serving: ConsoleProcess) -> None:
    visitor = serving.local()
    answer = visitor.get("/sign-in?key=" + given.encode("utf-8", "surrogateescape").decode("latin-1"))
    assert answer.status_code in (200, 303)
    assert visitor.cookie("key") is None
    assert is_sent_away(visitor.get("/"))
    visitor.client.set_cookie("key", given.encode("utf-8", "surrogateescape").decode("latin-1"), domain="localhost")
    assert is_sent_away(visitor.get("/"))


def test_who_has_the_key_changes_nothing(serving: ConsoleProcess) -> None:
    visitor = serving.local()
    visitor.get(OPENED)
    answer = visitor.post("/accounts/pause?account=default", {"reason": "x", "confirmed": "yes", "csrf": KEY})
    assert answer.status_code == 403


def test_with_a_file_of_users_everybody_signs_in_and_no_key_opens_anything(
    migrated_database_url: str, tmp_path: Path
) -> None:
    users = write_users(tmp_path / "users.toml")
    with console_process(migrated_database_url, users, console_key=KEY) as process:
        local = process.local()
        assert is_sent_away(local.get("/orders"))
        local.get(OPENED)
        local.client.set_cookie("key", KEY, domain="localhost")
        assert is_sent_away(local.get("/orders"))
        assert local.sign_in("ann").status_code == 303
        assert local.get("/orders").status_code == 200


def test_without_a_key_nothing_is_seen(migrated_database_url: str) -> None:
    with console_process(migrated_database_url, None, console_key=None) as process:
        local = process.local()
        local.client.set_cookie("key", "None", domain="localhost")
        for path in ("/", "/sign-in?key=", "/sign-in?key=None"):
            local.get(path)
        assert is_sent_away(local.get("/"))


# ------------------------------------------------------------------------------------------------ the whole program


def get(url: str, path: str, cookie: str = "") -> tuple[int, str, str]:
    """Status, Location and Set-Cookie of a request of this machine."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Location", ""), answer.getheader("Set-Cookie", "")
    finally:
        connection.close()


@pytest.mark.slow
def test_serve_prints_the_address_and_all_its_processes_share_the_key(
    migrated_database_url: str, tmp_path: Path
) -> None:
    env = environment(database_url=migrated_database_url)
    with running_serve(env, tmp_path, "--workers", "3") as (serve, url):
        serve.wait_for("/sign-in?key=")
        (address,) = re.findall(rf"{re.escape(url)}(/sign-in\?key=\S+)", serve.output)
        key = address.partition("key=")[2]
        assert len(key) >= 24
        assert {get(url, address)[:2] for _ in range(20)} == {(303, "/")}
        cookie = get(url, address)[2].partition(";")[0]
        assert {get(url, "/orders", cookie)[0] for _ in range(20)} == {200}
        assert {get(url, "/orders")[0] for _ in range(5)} == {303}
        send_raw(url, f"GET {address} HTTP/9.9\r\n\r\n")
        send_raw(url, f"GET {address}\x01 HTTP/1.1\r\nHost: a\r\nBad header {key}\r\n\r\n")
        assert serve.stop() == 0
        # Once, where it is printed: in no line of the log.
        assert serve.output.count(key) == 1
        lines = [json.loads(line) for line in serve.output.splitlines() if line.startswith("{")]
        assert "/sign-in" in {line.get("route") for line in lines}


@pytest.mark.slow
def test_on_all_addresses_the_key_opens_the_machine_itself_and_each_start_makes_another(
    migrated_database_url: str, tmp_path: Path
) -> None:
    env = environment(database_url=migrated_database_url)
    keys = set()
    for name, host, opened in (("four", "0.0.0.0", "http://127.0.0.1:"), ("six", "::", "http://[::1]:")):
        with running_serve(env, tmp_path, "--host", host, name=name) as (serve, _):
            serve.wait_for("/sign-in?key=")
            (address,) = re.findall(r"Console: (\S+)  \(on this machine, or from another by ssh -L\)", serve.output)
            assert address.startswith(opened)
            url, _, path = address.rpartition("/")
            keys.add(path.partition("key=")[2])
            status, location, cookie = get(url, f"/{path}")
            assert (status, location, "Secure" in cookie) == (303, "/", False)
    assert len(keys) == 2


@pytest.mark.slow
def test_no_key_is_made_with_users_or_without_a_console(migrated_database_url: str, tmp_path: Path) -> None:
    users = environment(database_url=migrated_database_url, users_file=write_users(tmp_path / "users.toml"))
    with running_serve(users, tmp_path, name="users") as (serve, url):
        assert get(url, "/orders")[0] == 303
        assert serve.stop() == 0
        assert "key=" not in serve.output
    env = environment(database_url=migrated_database_url, callback_token="t" * 24)
    with running_serve(env, tmp_path, "--only", "callbacks", name="callbacks") as (serve, _):
        assert serve.stop() == 0
        assert "key=" not in serve.output


def send_raw(url: str, text: str) -> None:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        connection.sendall(text.encode("latin-1"))
        connection.recv(4096)
