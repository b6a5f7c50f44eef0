"""What the doctor reads of the servers.

Each reading ends: by its own timeouts, or at least for the caller, by `start_reading`.

Which commands of Redis the worker needs, and which of them its user is refused, is read in a transaction that is
discarded: Redis asks for the right when a command is queued, and runs none.
"""

import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kombu import Connection
from kombu.utils.url import maybe_sanitize_url

from worker.adapters.clock import HostClock, in_thread, result_within
from worker.adapters.safe_text import first_words
from worker.broker.answers import ASKED_KEY, connect, connection_to
from worker.celery_settings import ORDERS_QUEUE, TICKS_QUEUE
from worker.database.engine import missing_file
from worker.database.revisions import MigrationError, check_at_head
from worker.database.server import MissingRights, ServerReading, read_missing_rights, read_server
from worker.database.transactions import Database
from worker.domain.records.accounts import DatabaseChanges
from worker.domain.records.sentences import Refusal, Sentence
from worker.domain.records.watching import Finding, WorkerRow
from worker.operations.maintain_slots import longest_windows
from worker.views.watching import database_changes, workers_and_full_disk

T = TypeVar("T")
Reply = tuple[T | None, str | None]
"""What a server replied; or None, and why it did not."""

DEFAULT_QUEUE = "celery"
"""Where Celery sends a task whose caller names no queue."""

# No reading of the database waits for a lock.
_ANSWER_SECONDS = 5.0

Words = tuple[str, ...]

_TAG = "reconciler-doctor"
_MAILBOX = f"{_TAG}.celery.pidbox"
_BINDING = "_kombu.binding.reconciler.orders"
# What Celery and kombu send in a worker, in beat and in `celery inspect`.
_COMMANDS: Sequence[Words] = (
    *(words for queue in (ORDERS_QUEUE, TICKS_QUEUE) for words in (("LPUSH", queue, _TAG), ("BRPOP", queue, "1"))),
    *(("LLEN", ORDERS_QUEUE), ("LLEN", TICKS_QUEUE), ("RPUSH", ORDERS_QUEUE, _TAG)),
    *(("HSET", "unacked", _TAG, _TAG), ("HGET", "unacked", _TAG), ("HDEL", "unacked", _TAG)),
    *(("ZADD", "unacked_index", "0", _TAG), ("ZRANGE", "unacked_index", "0", "0"), ("ZREM", "unacked_index", _TAG)),
    *(("SET", "unacked_mutex", _TAG), ("GET", "unacked_mutex"), ("DEL", "unacked_mutex")),
    *(("SET", ASKED_KEY, _TAG), ("GET", ASKED_KEY)),
    *(("SADD", _BINDING, _TAG), ("SMEMBERS", _BINDING), ("SREM", _BINDING, _TAG)),
    ("SADD", "_kombu.binding_permanent.reconciler.orders", _TAG),
    *(("ZADD", "_kombu.binding_deadlines", "0", _TAG), ("ZRANGEBYSCORE", "_kombu.binding_deadlines", "0", "0")),
    *(("LPUSH", _MAILBOX, _TAG), ("BRPOP", _MAILBOX, "1"), ("LLEN", _MAILBOX), ("DEL", _MAILBOX)),
    *(("EVALSHA", _TAG, "1", "unacked_mutex"), ("SCRIPT", "LOAD", ""), ("SCRIPT", "EXISTS", _TAG), ("TIME",)),
)


