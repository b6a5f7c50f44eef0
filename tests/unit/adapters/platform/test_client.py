import http.client
import ssl
from datetime import UTC, datetime

import pytest
import urllib3.exceptions

from worker.adapters.platform.client import LONGEST_WAIT, meaning_of, wait_requested
from worker.domain.records.incoming import DeadlineExceeded, Malformed, Unreachable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("-5", None),
        ("1e9", None),
        ("١٢", None),
        ("9" * 5000, LONGEST_WAIT),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 11:05:05 +0800", 60.0),
        ("Fri, 02 Jan 2026 03:05:05 -0000", 60.0),
        ("Fri, 02 Jan 2026 03:04:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("Fri, 99 Jan 2026 03:05:05 GMT", None),
        ("Fri, 02 Jan 99999999999999999999 03:05:05 GMT", None),
        ("soon", None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_wait_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert wait_requested(header, NOW) == seconds


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (urllib3.exceptions.ProtocolError(), Malformed),
        (urllib3.exceptions.TimeoutError(), DeadlineExceeded),
        (http.client.BadStatusLine("x"), Malformed),
        (ConnectionResetError(), Malformed),
        (TimeoutError(), DeadlineExceeded),
        (ssl.SSLEOFError(), Malformed),
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "x"), Malformed),
    ],
)
def test_only_an_error_before_the_first_byte_means_that_nothing_was_sent(
    error: Exception, meaning: type[Exception]
) -> None:
    assert type(meaning_of(error, sent=True)) is meaning
    assert type(meaning_of(error, sent=False)) is Unreachable
