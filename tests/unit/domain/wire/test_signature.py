from datetime import UTC, datetime, timedelta, timezone

import pytest

from worker.domain.wire.signature import Credentials, authorization, sign, timestamp_at

# Computed with openssl (md5, base64). The SID is the one of the platform's documentation, the token is made up.
CREDENTIALS = Credentials(
    account_sid="abcdefghijklmnopqrstuvwxyz012345", auth_token="0123456789abcdef0123456789abcdef", app_id="app"
)
TIMESTAMP = "20140416142030"
CHINA = timezone(timedelta(hours=8))


def test_the_signature_equals_the_known_good_one() -> None:
    assert sign(CREDENTIALS, TIMESTAMP) == "698CD6F76DB3CAE8E9875C1F8F298B2C"


def test_the_authorization_equals_the_known_good_one() -> None:
    expected = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDV8MjAxNDA0MTYxNDIwMzA="
    assert authorization(CREDENTIALS, TIMESTAMP) == expected


def test_the_timestamp_is_the_platforms_local_time() -> None:
    assert timestamp_at(datetime(2014, 4, 16, 6, 20, 30, 999_999, tzinfo=UTC), CHINA) == TIMESTAMP


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        timestamp_at(datetime(2014, 4, 16, 6, 20, 30), CHINA)  # noqa: DTZ001  # the naive time is what is tested


def test_no_representation_shows_the_token() -> None:
    assert CREDENTIALS.auth_token not in f"{CREDENTIALS!r} {CREDENTIALS}"
    assert CREDENTIALS.account_sid in repr(CREDENTIALS)
