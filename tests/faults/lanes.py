"""The servers of a lane: scenarios that run side by side share none that they may kill."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Self

import sqlalchemy

from tests.faults.checker import history
from tests.support import mariadb, rabbitmq
from tests.support.brokers import remove_queues
from tests.support.databases import DatabaseServer, Mariadb, Postgresql, Sqlite
from tests.support.mariadb import OwnMariadb
from tests.support.proxy import Proxy, Upstream, through_proxy
from tests.support.rabbitmq import OwnRabbitmq
from tests.support.replicas import Replicated, replicated
from tests.support.servers import EmbeddedPostgres, EmbeddedValkey
from worker.database.migrations import upgrade


@dataclass(frozen=True, kw_only=True)
class TestbedDatabase:
    """A testbed's database, through the proxy as programs reach it, and directly."""

    kind: str
    url: str
    """Through the proxy, where there is one."""
    direct_url: str
    proxy: Proxy | None = None
    server: EmbeddedPostgres | OwnMariadb | None = None
    """The server, to be killed and started; None for SQLite."""

    def kill(self) -> None:
        """Let the server crash."""
        assert self.server is not None, "SQLite has no server"
        self.server.kill()

    def start(self) -> None:
        """Start it on its data."""
        assert self.server is not None, "SQLite has no server"
        self.server.start()


@dataclass(frozen=True, kw_only=True)
class TestbedBroker:
    """A testbed's broker, through the proxy and directly."""

    kind: str
    url: str
    direct_url: str
    proxy: Proxy
    valkey: EmbeddedValkey | None = None
    """The server, to be killed, stopped and flushed; None where the broker is RabbitMQ."""
    rabbitmq: OwnRabbitmq | None = None
    """The server, to be killed and stopped; None where the broker is Redis or Valkey."""


def databases_there() -> dict[str, bool]:
    """Each database that the suite knows, and whether this machine can have it."""
    return {"postgresql": True, "mariadb": mariadb.is_installed(), "sqlite": True}


def brokers_there() -> dict[str, bool]:
    """Each broker that the suite knows, and whether this machine can have it."""
    return {"redis": True, "rabbitmq": rabbitmq.is_installed()}


class Lane:
    """Servers of one lane, started when they are first needed. Use it as a context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._postgres: EmbeddedPostgres | None = None
        self._mariadb: OwnMariadb | None = None
        self._rabbitmq: OwnRabbitmq | None = None
        self._makers: dict[str, DatabaseServer] = {}

    @contextmanager
    def database(self, kind: str) -> Iterator[TestbedDatabase]:
        """A migrated database of its own, with the checker's history in it."""
        maker = self._maker(kind)
        with ExitStack() as stack:
            direct = stack.enter_context(maker.migrated(_upgrade_alone))
            history.install(direct)
            yield stack.enter_context(self._proxied(kind, direct))

    @contextmanager
    def _proxied(self, kind: str, direct: str) -> Iterator[TestbedDatabase]:
        if kind == "sqlite":
            yield TestbedDatabase(kind=kind, url=direct, direct_url=direct)
            return
        server = self._postgres if kind == "postgresql" else self._mariadb
        with Proxy(upstream_of(direct)) as proxy:
            yield TestbedDatabase(
                kind=kind, url=_through(proxy, direct), direct_url=_without_tls(direct), proxy=proxy, server=server
            )

    @contextmanager
    def broker(self, kind: str) -> Iterator[TestbedBroker]:
        """A broker whose two queues are empty."""
        if kind == "redis":
            with EmbeddedValkey() as valkey, through_proxy(valkey.url, 6379) as (proxy, url):
                yield TestbedBroker(kind=kind, url=url, direct_url=valkey.url, proxy=proxy, valkey=valkey)
            return
        if self._rabbitmq is None:
            self._rabbitmq = self._stack.enter_context(OwnRabbitmq())
        node = self._rabbitmq
        with through_proxy(node.url, 5672) as (proxy, url):
            remove_queues(node.url)
            yield TestbedBroker(kind=kind, url=url, direct_url=node.url, proxy=proxy, rabbitmq=node)

    def _maker(self, kind: str) -> DatabaseServer:
        if kind not in self._makers:
            self._makers[kind] = self._make(kind)
        return self._makers[kind]

    def _make(self, kind: str) -> DatabaseServer:
        if kind == "postgresql":
            self._postgres = self._stack.enter_context(EmbeddedPostgres())
            return self._closed_at_the_end(Postgresql(self._postgres.url))
        if kind == "mariadb":
            self._mariadb = self._stack.enter_context(OwnMariadb())
            return self._closed_at_the_end(Mariadb(self._mariadb.url))
        self._folder.mkdir(parents=True, exist_ok=True)
        return Sqlite(self._folder)

    def _closed_at_the_end(self, maker: DatabaseServer) -> DatabaseServer:
        close: Callable[[], None] = maker.close
        self._stack.callback(close)
        return maker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@contextmanager
def replicated_database(kind: str) -> Iterator[tuple[TestbedDatabase, Replicated]]:
    """A migrated database, with the checker's history in it, on a primary and a replica of its own.

    The proxy leads to the primary. `direct_url` passes the proxy too, so that it follows the failover.
    """
    with replicated(kind) as servers, Proxy(upstream_of(servers.url)) as proxy:
        _upgrade_alone(servers.url)
        history.install(servers.url)
        url = _through(proxy, servers.url)
        yield TestbedDatabase(kind=kind, url=url, direct_url=url, proxy=proxy), servers


def upstream_of(url: str) -> Upstream:
    """Where the server of a PostgreSQL or MariaDB of the tests' own listens."""
    parts = sqlalchemy.make_url(url)
    if parts.get_backend_name() == "postgresql":
        return Path(str(parts.query["host"])) / ".s.PGSQL.5432"
    return "127.0.0.1", int(parts.port or 3306)


def _through(proxy: Proxy, url: str) -> str:
    parts = sqlalchemy.make_url(url)
    query = {} if parts.get_backend_name() == "postgresql" else parts.query
    return parts.set(host="127.0.0.1", port=proxy.port, query=query).render_as_string(hide_password=False)


def _without_tls(url: str) -> str:
    """The same URL for the suite's own reads. To begin TLS, as the workers do on MariaDB, takes longer than a read."""
    parts = sqlalchemy.make_url(url)
    if parts.get_backend_name() == "mysql":
        parts = parts.update_query_dict({"ssl_disabled": "true"})
    return parts.render_as_string(hide_password=False)


_upgrading = Lock()


def _upgrade_alone(url: str) -> None:
    """Alembic keeps its state in global variables: one lane at a time."""
    with _upgrading:
        upgrade(url)
