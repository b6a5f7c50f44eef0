"""Read the state of the servers for the doctor.

A reading cannot last forever: it has timeouts of its own, or `start_reading` stops waiting for it.

The rights of the user in Redis are read by a trick: all commands that the worker needs are queued in one transaction,
which is then discarded. Redis checks the right to a command when it is queued, and runs none of the commands.
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
from worker.broker.celery_settings import ORDERS_QUEUE, TICKS_QUEUE
from worker.database.engine import missing_file
from worker.database.revisions import MigrationError, check_at_head
from worker.database.server import MissingRights, ServerReading, read_missing_rights, read_server
from worker.database.transactions import Database
from worker.domain.records.accounts import DatabaseChanges
from worker.domain.records.monitoring import Finding, WorkerRow
from worker.domain.records.sentences import Refusal, Sentence
from worker.operations.maintain_slots import longest_windows
from worker.views.status import database_changes, workers_and_full_disk

T = TypeVar("T")
Reply = tuple[T | None, str | None]
"""A pair: a server's reply and None, or None and the reason why there is no reply."""

DEFAULT_QUEUE = "celery"
"""The queue to which Celery sends a task whose caller names no queue."""

# The longest wait for a statement. It is short, because no reading of the database waits for a lock.
_ANSWER_SECONDS = 5.0

Words = tuple[str, ...]

_TAG = "reconciler-doctor"
_MAILBOX = f"{_TAG}.celery.pidbox"
_BINDING = "_kombu.binding.reconciler.orders"
# The commands that Celery and kombu send in a worker, in beat and in `celery inspect`.
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
    """The file of a SQLite database does not exist. Raised before connecting, because connecting would create it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseReading:
    """The readings of a database that answers."""

    server: ServerReading
    fault_of_revision: Sentence | None
    """Why the worker cannot use the tables, and what to do; None if it can: the database is at head."""
    rights: MissingRights | Exception | None
    """The rights that the role lacks, or the error from reading them; None if the database is not at head."""
    windows: Mapping[str, float] | None
    """The longest window with which each account SID's slots were written, in seconds; None if unreadable."""
    changes: DatabaseChanges | None = None
    """What the slots show about changes of the database in which they are written; None if unreadable."""
    full_disk: Sequence[Finding] = ()
    """The finding that the database's disk is full, if workers report it."""
    workers: Sequence[WorkerRow] | None = None
    """The running worker processes; None if unreadable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerReading:
    """The readings of a broker that answers."""

    url: str
    """The URL of the broker that answered, without its password."""
    replies: Mapping[str, Reply[Any]]
    """The replies, by the check that needs them. `worker.doctor.checks.BROKER` has the names of the checks.

    Redis has replies for all of these checks; another broker has replies only for `queues` and `default_queue`.
    """


def start_reading(read: Callable[[], T], *, seconds: float) -> Callable[[], T]:
    """Start a reading in its own thread. Return a function that waits for the reading to end, and then returns its
    result or raises its error.

    The returned function raises TimeoutError if the reading does not end within `seconds` after its start. The thread
    then continues, because neither resolving a name nor connecting to a silent server can be cancelled.
    """
    ended, deadline = in_thread(read), time.monotonic() + seconds
    return lambda: result_within(ended, max(0.0, deadline - time.monotonic()), f"no answer within {seconds:g} s")


def read_database(url: str, *, sids: Collection[str], slots_per_sid: int) -> DatabaseReading:
    """Read from the database: its server, its revision, the slots, the workers and the role's rights.

    Raises NoDatabaseFile if a SQLite file does not exist, or SQLAlchemy's errors if the database does not answer.
    """
    if (missing := missing_file(url)) is not None:
        raise NoDatabaseFile("there is no file %(path)s yet", missing)
    with Database(url, answer_seconds=_ANSWER_SECONDS, pool_size=1) as database:
        server = read_server(database, HostClock().now)
    # This opens another connection, so the first is closed before: a role may be allowed only one connection at a time.
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
    except Exception as error:  # The server answers, but refuses this reading.
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
    """Read from the broker. If `url` names several brokers, read from the first that answers.

    `seconds` is the longest wait for each reply. Raises kombu's errors if no broker answers.
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
    """Connect like `read_broker`, and read nothing. Raises kombu's errors if no broker answers."""
    with connection_to(url, seconds=seconds) as connection:
        connect(connection)


