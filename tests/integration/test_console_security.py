"""Every route of the web program, as it stands: who gets nothing, and what no page gives away.

Routes are read from the application, so one that is added is tested without a change here.
"""

import gzip
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from tests.support.console import hidden_fields
from tests.support.reconciling import Workbench
from tests.support.templates import compiled_once
from tests.support.visitors import ACTOR, READER, ConsoleProcess, Visitor, write_users
from worker.database.tables import METADATA
from worker.domain.records.operators import Part
from worker.settings import Settings
from worker.web.app import WebProcess

# Quick tests of the commands run the same statements on PostgreSQL.
pytestmark = pytest.mark.quick_on("sqlite")

MOBILE = "18812340804"
ORDER = "201601310000021"
MARKUP = "<script>alert('x')</script>"
ESCAPED = "&lt;script&gt;"
TOKEN = "a-token-of-the-account-1"
ACCOUNT = {"account_sid": "s" * 32, "auth_token": "the-auth-token", "app_id": "app-1", "callback_token": TOKEN}
METRICS_TOKEN = "a-token-that-reads-metrics"

# Who may ask without a sign-in: every visitor with the page before them.
OPEN = {"console.static", "console.sign_in", "console.choose_language"}
# What takes forms of who may not act, too.
FOR_READERS = {"/finance/compare": 422}
# What one process answers to anybody, or by another key than a sign-in.
PROBES, WATCHED, CALLBACKS = {"/livez", "/readyz"}, {"/metrics", "/healthz"}, "/callbacks/"

_PARAMETER = re.compile(r"<(?:(?P<kind>\w+)(?:\((?P<options>[^)]*)\))?:)?(?P<name>\w+)>")
_ACTS = ("resolve", "reopen", "cancel", "dismiss", "check", "resend")
_NAMED: Mapping[str, tuple[str, ...]] = {"filename": ("console.css",), "account": ("default",), "act": _ACTS}
# Whatever a form of ours may ask for: enough to be obeyed, were it not for who sends it.
_FORM = {
    **{"reason": "ticket 77", "state": "succeeded", "amount": "2.94", "account": "default", "for": "1h", "until": "1h"},
    **{"confirmed": "yes", "confirm": "yes", "force": "yes", "step": "act", "version": "1", "next": "/"},
}


def paths_of(rule: Rule) -> list[str]:
    """The paths of a route, with plausible arguments."""
    choices = []
    for found in _PARAMETER.finditer(rule.rule):
        options = [option.strip() for option in (found["options"] or "").split(",") if option.strip()]
        plain = _NAMED.get(found["name"], ("1",))
        choices.append(options if found["kind"] == "any" else ("1",) if found["kind"] == "int" else plain)
    parts = _PARAMETER.split(rule.rule)[::4]
    return [
        "".join(itertools.chain(*itertools.zip_longest(parts, chosen, fillvalue="")))
        for chosen in itertools.product(*choices)
    ]


def paths(app: Flask, method: str) -> list[tuple[str, str]]:
    """Each endpoint with its paths, as far as it takes this method."""
    return [
        (rule.endpoint, path)
        for rule in app.url_map.iter_rules()
        if method in (rule.methods or ())
        for path in paths_of(rule)
    ]


def pages(app: Flask) -> list[str]:
    """What is shown only to who may look."""
    return [path for endpoint, path in paths(app, "GET") if endpoint.startswith("console.") and endpoint not in OPEN]


def acts(app: Flask) -> list[str]:
    """What changes something, other than a sign-out; and what reads a file that is sent."""
    return [
        path
        for endpoint, path in paths(app, "POST")
        if endpoint.startswith("console.") and endpoint not in {*OPEN, "console.sign_out"}
    ]


@pytest.fixture
def bench(migrated_database_url: str) -> Iterator[Workbench]:
    workbench = Workbench(migrated_database_url)
    orders: list[Any] = [
        {"request_id": f"{ORDER}{number}", "mobile": MOBILE, "submitted_at": f"2016-01-31T10:00:0{number}+08:00"}
        for number in range(3)
    ]
    workbench.intake.enqueue_orders([*orders, {"request_id": MARKUP}, MARKUP])
    said: dict[str, object] = {"appid": "app-1", "trafficSts": "1", "remark": MARKUP, "oriAmount": "2.94"}
    workbench.intake.record_callbacks(
        [{**said, "requestId": f"{ORDER}0"}, {**said, "requestId": "unknown"}, {"x": MARKUP}]
    )
    yield workbench
    workbench.close()


@pytest.fixture
def serving(bench: Workbench, migrated_database_url: str, tmp_path: Path) -> Iterator[ConsoleProcess]:
    users = write_users(tmp_path / "users.toml")
    settings = {**ACCOUNT, "users_file": users, "metrics_token": METRICS_TOKEN}
    process = WebProcess(Settings(database_url=migrated_database_url, **settings))
    yield ConsoleProcess(compiled_once(process.app()))
    process.close()


