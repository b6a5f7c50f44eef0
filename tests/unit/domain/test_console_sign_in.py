"""How long a sign-in lasts, who has to wait, and which form is ours."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from worker.domain.console_sign_in import (
    IDLE,
    LONGEST,
    MOST_BY_NAME,
    address_subject,
    begun,
    digest_of,
    forgotten_before,
    form_token,
    is_foreign,
    is_form_token,
    is_to_be_noted,
    lasts,
    name_subject,
    one_less,
    one_more,
    password_fault,
    wait_until,
)
from worker.domain.records.sign_ins import Failures, User
from worker.domain.records.viewers import Role

NOW = datetime(2016, 1, 31, 10, tzinfo=UTC)
ANN = User(name="ann", password_hash="scrypt:1:1:1$salt$hash", role=Role.ACT)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("password", ["correct horse", "密码密码密码密码密码密码", "x" * 1000])
def test_a_password_of_twelve_characters_or_more_is_taken(password: str) -> None:
    assert password_fault(password) is None


@pytest.mark.parametrize(
    "password", ["", "elevenchars", "x" * 1001, "correct\thorse", "correct horse\n", "correct horse\x7f"]
)
def test_a_short_one_and_one_with_control_characters_is_not(password: str) -> None:
    assert password_fault(password) == "cannot be taken; accepted: 12 to 1,000 characters, no control character"


def test_no_record_shows_a_hash() -> None:
    assert "scrypt" not in repr(ANN)


def test_a_sign_in_ends_idle_after_hours_and_with_its_user_or_password() -> None:
    sign_in = begun(ANN, NOW)
    assert lasts(sign_in, ANN, NOW)
    assert lasts(sign_in, ANN, NOW + IDLE - SECOND)
    assert not lasts(sign_in, ANN, NOW + IDLE)
    assert not lasts(sign_in, None, NOW)
    assert not lasts(sign_in, User(name="ann", password_hash="another", role=Role.ACT), NOW)
    seen = type(sign_in)(
        user_name="ann",
        password_digest=digest_of(ANN.password_hash),
        created_at=NOW,
        seen_at=NOW + LONGEST - SECOND,
    )
    assert lasts(seen, ANN, NOW + LONGEST - SECOND)
    assert not lasts(seen, ANN, NOW + LONGEST)


def test_a_sign_in_from_before_a_clock_was_set_back_has_ended() -> None:
    assert lasts(begun(ANN, NOW), ANN, NOW - 59 * SECOND)
    assert not lasts(begun(ANN, NOW), ANN, NOW - 61 * SECOND)


def test_it_is_noted_once_a_minute_that_somebody_looks() -> None:
    sign_in = begun(ANN, NOW)
    assert not is_to_be_noted(sign_in, NOW + 59 * SECOND)
    assert is_to_be_noted(sign_in, NOW + 60 * SECOND)


def test_waits_grow_from_the_limit_on_and_end_at_fifteen_minutes() -> None:
    failures, waits = None, []
    for _ in range(12):
        failures = one_more(failures, MOST_BY_NAME, NOW)
        waits.append(None if failures.locked_until is None else (failures.locked_until - NOW).total_seconds() / 60)
    assert waits == [None] * 4 + [1, 2, 4, 8, 15, 15, 15, 15]


def test_a_failure_of_long_ago_counts_no_more() -> None:
    old = Failures(count=9, last_at=NOW)
    assert one_more(old, MOST_BY_NAME, NOW + timedelta(minutes=59)).count == 10
    assert one_more(old, MOST_BY_NAME, NOW + timedelta(minutes=61)).count == 1
    assert forgotten_before(NOW) == NOW - timedelta(hours=1)


def test_a_wait_is_over_when_it_has_passed_or_cannot_be() -> None:
    assert wait_until(None, NOW) is None
    assert wait_until(Failures(count=4, last_at=NOW), NOW) is None
    locked = Failures(count=5, last_at=NOW, locked_until=NOW + timedelta(minutes=1))
    assert wait_until(locked, NOW) == locked.locked_until
    assert wait_until(locked, NOW + timedelta(minutes=1)) is None
    # A clock was set back by an hour since.
    assert wait_until(locked, NOW - timedelta(hours=1)) is None


def test_a_try_that_succeeds_is_taken_back_and_what_failed_stays() -> None:
    assert one_less(Failures(count=1, last_at=NOW)) is None
    left = one_less(Failures(count=20, last_at=NOW, locked_until=NOW + SECOND))
    assert left == Failures(count=19, last_at=NOW)


def test_names_and_addresses_count_as_a_bounded_number_of_subjects() -> None:
    assert len({name_subject(f"name-{number}") for number in range(200_000)}) <= 65_536
    assert name_subject("ann") == name_subject("ann") != name_subject("li")
    assert address_subject(ip_address("198.51.100.7")) != address_subject(ip_address("198.51.100.8"))
    assert address_subject(ip_address("2001:db8::1")) == address_subject(ip_address("2001:db8::ffff"))
    assert address_subject(ip_address("2001:db8::1")) != address_subject(ip_address("2001:db8:0:1::1"))
    assert len(address_subject(None)) <= 16


def test_a_form_is_ours_by_the_secret_and_its_purpose() -> None:
    token = form_token("secret", "console")
    assert is_form_token(token, "secret", "console")
    assert not is_form_token(token, "another", "console")
    assert not is_form_token(token, "secret", "sign-in")
    assert not is_form_token("", "secret", "console")
    assert not is_form_token("密\ud800", "secret", "console")


@pytest.mark.parametrize(
    ("fetch_site", "origin", "foreign"),
    [
        ("same-origin", "https://rewritten.example", False),
        ("none", None, False),
        ("cross-site", "https://console.example", True),
        ("same-site", "https://other.example", True),
        (None, None, False),
        (None, "https://Console.example", False),
        (None, "https://console.example:8443", True),
        (None, "https://evil.example", True),
        (None, "null", True),
        (None, "http://[", True),
    ],
)
def test_another_site_is_known_by_what_the_browser_says(
    fetch_site: str | None, origin: str | None, foreign: bool
) -> None:
    assert is_foreign(fetch_site=fetch_site, origin=origin, host="console.example") is foreign
