"""The files of deploy/nginx and deploy/caddy: real requests through the real proxies to real `reconciler serve`."""

import re
import secrets
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.deploy.web_clients import (
    LONGEST,
    PATH,
    TOKEN,
    Browser,
    callback,
    first_answer,
    has_ended,
    requests_with_a_token,
    slow_senders,
)
from tests.deploy.web_proxies import CADDYFILE, CALLBACKS, CONSOLE, NGINX_FILES, OTHER, Answer, Caddy, Nginx, WebProxy
from tests.support.needed import needed
from tests.support.processes import Program, environment, running_serve
from tests.support.proxy import Proxy
from tests.support.server_process import free_port
from tests.support.sql import column_of
from tests.support.visitors import ACTOR, PASSWORD, write_users
from tests.support.waiting import eventually

pytestmark = [pytest.mark.deploy, pytest.mark.databases("sqlite")]

KINDS: Mapping[str, Callable[..., WebProxy]] = {
    "nginx": Nginx,
    # Its default since 1.29.7.
    "nginx by HTTP/1.1": partial(Nginx, defaults="proxy_http_version 1.1;"),
    "caddy": Caddy,
}


@dataclass(frozen=True, kw_only=True)
class Served:
    """Two programs `serve` on one database, set up as the heads of the files say; each has 16 threads."""

    database_url: str
    console: Program
    addresses: Mapping[str, str]

    def has_taken_in(self, request_id: str) -> bool:
        """Whether a callback came about this order, which was never enqueued."""
        return request_id in column_of(self.database_url, "SELECT request_id FROM unmatched_callbacks")


