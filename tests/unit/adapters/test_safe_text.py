"""What may be shown to anybody of a reply or of an error: no credential, and no whole phone number."""

import socket
import ssl

import pytest
import urllib3.exceptions

from worker.adapters.safe_text import Redactor, describe, report_text

HEX = "0123456789abcdef0123456789ABCDEF"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("18812340804", "188****0804"),
        ("to 8618812340804, 188-1234-0804", "to 86188****0804, 188****0804"),
        ("2016010000000219", "2016010000000219"),
        (f"/Traffic.wx?Sign={HEX}", "/Traffic.wx?Sign=***"),
        ('{"auth":{"accessToken" : "x\\"y"},"n":1}', '{"auth":{"accessToken" : "***"},"n":1}'),
        ("it is known-secret", "it is ***"),
        ("成功", "成功"),
    ],
)
def test_what_is_masked(text: str, shown: str) -> None:
    assert report_text(text, Redactor(["known-secret"])) == shown


@pytest.mark.parametrize("key", ["Sign", "authorization", "AuthToken", "PASSWORD"])
def test_what_stands_under_the_name_of_a_secret_is_masked_whole(key: str) -> None:
    assert report_text("plain", Redactor(), key=key) == "***"


def test_a_description_quotes_no_librarys_message() -> None:
    cause = ConnectionResetError(104, "Connection reset by peer")
    error = urllib3.exceptions.ProtocolError("http://h/?Sign=secret", cause)
    assert describe(error) == "ProtocolError < ConnectionResetError (Connection reset by peer)"
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