class NoDatabaseFile(Refusal):
    """The file of a SQLite database does not exist; to connect to it would make it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseReading:
    """A database that answers."""

    server: ServerReading
    fault_of_revision: Sentence | None
    """Why the worker cannot use its tables, and what to do; None at head."""
    rights: MissingRights | Exception | None
    """What the role lacks, or the error that kept it from being tried; None where the database is not at head."""
    windows: Mapping[str, float] | None
    """Of each account SID the longest window that its slots were written with, in seconds; None where they cannot be
    read."""
    changes: DatabaseChanges | None = None
    """Whether the slots were written in this database; None where that cannot be read."""
    full_disk: Sequence[Finding] = ()
    """That the database's disk is full, if workers say so."""
    workers: Sequence[WorkerRow] | None = None
    """The worker processes that run; None where they cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerReading:
    """A broker that answers."""

    url: str
    """Without its password; of several, the one that answered."""
    replies: Mapping[str, Reply[Any]]
    """By the name of the check, of `worker.doctor.checks.BROKER`: of a Redis all, of others the last two."""


def start_reading(read: Callable[[], T], *, seconds: float) -> Callable[[], T]:
    """Start a reading in a thread of its own; returns a function that waits for it, and returns or raises its result.

    That function raises TimeoutError where the reading has not ended within so many seconds from now. The thread goes
    on: neither a name's resolution nor a connection to a server that never answers can be cancelled.
    """
    ended, deadline = in_thread(read), time.monotonic() + seconds
    return lambda: result_within(ended, max(0.0, deadline - time.monotonic()), f"no answer within {seconds:g} s")


def read_database(url: str, *, sids: Collection[str], slots_per_sid: int) -> DatabaseReading:
    """Read the server, the revision, the slots and the role's rights. Raises NoDatabaseFile, or SQLAlchemy's errors,
    where there is none."""
    if (missing := missing_file(url)) is not None:
        raise NoDatabaseFile("there is no file %(path)s yet", missing)
    with Database(url, answer_seconds=_ANSWER_SECONDS, pool_size=1) as database:
        server = read_server(database, HostClock().now)
    # With a connection of its own, after the first is closed: a role may be allowed a single one.
    try:
        check_at_head(url)
    except MigrationError as error:
        return DatabaseReading(server=server, fault_of_revision=error.sentence, rights=None, windows=None)
    with Database(url, answer_seconds=_ANSWER_SECONDS, pool_size=1) as database:
        windows = longest_windows(database, slots_per_sid=slots_per_sid)
        changes = database_changes(database, sids, slots_per_sid)
        workers, full_disk = workers_and_full_disk(database)
    try:
        rights: MissingRights | Exception = read_missing_rights(url)
    except Exception as error:  # The server answers, and refuses this reading.
        rights = error
    return DatabaseReading(
        server=server,
        fault_of_revision=None,
        rights=rights,
        windows=windows,
        changes=changes,
        full_disk=full_disk,
        workers=workers,
    )


def read_broker(url: str, *, seconds: float) -> BrokerReading:
    """Connect to the broker, or to the first of several that answers; raises kombu's errors where none does.

    `seconds`: how long to wait for each of its replies.
    """
    with connection_to(url, seconds=seconds) as connection:
        connect(connection)
        reached = str(maybe_sanitize_url(connection.as_uri(include_password=True)))
        readings: dict[str, Callable[[], object]] = {
            "queues": lambda: _declare_again(connection),
            "default_queue": lambda: _waiting(connection, DEFAULT_QUEUE),
        }
        if connection.transport.driver_type == "redis":
            channel = connection.default_channel
            client = channel.client
            readings = {
                "broker_rights": lambda: _refused_commands(client, fanout_prefix=channel.keyprefix_fanout),
                "maxmemory_policy": lambda: _policy(client),
                "persistence": lambda: _persistence(client),
            } | readings
        return BrokerReading(url=reached, replies={name: _reply_of(read) for name, read in readings.items()})


def reach_broker(url: str, *, seconds: float) -> None:
    """Connect as `read_broker` does, and read nothing. Raises kombu's errors where no broker answers."""
    with connection_to(url, seconds=seconds) as connection:
        connect(connection)


