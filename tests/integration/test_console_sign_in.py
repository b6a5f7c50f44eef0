"""Signing in at the console, on each database: sessions, lock-out, and what ends them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from tests.support.sql import execute, rows_of
from tests.support.visitors import ACTOR, PASSWORD, READER, ConsoleProcess, console_process, write_users
from worker.adapters.users_file import editing
from worker.domain.records.operators import Role
from worker.web.users import hash_of


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    return write_users(tmp_path / "users.toml")


@pytest.fixture
def serving(migrated_database_url: str, users_file: Path) -> Iterator[ConsoleProcess]:
    with console_process(migrated_database_url, users_file) as process:
        yield process


def test_who_signs_in_sees_their_name_until_they_sign_out(serving: ConsoleProcess, migrated_database_url: str) -> None:
    visitor = serving.visitor()
    sent_away = visitor.get("/?a=1")
    assert (sent_away.status_code, sent_away.location) == (303, "/sign-in?next=/?a%3D1")
    answer = visitor.sign_in(ACTOR, next="/?a=1")
    assert (answer.status_code, answer.location) == (303, "/?a=1")
    page = visitor.get("/")
    assert page.status_code == 200
    assert ACTOR in page.text
    cookie = visitor.cookie("__Host-session")
    assert (cookie.secure, cookie.http_only, cookie.same_site, cookie.path) == (True, True, "Lax", "/")
    assert cookie.value not in str(rows_of(migrated_database_url, "SELECT * FROM console_sessions"))
    assert visitor.post("/sign-out").status_code == 403
    assert visitor.post("/sign-out", {"csrf": visitor.csrf()}).status_code == 303
    assert visitor.get("/").status_code == 303
    assert rows_of(migrated_database_url, "SELECT * FROM console_sessions") == []


def test_a_token_that_was_signed_out_is_no_good_any_more(serving: ConsoleProcess) -> None:
    visitor = serving.signed_in(READER)
    token = visitor.cookie("__Host-session").value
    visitor.post("/sign-out", {"csrf": visitor.csrf()})
    visitor.client.set_cookie("__Host-session", token, domain="console.example")
    assert visitor.get("/").status_code == 303


def test_a_new_sign_in_replaces_the_token(serving: ConsoleProcess, migrated_database_url: str) -> None:
    visitor = serving.signed_in(READER)
    first = visitor.cookie("__Host-session").value
    assert visitor.sign_in(ACTOR).status_code == 303
    assert visitor.cookie("__Host-session").value != first
    assert rows_of(migrated_database_url, "SELECT user_name FROM console_sessions") == [(ACTOR,)]


def test_the_page_after_a_sign_in_is_one_of_ours(serving: ConsoleProcess) -> None:
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:x"):
        assert serving.visitor().sign_in(READER, next=elsewhere).location == "/"


def test_a_wrong_password_and_an_unknown_user_are_answered_alike(serving: ConsoleProcess) -> None:
    wrong = serving.visitor().sign_in(ACTOR, "not the right password")
    unknown = serving.visitor().sign_in("nobody", "not the right password")
    assert wrong.status_code == unknown.status_code == 403
    assert "The name or the password is wrong." in wrong.text
    assert "The name or the password is wrong." in unknown.text
    assert "not the right password" not in wrong.text


@pytest.mark.parametrize("name", [ACTOR, "nobody"])
def test_after_five_failures_a_name_has_to_wait_from_every_address(
    name: str, serving: ConsoleProcess, migrated_database_url: str
) -> None:
    began = monotonic()
    for _ in range(5):
        assert serving.visitor("198.51.100.8").sign_in(name, "not the right password").status_code == 403
    locked = serving.visitor("198.51.100.9").sign_in(name)
    # A minute from the fifth failure on, in whole seconds.
    least = 60 - 1 - (monotonic() - began)
    assert (locked.status_code, least <= int(locked.headers["Retry-After"]) <= 60) == (429, True)
    assert "Please try again in 1 min." in locked.text
    assert serving.visitor().sign_in(READER).status_code == 303
    execute(migrated_database_url, "UPDATE console_failures SET locked_until = NULL")
    assert serving.visitor().sign_in(name).status_code == (303 if name == ACTOR else 403)


def test_after_twenty_failures_an_address_has_to_wait_whatever_name_it_tries(
    serving: ConsoleProcess, users_file: Path
) -> None:
    with editing(users_file) as users:
        users.update({f"user-{n}": replace(users[READER], name=f"user-{n}") for n in range(5)})
    for number in range(20):
        assert serving.visitor().sign_in(f"user-{number % 5}", "not the right password").status_code == 403
    assert serving.visitor().sign_in(READER).status_code == 429
    assert serving.visitor("198.51.100.9").sign_in(READER).status_code == 303


def test_a_sign_in_that_succeeds_takes_its_tries_back(serving: ConsoleProcess, migrated_database_url: str) -> None:
    for _ in range(4):
        serving.visitor().sign_in(ACTOR, "not the right password")
    assert serving.visitor().sign_in(ACTOR).status_code == 303
    ((subject, count),) = rows_of(migrated_database_url, "SELECT subject, count FROM console_failures")
    assert (str(subject)[:5], count) == ("from:", 4)


@pytest.mark.slow
def test_many_guesses_at_once_are_no_more_than_five(serving: ConsoleProcess) -> None:
    forms = [(visitor, visitor.csrf("/sign-in")) for visitor in (serving.visitor(f"198.51.100.{n}") for n in range(12))]

    def guess(number: int) -> int:
        visitor, csrf = forms[number]
        return visitor.post("/sign-in", {"csrf": csrf, "name": ACTOR, "password": "a wrong password"}).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(guess, range(12)))
    assert statuses.count(429) == 7
    assert set(statuses) <= {403, 429, 503}


def test_another_password_another_role_and_a_removed_user_count_at_once(
    serving: ConsoleProcess, users_file: Path
) -> None:
    ann, li = serving.signed_in(ACTOR), serving.signed_in(READER)
    with editing(users_file) as users:
        users[ACTOR] = replace(users[ACTOR], password_hash=hash_of(PASSWORD), role=Role.READ)
        del users[READER]
    assert ann.get("/").status_code == 303
    assert li.get("/").status_code == 303
    assert li.sign_in(READER).status_code == 403
    assert ann.sign_in(ACTOR).status_code == 303
    assert "may act" not in ann.get("/").text
    users_file.write_text("no TOML")
    assert ann.get("/").status_code == 303


@pytest.mark.databases("postgresql")
def test_what_a_page_asks_for_by_itself_prolongs_no_sign_in(
    serving: ConsoleProcess, migrated_database_url: str
) -> None:
    visitor = serving.signed_in(READER)
    execute(migrated_database_url, "UPDATE console_sessions SET seen_at = now() - interval '20 minutes'")
    is_old = "SELECT seen_at < now() - interval '19 minutes' FROM console_sessions"
    assert visitor.get("/", HX_Request="true").status_code == 200
    assert rows_of(migrated_database_url, is_old) == [(True,)]
    assert visitor.get("/").status_code == 200
    assert rows_of(migrated_database_url, is_old) == [(False,)]
    execute(migrated_database_url, "UPDATE console_sessions SET seen_at = now() - interval '40 minutes'")
    part = visitor.get("/", HX_Request="true", HX_Current_URL="https://console.example/?a=1")
    assert (part.status_code, part.headers["HX-Redirect"], part.text) == (401, "/sign-in?next=/?a%3D1", "")
    # The next sign-in deletes what has ended.
    assert serving.visitor().sign_in(ACTOR).status_code == 303
    assert rows_of(migrated_database_url, "SELECT user_name FROM console_sessions") == [(ACTOR,)]


def test_without_a_cookie_of_the_form_no_user_signs_in(serving: ConsoleProcess) -> None:
    visitor = serving.visitor()
    form = {"name": ACTOR, "password": PASSWORD}
    without = visitor.post("/sign-in", form)
    assert (without.status_code, "kept no cookie" in without.text) == (403, True)
    stale = visitor.post("/sign-in", {**form, "csrf": serving.visitor().csrf("/sign-in")})
    assert (stale.status_code, "open for too long" in stale.text) == (403, True)
    assert visitor.post("/sign-in", {**form, "csrf": visitor.csrf("/sign-in")}).status_code == 303


def test_on_this_machine_people_sign_in_too_by_a_cookie_of_plain_http(serving: ConsoleProcess) -> None:
    local = serving.local()
    sent_away = local.get("/?a=1")
    assert (sent_away.status_code, sent_away.location) == (303, "/sign-in?next=/?a%3D1")
    assert local.sign_in(ACTOR).status_code == 303
    assert (local.cookie("session").secure, local.cookie("session").http_only) == (False, True)
    assert ACTOR in local.get("/").text
    # A cookie of plain http is none beyond this machine.
    away = serving.visitor()
    away.client.set_cookie("session", local.cookie("session").value, domain="console.example")
    assert away.get("/").status_code == 303


def test_without_a_file_of_users_the_sign_in_says_who_adds_them(migrated_database_url: str) -> None:
    with console_process(migrated_database_url, None) as process:
        assert "reconciler user add" in process.visitor().get("/sign-in").text


@pytest.mark.databases("sqlite")
def test_the_log_has_who_and_from_where_and_no_password_or_token(
    serving: ConsoleProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    visitor = serving.visitor()
    # Somebody types the password into the field for the name.
    visitor.sign_in(PASSWORD, "the name instead")
    for _ in range(5):
        visitor.sign_in(ACTOR, "not the right password")
    li = serving.signed_in(READER)
    csrf, token = li.csrf(), li.cookie("__Host-session").value
    li.post("/sign-out", {"csrf": "0" * 64})
    li.post("/sign-out", {"csrf": csrf})
    logged = capsys.readouterr().out
    for action in ("signed_in", "signed_out", "sign_in_failed", "locked_out", "form_refused"):
        assert f"console_{action}" in logged
    assert "client=198.51.100.7" in logged
    for secret in (PASSWORD, "not the right password", "the name instead", csrf, token):
        assert secret not in logged


@pytest.mark.databases("sqlite")
def test_behind_a_proxy_nothing_is_local_and_the_client_is_who_asked_the_proxy(
    migrated_database_url: str, users_file: Path
) -> None:
    settings = {"trusted_proxies": 1, "metrics_allow": "10.0.0.0/8"}
    with console_process(migrated_database_url, users_file, **settings) as process:
        local = process.local()
        assert local.get("/").status_code == 303
        assert local.get("/healthz").status_code == 401
        assert local.get("/healthz", X_Forwarded_For="192.0.2.1").status_code == 401
        assert local.get("/healthz", X_Forwarded_For="10.0.0.1, 192.0.2.1").status_code == 401
        assert local.get("/healthz", X_Forwarded_For="192.0.2.1, 10.0.0.1").status_code == 503
        local.headers["X-Forwarded-For"] = "192.0.2.1"
        assert local.sign_in(ACTOR).status_code == 303
        assert local.cookie("__Host-session").secure
