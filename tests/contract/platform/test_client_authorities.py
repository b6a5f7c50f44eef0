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
from worker.domain.records.query_errors import Unreachable

BODY = b'{"requestId":"1","trafficSts":"1"}'
VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
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


def assert_trusted(server: RawServer, ca_file: str | None = None) -> None:
    assert send_query(server.url, ca_file=ca_file).said["1"][0].traffic_sts == "1"


def assert_not_trusted(server: RawServer, ca_file: str | None = None) -> None:
    error = failure(server.url, Unreachable, ca_file=ca_file)
    assert "self-signed certificate" in str(error)
    assert server.requests == []


@pytest.mark.parametrize("name", VARIABLES)
def test_the_environment_names_a_file_of_authorities(
    name: str, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(CERTIFICATE))
    assert_trusted(server)


def test_a_folder_of_authorities_is_accepted_as_well(
    server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenSSL finds an authority in a folder by the hash of its subject: `openssl x509 -noout -hash`.
    shutil.copy(CERTIFICATE, tmp_path / "c0c2b2e6.0")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert_trusted(server)


def test_a_setting_of_ours_wins_over_the_environment(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, PUBLIC)
    assert_trusted(server, str(CERTIFICATE))


def test_the_variable_of_requests_wins_over_the_general_one(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", PUBLIC)
    assert_not_trusted(server)


def test_an_empty_variable_counts_as_not_set(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    assert_trusted(server)


def test_other_variables_for_certificates_are_not_read(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURL_CA_BUNDLE", str(CERTIFICATE))
    assert_not_trusted(server)


def test_a_platform_that_no_authority_knows_is_unreachable(server: RawServer) -> None:
    assert_not_trusted(server, PUBLIC)


def test_a_certificate_for_another_name_is_refused(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    there = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", there)])
    error = failure("https://platform.invalid", Unreachable, ca_file=str(CERTIFICATE))
    assert "Hostname mismatch" in str(error)
    assert server.requests == []


def test_a_host_name_that_ends_with_a_dot_is_the_one_in_the_certificate(server: RawServer) -> None:
    url = f"https://localhost.:{urlsplit(server.url).port}"
    assert send_query(url, ca_file=str(CERTIFICATE)).said["1"][0].traffic_sts == "1"
