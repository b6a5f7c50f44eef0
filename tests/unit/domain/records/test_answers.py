import pytest

from worker.domain.records.incoming import (
    DeadlineExceeded,
    HttpError,
    Malformed,
    NotSent,
    QueryError,
    Refused,
    Unreachable,
)

ERRORS: list[tuple[QueryError, str]] = [
    (NotSent("why"), "unsent"),
    (Unreachable("why"), "unreachable"),
    (DeadlineExceeded("why"), "timeout"),
    (HttpError(503), "http_error"),
    (Refused("-2", "缺少必要参数"), "refused"),
    (Malformed("why"), "malformed"),
]


@pytest.mark.parametrize(("error", "outcome"), ERRORS)
def test_each_error_is_an_outcome_of_the_contract(error: QueryError, outcome: str) -> None:
    assert error.outcome == outcome


def test_every_error_class_is_checked() -> None:
    assert {type(error) for error, _ in ERRORS} == set(QueryError.__subclasses__())


def test_an_http_error_holds_its_status_and_the_requested_wait() -> None:
    error = HttpError(429, retry_after=2.5, excerpt="slow down")
    assert (error.http_status, error.retry_after, error.excerpt) == (429, 2.5, "slow down")
    assert str(error) == "the platform answered with HTTP status 429"


def test_a_refusal_quotes_the_platforms_message() -> None:
    assert str(Refused("-2", "缺少必要参数")) == "the platform refused the query: -2 缺少必要参数"
    assert str(Refused("-2", "")) == "the platform refused the query: -2"


def test_texts_are_bounded_and_storable() -> None:
    error = Refused("9" * 100, "\x00" + "好" * 600, excerpt="\ud800" * 3000)
    assert (error.status_code, error.status_msg) == ("9" * 64, "\ufffd" + "好" * 499)
    assert error.excerpt == "\ufffd" * 2000
    assert len(str(error)) == 500
