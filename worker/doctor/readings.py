"""The readings that the doctor takes. Each ends: by its own timeouts, or for the caller at least, by `begun`."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from kombu import Connection
from kombu.utils.url import maybe_sanitize_url

from worker.adapters.certificates import certified
from worker.adapters.clock import HostClock
from worker.adapters.error_text import first_words
from worker.database.engine import missing_file
from worker.database.migrations import MigrationError, check_at_head
from worker.database.server import ServerReading, read_server
from worker.operations.maintain_slots import longest_windows

T = TypeVar("T")

DEFAULT_QUEUE = "celery"
"""Where Celery sends a task whose caller names no queue."""


class NoDatabaseFile(Exception):
    """The file of a SQLite database does not exist; to connect to it would make it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseReading:
    """A database that answers."""

    server: ServerReading
    fault_of_revision: str | None
    """Why the worker cannot use its tables, and what to do; None at head."""
    windows: Mapping[str, float] | None
    """Of each account SID the longest window that its slots were written with, in seconds; None where they cannot be
    read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerReading:
    """A broker that answers."""

    url: str
    """Without its password; of several, the one that answered."""
    is_redis: bool
    policy: str | None = None
    """Of a Redis: its maxmemory-policy, or None where it does not tell."""
    why_unread: str | None = None
    persistence: str | None = None
    """Of a Redis: `aof`, `snapshots`, `none`, or None where it does not tell."""
    why_persistence_unread: str | None = None
    default_queue: int | None = None
    """How many messages wait in Celery's default queue, which nobody here consumes; None where it does not tell."""
    why_queue_unread: str | None = None


def begun(read: Callable[[], T], *, seconds: float) -> Callable[[], T]:
    """Begin a reading in a thread of its own; what is returned waits for its end, and returns or raises what it did.

    Raises TimeoutError where it has not ended within so many seconds from now. The thread is left behind: neither a
    look-up of a name nor a server that acknowledges and never answers can be broken off.
    """
    ended: Future[T] = Future()
    deadline = time.monotonic() + seconds

    def run() -> None:
        try:
            ended.set_result(read())
        except Exception as error:
            ended.set_exception(error)

    threading.Thread(target=run, daemon=True).start()

    def result() -> T:
        try:
            return ended.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            # A reading may have run into a timeout of its own, which says more.
            if ended.done():
                raise
            raise TimeoutError(f"no answer within {seconds:g} s") from None

    return result


def read_database(url: str, *, slots_per_sid: int) -> DatabaseReading:
    """Read the server, the revision and the windows. Raises NoDatabaseFile, or SQLAlchemy's errors, where there is
    none."""
    if (missing := missing_file(url)) is not None:
        raise NoDatabaseFile(f"there is no file {missing} yet")
    server = read_server(url, HostClock().now)
    try:
        check_at_head(url)
    except MigrationError as error:
        return DatabaseReading(server=server, fault_of_revision=str(error), windows=None)
    windows = longest_windows(url, slots_per_sid=slots_per_sid)
    return DatabaseReading(server=server, fault_of_revision=None, windows=windows)


def read_broker(url: str, *, seconds: float, default_queue: str = DEFAULT_QUEUE) -> BrokerReading:
    """Connect to the broker, or to the first of several that answers; raises kombu's errors where none does.

    `seconds`: how long to wait for each word of it. `default_queue`: whose messages are counted.
    """
    options = {"socket_connect_timeout": seconds, "socket_timeout": seconds} if not url.startswith("amqp") else {}
    with Connection(url, connect_timeout=seconds, transport_options=options, ssl=certified(url)) as connection:
        # Each of them once, without a pause.
        connection.ensure_connection(max_retries=max(0, len(connection.alt) - 1), interval_start=0, interval_step=0)
        reached = str(maybe_sanitize_url(connection.as_uri(include_password=True)))
        if connection.transport.driver_type != "redis":
            reading = BrokerReading(url=reached, is_redis=False)
        else:
            client = connection.default_channel.client
            reading = _with_persistence(_with_policy(BrokerReading(url=reached, is_redis=True), client), client)
        return _with_default_queue(reading, connection, default_queue)


def _with_policy(reading: BrokerReading, client: Any) -> BrokerReading:
    try:
        # INFO, not CONFIG GET, which most who rent a Redis out forbid.
        policy = client.info("memory").get("maxmemory_policy")
    except Exception as error:  # Whatever it says: it is there, and does not tell.
        return replace(reading, why_unread=first_words(error))
    return replace(reading, policy=None if policy is None else str(policy))


def _with_persistence(reading: BrokerReading, client: Any) -> BrokerReading:
    try:
        if client.info("persistence").get("aof_enabled") == 1:
            return replace(reading, persistence="aof")
        # Only here stands whether snapshots are taken by themselves: INFO tells when the last one was.
        rules = client.config_get("save")["save"]
    except Exception as error:
        return replace(reading, why_persistence_unread=first_words(error))
    return replace(reading, persistence="snapshots" if rules else "none")


def _with_default_queue(reading: BrokerReading, connection: Connection, queue: str) -> BrokerReading:
    try:
        with connection.channel() as channel:
            # Passive: it makes no queue, and moves no message.
            waiting = channel.queue_declare(queue, passive=True).message_count
    except Exception as error:
        if str(getattr(error, "reply_code", "")) == "404":
            return replace(reading, default_queue=0)
        return replace(reading, why_queue_unread=first_words(error))
    return replace(reading, default_queue=waiting)


def resolve(host: str) -> str:
    """One address of a host. Asks the resolver, and nobody else. Raises OSError or UnicodeError where it has none."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
