"""Which authorities the client trusts for an https platform: a file of its own, or those that the environment names."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import pytest

from tests.contract.platform.querying import failure, send_query
from tests.contract.platform.raw_server import CERTIFICATE, RawServer, http
from tests.support.dead_address import resolving_to
from worker.domain.records.incoming import Unreachable

BODY = b'{"requestId":"1","trafficSts":"1"}'
VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
OURS = str(CERTIFICATE)
PUBLIC = certifi.where()
"""Public authorities, none of which knows the test's server."""


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer(http(BODY), tls=True) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "CURL_CA_BUNDLE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "ca_file", "trusted"),
    [
        ({"SSL_CERT_FILE": OURS}, None, True),
        ({"REQUESTS_CA_BUNDLE": OURS}, None, True),
        (dict.fromkeys(VARIABLES, PUBLIC), OURS, True),
        ({"SSL_CERT_FILE": OURS, "REQUESTS_CA_BUNDLE": PUBLIC}, None, False),
        ({"SSL_CERT_FILE": OURS, "REQUESTS_CA_BUNDLE": ""}, None, True),
        ({"CURL_CA_BUNDLE": OURS}, None, False),
        ({}, PUBLIC, False),
    ],
    ids=[
        *("the general variable", "that of requests", "a setting wins", "that of requests wins", "empty is not set"),
        *("others are not read", "no authority knows it"),
    ],
)
def test_the_setting_or_a_variable_names_the_authorities(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], ca_file: str | None, trusted: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if trusted:
        assert send_query(server.url, ca_file=ca_file).said["1"][0].traffic_sts == "1"
    else:
        assert "self-signed certificate" in str(failure(server.url, Unreachable, ca_file=ca_file))
        assert server.requests == []


def test_a_folder_of_authorities_is_accepted_as_well(
    server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenSSL finds an authority in a folder by the hash of its subject: `openssl x509 -noout -hash`.
    shutil.copy(CERTIFICATE, tmp_path / "c0c2b2e6.0")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert send_query(server.url).said["1"][0].traffic_sts == "1"


def test_a_certificate_for_another_name_is_refused(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to(("127.0.0.1", urlsplit(server.url).port or 0)))
    error = failure("https://platform.invalid", Unreachable, ca_file=OURS)
    assert "Hostname mismatch" in str(error)
    assert server.requests == []


def test_a_host_name_that_ends_with_a_dot_is_the_one_in_the_certificate(server: RawServer) -> None:
    url = f"https://localhost.:{urlsplit(server.url).port}"
    assert send_query(url, ca_file=OURS).said["1"][0].traffic_sts == "1"
