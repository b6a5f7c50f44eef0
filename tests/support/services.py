"""The services that the environment names to the tests.

As a program (`python -m tests.support.services`) it connects to each, and exits 1 when one is not named or is silent.
"""

import os
import sys
from collections.abc import Callable, Mapping

import redis
import sqlalchemy
from kombu import Connection
from kombu.utils.url import maybe_sanitize_url
from sqlalchemy.pool import NullPool

POSTGRES = "RECONCILER_TEST_POSTGRES_URL"
MARIADB = "RECONCILER_TEST_MARIADB_URL"
REDIS = "RECONCILER_TEST_REDIS_URL"
RABBITMQ = "RECONCILER_TEST_RABBITMQ_URL"

_PATIENCE_SECONDS = 5


def given(variable: str) -> str | None:
    """The URL in a RECONCILER_TEST_... variable, or None where it is unset or empty."""
    return os.environ.get(variable) or None


def shown(url: str) -> str:
    """The URL without its password."""
    return str(maybe_sanitize_url(url))


def _database_version(url: str) -> str:
    engine = sqlalchemy.create_engine(
        url, poolclass=NullPool, connect_args={"connect_timeout": _PATIENCE_SECONDS}, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        return str(connection.scalar(sqlalchemy.text("SELECT version()"))).split(" on ")[0]


def _redis_version(url: str) -> str:
    with redis.Redis.from_url(
        url, socket_connect_timeout=_PATIENCE_SECONDS, socket_timeout=_PATIENCE_SECONDS
    ) as client:
        return f"Redis protocol, {client.info('server')['redis_version']}"


def _rabbitmq_version(url: str) -> str:
    with Connection(url, connect_timeout=_PATIENCE_SECONDS) as connection:
        connection.connect()
        properties = connection.connection.server_properties
        return f"{properties['product']} {properties['version']}"


_VERSIONS: Mapping[str, Callable[[str], str]] = {
    POSTGRES: _database_version,
    MARIADB: _database_version,
    REDIS: _redis_version,
    RABBITMQ: _rabbitmq_version,
}


def _check(variable: str) -> bool:
    url = given(variable)
    if url is None:
        print(f"MISSING {variable} is not set", file=sys.stderr)
        return False
    try:
        print(f"{variable}: {_VERSIONS[variable](url)} at {shown(url)}")
    except Exception as error:  # Whatever a client raises, it means that this service cannot be used.
        why = (str(error) or type(error).__name__).splitlines()[0]
        print(f"MISSING {variable}: no answer from {shown(url)}: {why}", file=sys.stderr)
        return False
    return True


def main() -> None:
    """Check every service; exit 1 when one is missing."""
    # Check every one, so that one run names all that are missing.
    answers = [_check(variable) for variable in _VERSIONS]
    if not all(answers):
        sys.exit(1)


if __name__ == "__main__":
    main()