@pytest.fixture(scope="module")
def served(migrated_module_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    given = {"database_url": migrated_module_url, "trusted_proxies": 1}
    callbacks = environment(**given, callback_token=TOKEN, callback_allow="127.0.0.1")
    console = environment(**given, users_file=write_users(folder / "users.toml"))
    options = ("--workers", "1", "--only")
    with (
        running_serve(callbacks, folder, *options, "callbacks", name="callbacks") as (_, callbacks_url),
        running_serve(console, folder, *options, "operate", name="console") as (program, console_url),
    ):
        addresses = {"callbacks": urlsplit(callbacks_url).netloc, "console": urlsplit(console_url).netloc}
        yield Served(database_url=migrated_module_url, console=program, addresses=addresses)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Callable[..., WebProxy]:
    """A kind of proxy: takes the addresses of `serve`."""
    return KINDS[request.param]


@pytest.fixture(scope="module")
def proxy(kind: Callable[..., WebProxy], served: Served) -> Iterator[WebProxy]:
    with kind(**served.addresses) as proxy:
        yield proxy


def call_back(proxy: WebProxy, request_id: str, length: int = 0, **more: Any) -> Answer:
    return proxy.request(CALLBACKS, "POST", PATH, callback(request_id, length), **more)


@pytest.fixture
def order() -> str:
    """An id that no other test has."""
    return secrets.token_hex(8)


def test_a_callback_is_taken_in_and_no_other_path_of_its_host_leads_anywhere(
    proxy: WebProxy, served: Served, order: str
) -> None:
    answer = call_back(proxy, order)
    assert (answer.status, answer.text, served.has_taken_in(order)) == (200, "Success", True)
    for path in ("/", "/livez", "/readyz", "/healthz", "/metrics", "/sign-in", "/callbacksx/default/x"):
        for method in ("GET", "POST"):
            assert proxy.request(CALLBACKS, method, path).status == 404, path
    for path in ("/callbacks/../readyz", "/callbacks/%2e%2e/readyz", "/callbacks/..%2freadyz", "//readyz", f"{PATH}x"):
        assert proxy.request(CALLBACKS, "POST", path, callback(order)).status == 404, path


@pytest.mark.parametrize("chunked", [False, True], ids=["of a stated length", "in chunks"])
def test_a_body_of_64_kib_passes_and_one_byte_more_does_not(
    proxy: WebProxy, served: Served, order: str, chunked: bool
) -> None:
    assert call_back(proxy, order, LONGEST, chunked=chunked).status == 200
    assert served.has_taken_in(order)
    assert call_back(proxy, f"{order}-longer", LONGEST + 1, chunked=chunked).status == 413
    assert not served.has_taken_in(f"{order}-longer")


def test_a_forged_sender_counts_neither_for_callbacks_nor_in_the_log_of_the_console(
    proxy: WebProxy, served: Served, order: str
) -> None:
    allowed, other, forged = "127.0.0.1", "127.0.0.2", "203.0.113.9"
    # By WSGI's names X_Forwarded_For and X-Forwarded-For are the same.
    for header in ("X-Forwarded-For", "X_Forwarded_For", "X-Real-IP"):
        assert call_back(proxy, f"{order}-not", source=other, headers={header: allowed}).status == 404
        assert call_back(proxy, order, headers={header: forged}).status == 200
    assert not served.has_taken_in(f"{order}-not")
    proxy.request(CONSOLE, "GET", "/sign-in", source=other, headers={"X-Forwarded-For": forged})
    served.console.wait_for(f'"client": "{other}"')
    assert forged not in served.console.output


def test_bodies_that_stall_or_drip_hold_no_other_request_up(proxy: WebProxy, served: Served, order: str) -> None:
    with slow_senders(proxy, order) as (_, dripping):
        for number in range(3):
            for sender in dripping:
                # nginx ends a body that has stood still for 10 s, as on a busy machine.
                with suppress(OSError):
                    sender.sendall(b" ")
            assert call_back(proxy, f"{order}-{number}").status == 200
            assert proxy.request(CONSOLE, "GET", "/sign-in").status == 200
    assert not served.has_taken_in(order)


@pytest.mark.parametrize("kind", ["nginx"], indirect=True)
def test_nginx_cuts_off_a_body_that_stalls(proxy: WebProxy, order: str) -> None:
    with slow_senders(proxy, order) as (stalled, _):
        # After the 10 seconds of the files; nginx's default is 60.
        eventually(lambda: all(map(has_ended, stalled)), "the end of all that stalled", seconds=40, every=0.5)


def test_while_serve_is_away_the_answer_is_502_and_then_a_callback_is_taken_in(
    kind: Callable[..., WebProxy], served: Served, order: str
) -> None:
    ports = {"callbacks": free_port(), "console": free_port()}
    with kind(**{name: f"127.0.0.1:{port}" for name, port in ports.items()}) as proxy:
        assert call_back(proxy, order).status == 502
        assert proxy.request(CONSOLE, "GET", "/orders").status == 502
        host, _, port = served.addresses["callbacks"].partition(":")
        with Proxy((host, int(port)), port=ports["callbacks"]):
            assert call_back(proxy, order).status == 200
        proxy.stop()
        assert TOKEN not in proxy.logged
    assert served.has_taken_in(order)


def test_a_person_signs_in_at_the_console_and_no_form_of_another_site_is_taken(proxy: WebProxy) -> None:
    browser = Browser(proxy)
    sent_away = browser.get("/orders")
    assert (sent_away.status, sent_away.headers["Location"]) == (303, "/sign-in?next=/orders?")
    page = browser.get("/sign-in")
    assert page.headers.get_all("Strict-Transport-Security") == ["max-age=31536000"]
    typed = {"name": ACTOR, "password": PASSWORD}
    assert browser.post("/sign-in", page, **typed, origin="https://evil.example").status == 403
    assert browser.post("/sign-in", page, **typed, csrf="0" * 64).status == 403
    assert browser.post("/sign-in", page, **typed).status == 303
    assert "__Host-session" in browser.cookies
    shown = browser.get("/orders")
    assert (shown.status, ACTOR in shown.text) == (200, True)
    assert browser.post("/sign-out", shown, csrf="0" * 64).status == 403
    assert browser.post("/sign-out", shown, origin="https://evil.example").status == 403
    assert browser.post("/sign-out", shown).status == 303
    assert browser.get("/orders").status == 303


def test_the_host_of_the_console_forwards_neither_metrics_nor_health_nor_callbacks(
    proxy: WebProxy, served: Served
) -> None:
    before = len(served.console.output)
    for path in ("/metrics", "/healthz", "/metrics?x", "//metrics", "/./healthz", "/%6detrics", "/x/../metrics"):
        assert proxy.request(CONSOLE, "GET", path).status == 404, path
    for path in (PATH, f"/{PATH}", PATH.replace("c", "%63", 1), "/callbacks/"):
        assert proxy.request(CONSOLE, "POST", path, callback("of-the-console")).status == 404, path
    # A sender of another test, who has gone, may be answered as late.
    assert {*re.findall(r'"route": "([^"]*)"', served.console.output[before:])} <= {"/sign-in"}


def test_no_log_of_a_proxy_holds_a_token(proxy: WebProxy) -> None:
    for name in (CALLBACKS, CONSOLE, "unknown.example.com", "127.0.0.1"):
        for sent in requests_with_a_token(name):
            for sni in (CALLBACKS, CONSOLE):
                first_answer(proxy.connect(sni), sent)
            for port in (proxy.http_port, proxy.https_port):
                first_answer(socket.create_connection(("127.0.0.1", port), 20), sent)
    for unknown in ("unknown.example.com", None):
        with pytest.raises(ssl.SSLError):
            proxy.connect(unknown)
    assert proxy.request(OTHER, "GET", "/a-path-of-the-other-site").status == 404
    proxy.stop()
    assert TOKEN not in proxy.logged
    # What is logged is seen here.
    assert "a-path-of-the-other-site" in proxy.logged
    proxy.start()


def test_other_hosts_and_plain_http_are_answered_404(proxy: WebProxy) -> None:
    post = f"POST {PATH} HTTP/1.1\r\nHost: {{}}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{{{}}}}"
    for host in (CALLBACKS, "unknown.example.com", "127.0.0.1"):
        plain = socket.create_connection(("127.0.0.1", proxy.http_port), 20)
        assert first_answer(plain, post.format(host).encode()).split()[1] == b"404", host
    for host in (CONSOLE, "unknown.example.com"):
        answer = first_answer(proxy.connect(CALLBACKS), post.format(host).encode())
        assert answer.split()[1] == b"404", host


def test_the_files_have_no_fault_that_a_checker_knows() -> None:
    for command in ([needed("gixy"), *map(str, NGINX_FILES)], [needed("caddy"), "fmt", "--diff", str(CADDYFILE)]):
        checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert checked.returncode == 0, checked.stdout + checked.stderr
