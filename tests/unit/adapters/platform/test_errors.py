import http.client
import inspect
import socket
import ssl
from types import ModuleType

import pytest
import requests.exceptions
import urllib3.exceptions

from worker.adapters.platform.errors import MEANING, describe, meaning_of
from worker.domain.records.incoming import DeadlineExceeded, Malformed, Unreachable


def exceptions_of(module: ModuleType) -> set[type[Exception]]:
    return {
        held
        for _, held in inspect.getmembers(module, inspect.isclass)
        # Some are borrowed from the standard library.
        if issubclass(held, Exception) and not issubclass(held, Warning) and held.__module__ == module.__name__
    }


LIBRARIES = exceptions_of(requests.exceptions) | exceptions_of(urllib3.exceptions)


def test_the_libraries_exceptions_are_found() -> None:
    assert {requests.exceptions.RequestException, urllib3.exceptions.HTTPError} < LIBRARIES
    assert len(LIBRARIES) > 40


# Sorted: all processes that run the tests see the same order.
NAMED = sorted((f"{kind.__module__}.{kind.__name__}", kind) for kind in LIBRARIES)


@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in NAMED])
def test_every_exception_of_requests_and_urllib3_is_mapped_by_name(kind: type[Exception]) -> None:
    assert kind in MEANING


def subclasses_of(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses_of(each) for each in kind.__subclasses__()))


@pytest.mark.parametrize("base", [requests.exceptions.RequestException, urllib3.exceptions.HTTPError])
def test_every_subclass_that_the_libraries_define_is_mapped(base: type[Exception]) -> None:
    ours = {kind for kind in subclasses_of(base) if kind.__module__.split(".")[0] in ("requests", "urllib3")}
    assert {f"{kind.__module__}.{kind.__name__}" for kind in ours - set(MEANING)} == set()


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (requests.exceptions.ReadTimeout(), DeadlineExceeded),
        (requests.exceptions.ConnectionError(), Malformed),
        (requests.exceptions.ChunkedEncodingError(), Malformed),
        (requests.exceptions.InvalidHeader(), Malformed),
        (urllib3.exceptions.ProtocolError(), Malformed),
        (urllib3.exceptions.TimeoutError(), DeadlineExceeded),
        (http.client.BadStatusLine("x"), Malformed),
        (http.client.IncompleteRead(b""), Malformed),
        (ConnectionResetError(), Malformed),
        (TimeoutError(), DeadlineExceeded),
        (ssl.SSLEOFError(), Malformed),
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "x"), Malformed),
    ],
)
def test_an_error_after_the_first_byte_has_the_meaning_of_its_class(error: Exception, meaning: type[Exception]) -> None:
    assert type(meaning_of(error, sent=True)) is meaning


@pytest.mark.parametrize(
    "error", [requests.exceptions.ReadTimeout(), ConnectionResetError(), ssl.SSLError(), ValueError()]
)
def test_any_error_before_the_first_byte_means_that_there_was_no_connection(error: Exception) -> None:
    assert type(meaning_of(error, sent=False)) is Unreachable


def test_no_error_after_the_first_byte_means_that_nothing_was_sent() -> None:
    assert set(MEANING.values()) == {DeadlineExceeded, Malformed}


def test_a_description_quotes_no_librarys_message() -> None:
    cause = ConnectionResetError(104, "Connection reset by peer")
    error = urllib3.exceptions.ProtocolError("http://h/?Sign=secret", cause)
    assert describe(error) == "ProtocolError < ConnectionResetError (Connection reset by peer)"
    assert "secret" not in str(meaning_of(error, sent=True))
    assert describe(OSError(104, "Sign=secret")) == "ConnectionResetError (Connection reset by peer)"


def test_a_description_names_what_is_wrong_with_a_certificate() -> None:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "certificate has expired"
    assert describe(error) == "SSLCertVerificationError (certificate has expired)"
    assert describe(ssl.SSLError()) == "SSLError"


def test_a_name_that_cannot_be_resolved_is_described_in_words() -> None:
    assert describe(socket.gaierror(socket.EAI_NONAME, "x")) == "the host's name cannot be resolved"


def test_causes_that_form_a_circle_are_named_once() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert describe(first) == "ValueError < KeyError"
