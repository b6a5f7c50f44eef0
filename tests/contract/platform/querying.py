"""A client that queries a server on loopback, and what its errors may never show."""

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest

from tests.contract.platform.raw_server import RawServer, Reply
from tests.support.clocks import JumpingClock
from worker.adapters.clock import Clock, HostClock
from worker.adapters.platform.client import PlatformClient
from worker.domain.records.incoming import Answer, QueryError
from worker.domain.records.orders import IdKind
from worker.domain.wire.query_request import Credentials

CREDENTIALS = Credentials(
    account_sid="abcdefghijklmnopqrstuvwxyz012345", auth_token="0123456789abcdef0123456789abcdef", app_id="app-1"
)
SIGN = "698CD6F76DB3CAE8E9875C1F8F298B2C"
AUTHORIZATION = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDV8MjAxNDA0MTYxNDIwMzA="
NOW = datetime(2014, 4, 16, 6, 20, 30, tzinfo=UTC)
Failure = TypeVar("Failure", bound=QueryError)


class FixedNow(HostClock):
    """The host's boot clock, with a wall clock that stands still. So the signature is known."""

    def now(self) -> datetime:
        return NOW


class Jumping(JumpingClock, FixedNow):
    """A jumping boot clock, with the same wall clock."""


def client_of(
    url: str,
    *,
    deadline: float = 60.0,
    connect_timeout: float = 30.0,
    clock: Clock | None = None,
    ca_file: str | None = None,
) -> PlatformClient:
    """A client of the server at `url`; times are in seconds."""
    return PlatformClient(
        base_url=url,
        version="201512",
        bracketed_ids=False,
        timezone=timezone(timedelta(hours=8)),
        connect_timeout=connect_timeout,
        deadline=deadline,
        clock=clock or FixedNow(),
        ca_file=ca_file,
    )


def send_query(
    url: str,
    *,
    ago: float = 0.0,
    kind: IdKind = IdKind.REQUEST_ID,
    **options: Any,
) -> Answer:
    """Poll the ids 1 and 2 in an exchange that started `ago` seconds before; `options` are those of `client_of`."""
    client = client_of(url, **options)
    started = client.clock.boot() - ago
    return client.query(credentials=CREDENTIALS, id_kind=kind, ids=["1", "2"], started=started)


def failure(url: str, kind: type[Failure], **options: Any) -> Failure:
    """The error of this kind by which a query fails; neither it nor a cause of it shows a credential.

    `options` are those of `send_query`.
    """
    with pytest.raises(kind) as caught:
        send_query(url, **options)
    error = caught.value
    assert_shows_no_credential(f"{error!s} {error!r} {error.args} {vars(error)}")
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


def answered_with(reply: Reply | bytes) -> Answer:
    """The answer to a query at a server that replies so."""
    with RawServer(reply) as server:
        return send_query(server.url)


def failed_with(reply: Reply | bytes, kind: type[Failure], **options: Any) -> Failure:
    """The failure of a query at a server that replies so."""
    with RawServer(reply) as server:
        return failure(server.url, kind, **options)


def seconds_of_failure(url: str, kind: type[QueryError], **options: Any) -> float:
    """How long a query takes that fails so."""
    started = time.monotonic()
    failure(url, kind, **options)
    return time.monotonic() - started


def assert_shows_no_credential(text: str) -> None:
    """No token, signature or Authorization value is in the text, in either case."""
    for secret in (CREDENTIALS.auth_token, SIGN, AUTHORIZATION, AUTHORIZATION.replace("/", "\\/")):
        assert secret.casefold() not in text.casefold()
