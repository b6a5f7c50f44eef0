"""The PostgreSQL and the Redis that are measured: those that the environment names, else some from Python wheels."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import redis
import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.support.servers import EmbeddedPostgres, EmbeddedValkey

POSTGRES = "RECONCILER_BENCH_POSTGRES_URL"
REDIS = "RECONCILER_BENCH_REDIS_URL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that answers: its URL, and what it is, for the table."""

    url: str
    description: str


@contextmanager
def postgres() -> Iterator[Server]:
    """PostgreSQL. Its user may create databases; the URL is SQLAlchemy's."""
    with ExitStack() as stack:
        given = os.environ.get(POSTGRES)
        # Durable as a deployment is: every commit reaches the disk.
        url = given or stack.enter_context(EmbeddedPostgres(is_durable=True)).url
        engine = sqlalchemy.create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            version, buffers, durable = connection.execute(
                sqlalchemy.text(
                    "SELECT split_part(version(), ' on ', 1), current_setting('shared_buffers'),"
                    " current_setting('fsync') || '/' || current_setting('synchronous_commit')"
                )
            ).one()
        where = f"named by {POSTGRES}" if given else "from a wheel"
        yield Server(url=url, description=f"{version}, {where}, shared_buffers {buffers}, fsync/synchronous {durable}")


@contextmanager
def broker() -> Iterator[Server]:
    """Redis, or Valkey from a wheel. Its database is emptied before and after."""
    with ExitStack() as stack:
        given = os.environ.get(REDIS)
        url = given or stack.enter_context(EmbeddedValkey()).url
        client = stack.enter_context(redis.Redis.from_url(url, socket_timeout=10))
        known = client.info("server")
        name = "Valkey" if "valkey_version" in known else "Redis"
        version = known.get("valkey_version", known["redis_version"])
        where = f"named by {REDIS}" if given else "from a wheel"
        client.flushdb()
        yield Server(url=url, description=f"{name} {version}, {where}")
        client.flushdb()