def resolve(host: str) -> str:
    """An address of a host, from the resolver. Raises OSError or UnicodeError if the host has no address."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


def _reply_of(read: Callable[[], T]) -> Reply[T]:
    try:
        return read(), None
    except Exception as error:  # The server answers, but refuses this reading.
        return None, first_words(error)


def _policy(client: Any) -> str | None:
    # Read the policy from INFO, because most hosted Redis services forbid CONFIG GET.
    policy = client.info("memory").get("maxmemory_policy")
    return None if policy is None else str(policy)


def _persistence(client: Any) -> str:
    if client.info("persistence").get("aof_enabled") == 1:
        return "aof"
    # Only CONFIG GET shows whether snapshots are scheduled. INFO shows only when the last snapshot was made.
    return "snapshots" if client.config_get("save")["save"] else "none"


def _declare_again(connection: Connection) -> bool:
    """Declare the worker's existing queues again, as the worker does. Raises an error if the broker refuses this."""
    for queue in (ORDERS_QUEUE, TICKS_QUEUE):
        try:
            _waiting(connection, queue, durable=True, auto_delete=False)
        except Exception as error:  # `first_words` shows only the error's last argument, which has no queue.
            raise RuntimeError(str(error)) from error
    return True


def _waiting(connection: Connection, queue: str, **declared: bool) -> int:
    try:
        with connection.channel() as channel:
            # Declare passively first, which creates no queue and moves no message.
            count = int(channel.queue_declare(queue, passive=True).message_count)
            return int(channel.queue_declare(queue, **declared).message_count) if declared else count
    except Exception as error:
        if str(getattr(error, "reply_code", "")) == "404":
            return 0
        raise


class NotTried(Exception):
    """The server does not queue commands after MULTI. So no further commands are sent: it would run them."""


def _refused_commands(client: Any, *, fanout_prefix: str) -> list[str]:
    """The commands that the user of a redis-py client may not run, each with the key or channel that was tried.

    `fanout_prefix` is kombu's prefix for channels, which contains the number of the database, such as `/3.`. Raises
    NotTried if the server does not queue commands, and redis-py's errors if it is unavailable.
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
        # Disconnect before the connection returns to the pool. Otherwise, after an error, the commands of another
        # reading would become part of this transaction.
        connection.disconnect()
        client.connection_pool.release(connection)


def _refused(connection: Any, commands: Sequence[Words]) -> Iterator[str]:
    # These commands cannot be queued in a transaction, so run them. The transaction between MULTI and EXEC is empty.
    first: Sequence[Words] = (("WATCH", "unacked"), ("UNWATCH",), ("MULTI",), ("EXEC",))
    for words in first:
        if _is_refusal(_answer_to(connection, words)):
            yield " ".join(words)
    answer = _answer_to(connection, ("MULTI",))
    if _is_refusal(answer):
        # Without MULTI the server would run the commands that follow.
        return
    if answer != "OK":
        raise NotTried(f"MULTI was answered: {answer}")
    for words in commands:
        answer = _answer_to(connection, words)
        if _is_refusal(answer):
            yield " ".join(words[:2])
        # If the answer is another error, such as for a renamed command, continue: nothing was run, and the transaction
        # has not ended.
        elif answer != "QUEUED" and not isinstance(answer, Exception):
            raise NotTried(f"{words[0]} was not queued after MULTI")
    if _is_refusal(_answer_to(connection, ("DISCARD",))):
        yield "DISCARD"


def _is_refusal(answer: object) -> bool:
    # The import is here because the package `redis` may be missing if RabbitMQ is used.
    from redis.exceptions import NoPermissionError

    # The refusal of EXEC is an error of another class, whose text has NOPERM. After any other error the command counts
    # as permitted.
    return isinstance(answer, NoPermissionError) or (isinstance(answer, Exception) and "NOPERM" in str(answer))


def _answer_to(connection: Any, words: Words) -> object:
    """Send a command, and return the server's answer. An error from the server is returned, not raised."""
    from redis.exceptions import ResponseError

    connection.send_command(*words)
    try:
        answer = connection.read_response()
    except ResponseError as error:
        return error
    return answer.decode() if isinstance(answer, bytes) else answer