def rows(bench: Workbench) -> dict[str, object]:
    """Everything that the database holds, but for what sign-ins and metrics leave."""
    kept = [table for name, table in METADATA.tables.items() if not name.startswith(("console_", "metric_"))]
    with bench.database.read() as connection:
        return {table.name: sorted(map(str, connection.execute(table.select()))) for table in kept}


def shows_nothing(answer: TestResponse) -> bool:
    return not any(word in answer.text for word in (MOBILE, ORDER, ESCAPED))


def test_every_route_is_known_to_this_test(serving: ConsoleProcess) -> None:
    others = {
        rule.rule
        for rule in serving.app.url_map.iter_rules()
        if not rule.endpoint.startswith(("console.", "callbacks."))
    }
    assert others <= PROBES | WATCHED
    assert "/" in pages(serving.app)


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("where", [ConsoleProcess.visitor, ConsoleProcess.local])
def test_no_page_is_shown_without_a_sign_in_wherever_it_is_asked_for(
    where: Callable[[ConsoleProcess], Visitor], serving: ConsoleProcess
) -> None:
    visitor = where(serving)
    for path in pages(serving.app):
        answer = visitor.get(path)
        assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/sign-in"), path
        part = visitor.get(path, HX_Request="true")
        assert (part.status_code, part.text) == (401, ""), path
        assert shows_nothing(answer), path


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"Host": "console.example"},
        {"Host": "localhost.evil.example"},
    ],
)
def test_what_a_proxy_on_this_machine_hands_on_is_not_shown_either(
    headers: dict[str, str], serving: ConsoleProcess
) -> None:
    for path in pages(serving.app):
        answer = serving.local().get(path, **headers)
        assert answer.status_code == 303, path
        assert shows_nothing(answer), path
    for path in WATCHED & {path for _, path in paths(serving.app, "GET")}:
        assert serving.local().get(path, **headers).status_code == 401


def test_probes_answer_anybody_and_what_is_watched_wants_a_token(serving: ConsoleProcess) -> None:
    visitor, local = serving.visitor(), serving.local()
    for path in PROBES:
        assert visitor.get(path).status_code == 200
    for path in WATCHED & {path for _, path in paths(serving.app, "GET")}:
        refused = visitor.get(path)
        assert (refused.status_code, refused.mimetype) == (401, "text/plain")
        assert "Authorization: Bearer" in refused.text
        assert "reconciler_" not in refused.text
        assert visitor.get(path, Authorization=f"Bearer {METRICS_TOKEN[:-1]}").status_code == 401
        for answer in (
            visitor.get(path, Authorization=f"Bearer {METRICS_TOKEN}"),
            local.get(path),
            serving.signed_in(READER).get(path),
        ):
            assert answer.status_code in (200, 503)
            assert shows_nothing(answer)


def test_no_act_is_done_without_a_sign_in_the_role_or_a_token(serving: ConsoleProcess, bench: Workbench) -> None:
    actor, reader = serving.signed_in(ACTOR), serving.signed_in(READER)
    other = serving.signed_in(ACTOR)
    forged = {
        "without a token": _FORM,
        "an empty token": {**_FORM, "csrf": ""},
        "an invented token": {**_FORM, "csrf": "0" * 64},
        "another session's token": {**_FORM, "csrf": other.csrf()},
        "a sign-in's token": {**_FORM, "csrf": actor.csrf("/sign-in")},
    }
    csrf = {**_FORM, "csrf": actor.csrf()}
    readers = {**_FORM, "csrf": reader.csrf()}
    before = rows(bench)
    for path in acts(serving.app):
        assert serving.visitor().post(path, csrf).status_code == 303, path
        assert serving.local().post(path, csrf).status_code == 303, path
        assert reader.post(path, readers).status_code == FOR_READERS.get(path, 403), path
        for how, form in forged.items():
            assert actor.post(path, form).status_code == 403, (path, how)
        assert actor.post(path, csrf, Sec_Fetch_Site="cross-site").status_code == 403, path
        assert actor.post(path, csrf, Origin="https://evil.example").status_code == 403, path
    for path in acts(serving.app):
        for method in ("PUT", "PATCH", "DELETE"):
            answer = actor.client.open(path, method=method, data=csrf, base_url=actor.base_url)
            assert answer.status_code == 405, path
    assert rows(bench) == before


def test_what_was_done_is_said_once_by_a_cookie_that_the_browser_keeps_for_this_host_over_https(
    serving: ConsoleProcess,
) -> None:
    actor = serving.signed_in(ACTOR)
    path = "/accounts/pause?account=default"
    typed = {"confirmed": "yes", "reason": "the platform moves"}
    form = hidden_fields(actor.get(path).text) | typed
    assert actor.post(path, form).status_code == 303
    cookie = actor.cookie("__Host-done")
    assert (cookie.secure, cookie.http_only, cookie.same_site, cookie.path) == (True, True, "Strict", "/")
    said = "default is paused until somebody resumes it."
    assert [said in unescape(actor.get("/").text) for _ in range(2)] == [True, False]