def resolve(host: str) -> str:
    """One address of a host, from the resolver. Raises OSError or UnicodeError where it has none."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


def _reply_of(read: Callable[[], T]) -> Reply[T]:
    try:
        return read(), None
    except Exception as error:  # The server answers, and refuses this reading.
        return None, first_words(error)


def _policy(client: Any) -> str | None:
    # INFO, not CONFIG GET, which most hosted Redis services forbid.
    policy = client.info("memory").get("maxmemory_policy")
    return None if policy is None else str(policy)


def _persistence(client: Any) -> str:
    if client.info("persistence").get("aof_enabled") == 1:
        return "aof"
    # Only CONFIG GET shows whether snapshots are scheduled: INFO shows when the last one was.
    return "snapshots" if client.config_get("save")["save"] else "none"


def _declare_again(connection: Connection) -> bool:
    """Declare those of the worker's queues that are there, as it does; raises the broker's refusal."""
    for queue in (ORDERS_QUEUE, TICKS_QUEUE):
        try:
            _waiting(connection, queue, durable=True, auto_delete=False)
        except Exception as error:  # The last of RabbitMQ's words alone does not name the queue.
            raise RuntimeError(str(error)) from error
    return True


def _waiting(connection: Connection, queue: str, **declared: bool) -> int:
    try:
        with connection.channel() as channel:
            # Passive: it makes no queue, and moves no message.
            count = int(channel.queue_declare(queue, passive=True).message_count)
            return int(channel.queue_declare(queue, **declared).message_count) if declared else count
    except Exception as error:
        if str(getattr(error, "reply_code", "")) == "404":
            return 0
        raise


class NotTried(Exception):
    """The server queues no commands, or did not queue one: what followed would be run."""


def _refused_commands(client: Any, *, fanout_prefix: str) -> list[str]:
    """The commands that the user of a redis-py client may not run, each with the key or channel that was tried.

    `fanout_prefix` is kombu's, with the number of the database: `/3.`. Raises NotTried, and redis-py's errors where the
    server is away.
    """
    mailbox, events = f"{fanout_prefix}celery.pidbox", f"{fanout_prefix}celeryev/worker.online"
    channels = (
        *(("PSUBSCRIBE", mailbox), ("PUNSUBSCRIBE", mailbox)),
        *(("PUBLISH", mailbox, _TAG), ("PUBLISH", events, _TAG)),
    )
    connection = client.connection_pool.get_connection()
    try:
        return list(_refused(connection, [*_COMMANDS, *channels]))
    finally:
        # Not back into the pool: whatever happened, no other reading is to be queued into this transaction.
        connection.disconnect()
        client.connection_pool.release(connection)


def _refused(connection: Any, commands: Sequence[Words]) -> Iterator[str]:
    # None of these can be queued; the first transaction is empty.
    first: Sequence[Words] = (("WATCH", "unacked"), ("UNWATCH",), ("MULTI",), ("EXEC",))
    for words in first:
        if _is_refusal(_answer_to(connection, words)):
            yield " ".join(words)
    answer = _answer_to(connection, ("MULTI",))
    if _is_refusal(answer):
        # What follows would be run.
        return
    if answer != "OK":
        raise NotTried(f"MULTI was answered: {answer}")
    for words in commands:
        answer = _answer_to(connection, words)
        if _is_refusal(answer):
            yield " ".join(words[:2])
        # Within a transaction an error, as for a command that was renamed, runs nothing and ends nothing.
        elif answer != "QUEUED" and not isinstance(answer, Exception):
            raise NotTried(f"{words[0]} was not queued after MULTI")
    if _is_refusal(_answer_to(connection, ("DISCARD",))):
        yield "DISCARD"


def _is_refusal(answer: object) -> bool:
    # Where RabbitMQ is used, the package may be missing.
    from redis.exceptions import NoPermissionError

    # An EXEC that is refused says so in words. An error for any other reason: it may be run.
    return isinstance(answer, NoPermissionError) or (isinstance(answer, Exception) and "NOPERM" in str(answer))


def _answer_to(connection: Any, words: Words) -> object:
    """What the server answers; an error of its own is returned."""
    from redis.exceptions import ResponseError

    connection.send_command(*words)
    try:
        answer = connection.read_response()
    except ResponseError as error:
        return error
    return answer.decode() if isinstance(answer, bytes) else answer
