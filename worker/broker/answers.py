"""Whether the broker answers, how many messages wait, and whether another deployment uses the same queues: asked by a
worker process itself every few seconds.

A connection of Celery's own says little: the main process holds it, which reports nothing to the processes of the
pool, and a half-open one looks alive.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog
from kombu import Connection

from worker.adapters.certificates import certified
from worker.adapters.clock import Throttle, seconds_since
from worker.adapters.watchdog import Watchdog
from worker.celery_settings import ORDERS_QUEUE, TICKS_QUEUE

ASK_SECONDS = 5.0
ANSWER_SECONDS = 3.0
ASKED_KEY = f"{TICKS_QUEUE}.asked"
"""A key of Redis, and no queue: it holds the id of the database whose worker asked last."""
_WRITTEN_SECONDS = 60
# Made before the worker forks: its processes share it.
_SHARED_LINES = Throttle(60.0)

log = structlog.stdlib.get_logger(__name__)


def connection_to(url: str, *, seconds: float) -> Connection:
    """A connection, not made yet, whose every step ends after so many seconds."""
    is_rabbitmq = url.startswith("amqp")
    steps = ("read_timeout", "write_timeout") if is_rabbitmq else ("socket_connect_timeout", "socket_timeout")
    options = dict.fromkeys(steps, seconds)
    return Connection(url, connect_timeout=seconds, transport_options=options, ssl=certified(url))


def connect(connection: Connection) -> None:
    """Make a connection: each of its URLs once, without a pause. Raises kombu's errors where none answers."""
    connection.ensure_connection(max_retries=max(0, len(connection.alt) - 1), interval_start=0, interval_step=0)


class Broker:
    """A broker that is asked again and again, by one thread."""

    def __init__(self, url: str, deployment: Callable[[], str] = str) -> None:
        """`deployment` returns the random id of our database; empty while it is not known."""
        self._url = url
        self._deployment = deployment
        self._connection: Connection | None = None
        self.other_deployment_at: float | None = None
        """When another deployment was last found to use the same queues, by the monotonic clock."""

    def ask(self) -> Mapping[str, int]:
        """Have it answer; returns how many messages wait in each queue, without the queues that it does not tell.

        Raises an error of kombu or of its libraries if it does not answer.
        """
        try:
            if self._connection is None:
                self._connection = connection_to(self._url, seconds=ANSWER_SECONDS)
                connect(self._connection)
            # A round trip: RabbitMQ opens and closes a channel; for Redis, kombu sends a PING. The connection to
            # RabbitMQ is kept, as it logs each new one.
            channel: Any = self._connection.channel()
            is_redis = self._connection.transport.driver_type == "redis"
            if is_redis and _is_shared(channel.client, self._deployment()):
                self.other_deployment_at = time.monotonic()
                if _SHARED_LINES.passes():
                    log.error("another deployment uses the queues of this broker", action="shared_queues")
            lengths: dict[str, int] = {}
            # No right to ask, or no such queue: what is not known is not 0.
            with suppress(*self._connection.channel_errors):
                for queue in (ORDERS_QUEUE, TICKS_QUEUE):
                    # Passive: RabbitMQ makes no queue. Redis has none without messages, and is asked for lengths alone.
                    lengths[queue] = channel.queue_declare(queue, passive=not is_redis).message_count
            channel.close()
        except Exception:
            self.close()
            raise
        return lengths

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        # What is broken may fail once more.
        with suppress(Exception):
            if connection is not None:
                connection.release()


def _is_shared(client: Any, deployment: str) -> bool:
    """Write as a sender does: a Redis that is full or read-only answers a PING, and takes no order. Returns whether
    another deployment wrote within the last minute."""
    # Where RabbitMQ is used, the package may be missing.
    from redis.exceptions import NoPermissionError, ResponseError

    before: bytes | None = None
    # Whose user lacks these rights may still send: that is for the doctor to report. If another program has made a list
    # of this name, SET replaces it.
    with suppress(ResponseError):
        before = client.get(ASKED_KEY)
    with suppress(NoPermissionError):
        client.set(ASKED_KEY, deployment or before or "", ex=_WRITTEN_SECONDS)
    return bool(before and deployment) and before != deployment.encode()


class BrokerAnswers:
    """Asks a broker every few seconds, from its making to `close`, in a thread of its own. Make it after the fork."""

    def __init__(self, broker: Broker, watchdog: Watchdog, *, period_seconds: float = ASK_SECONDS) -> None:
        self._broker = broker
        self._period = period_seconds
        self._asked_at: float | None = None
        self._answered_at: float | None = None
        self._lengths: Mapping[str, int] = {}
        self._empty_at: float | None = None
        self._closing = threading.Event()
        self._watchdog = watchdog
        watchdog.start_thread(self._run, name="broker-answers")

    def seconds_since_asked(self) -> float | None:
        """How long ago it last was asked to the end, with an answer or without; None where it never was."""
        return seconds_since(self._asked_at)

    def seconds_since_answer(self) -> float | None:
        """How long ago it last answered; None where it never has."""
        return seconds_since(self._answered_at)

    def waiting(self, queue: str) -> int | None:
        """How many messages waited in a queue when the broker was last asked; None if it is not known."""
        return self._lengths.get(queue)

    def seconds_since_empty(self) -> float | None:
        """How long ago the queue of orders was last found empty; None if it never was."""
        return seconds_since(self._empty_at)

    def seconds_since_other_deployment(self) -> float | None:
        """How long ago another deployment was last found to use the same queues; None if none was."""
        return seconds_since(self._broker.other_deployment_at)

    def close(self) -> None:
        """Ask no more. Waits for nothing: a broker that is away may be being asked."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._watchdog.step()
            lengths: Mapping[str, int] = {}
            # Whatever keeps us from it, a defect as well: no answer.
            with suppress(Exception):
                lengths = self._broker.ask()
                self._answered_at = time.monotonic()
            self._lengths = lengths
            if lengths.get(ORDERS_QUEUE) == 0:
                self._empty_at = self._answered_at
            self._asked_at = time.monotonic()
            self._closing.wait(self._period)
        self._broker.close()