def test_a_sign_out_wants_its_token_too(serving: ConsoleProcess) -> None:
    reader = serving.signed_in(READER)
    csrf = reader.csrf()
    assert reader.post("/sign-out", {"csrf": "0" * 64}).status_code == 403
    assert reader.post("/sign-out", {"csrf": csrf}, Sec_Fetch_Site="cross-site").status_code == 403
    assert reader.get("/").status_code == 200
    assert reader.post("/sign-out", {"csrf": csrf}, Sec_Fetch_Site="same-origin").status_code == 303


def test_no_page_is_framed_or_cached_or_loads_from_elsewhere(serving: ConsoleProcess) -> None:
    for visitor in (serving.visitor(), serving.local(), serving.signed_in(ACTOR)):
        for path in [*pages(serving.app), "/sign-in", "/orders/999999999", "/nowhere"]:
            answer = visitor.get(path)
            # What is no page says so in plain text.
            if answer.status_code != 404 or answer.mimetype == "text/html":
                assert_guarded(answer, path)
        assert_guarded(visitor.post("/sign-in", {"name": ACTOR}), "POST /sign-in")
    visitor = serving.visitor()
    found = dict.fromkeys(re.findall(r'(?:href|src)="(/static/[^"]+)"', visitor.get("/sign-in").text))
    assert {path.rpartition(".")[2] for path in found} == {"css", "js", "svg"}
    for path in found:
        plain, packed = visitor.get(path), visitor.get(path, Accept_Encoding="br, gzip")
        assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert (plain.headers["Vary"], "Content-Encoding" in plain.headers) == ("Accept-Encoding", False)
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.data) == plain.data
        assert sha256(plain.data).hexdigest()[:12] in path
    assert "Content-Encoding" not in visitor.get("/sign-in", Accept_Encoding="gzip").headers
    assert visitor.get("/static/console.css").status_code == 404


def assert_guarded(answer: TestResponse, path: str) -> None:
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy, path
    assert "frame-ancestors 'none'" in policy, path
    assert "unsafe" not in policy, path
    assert answer.headers["X-Frame-Options"] == "DENY", path
    assert answer.headers["X-Content-Type-Options"] == "nosniff", path
    assert answer.headers["Referrer-Policy"] == "same-origin", path
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin", path
    assert answer.headers["Cache-Control"] == "no-store", path
    if answer.mimetype == "text/html":
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|javascript:", answer.text), path


@pytest.mark.parametrize("language", ["en", "zh"])
def test_markup_from_outside_is_text_on_every_page(language: str, serving: ConsoleProcess) -> None:
    actor = serving.signed_in(ACTOR)
    actor.headers["Accept-Language"] = language
    for path in pages(serving.app):
        for query in ("", f"?q={MARKUP}&after={MARKUP}&account={MARKUP}"):
            answer = actor.get(path + query)
            assert answer.status_code < 500, path + query
            if answer.mimetype == "text/html":
                assert MARKUP not in answer.text, path + query
    name_of_a_visitor = actor.sign_in(MARKUP).text
    assert MARKUP not in name_of_a_visitor
    assert ESCAPED in name_of_a_visitor


@pytest.mark.databases("sqlite")
def test_a_long_form_is_refused_unread(serving: ConsoleProcess) -> None:
    visitor: Visitor = serving.visitor()
    answer = visitor.post("/sign-in", {"csrf": visitor.csrf("/sign-in"), "name": ACTOR, "password": "x" * 300_000})
    assert answer.status_code == 413


@pytest.mark.databases("sqlite")
def test_callbacks_alone_show_nothing_else_and_all_but_callbacks_take_none(
    bench: Workbench, migrated_database_url: str
) -> None:
    settings = Settings(database_url=migrated_database_url, **ACCOUNT)
    for part, there, missing in (
        (
            Part.CALLBACKS,
            {"/livez", "/readyz", CALLBACKS},
            {"/", "/sign-in", "/metrics", "/healthz"},
        ),
        (Part.OPERATE, {"/livez", "/readyz", "/", "/healthz"}, {CALLBACKS}),
    ):
        process = WebProcess(settings, frozenset({part}))
        try:
            local = ConsoleProcess(compiled_once(process.app())).local()
            for path in there | missing:
                is_callback = path == CALLBACKS
                answer = local.post(f"{CALLBACKS}default/{TOKEN}") if is_callback else local.get(path)
                assert (answer.status_code == 404) is (path in missing), path
        finally:
            process.close()
