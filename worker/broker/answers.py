"""Ask the broker every few seconds, in each worker process.

The answers show whether the broker is available, how many messages wait, and whether another deployment uses the same
queues. Celery's own connection does not show these things: it belongs to the main process, which reports nothing to the
pool's processes. It may also be half open, and then looks alive.
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
from worker.broker.celery_settings import ORDERS_QUEUE, TICKS_QUEUE

ASK_SECONDS = 5.0
ANSWER_SECONDS = 3.0
ASKED_KEY = f"{TICKS_QUEUE}.asked"
"""A key in Redis, not a queue. Its value is the id of a deployment's database; the worker that asked last wrote it."""
_WRITTEN_SECONDS = 60
# This throttle is created before the worker forks, so that all processes of the worker share it.
_SHARED_LINES = Throttle(60.0)

log = structlog.stdlib.get_logger(__name__)


def connection_to(url: str, *, seconds: float) -> Connection:
    """A connection object, not connected yet. Each of its network operations ends after `seconds`."""
    is_rabbitmq = url.startswith("amqp")
    steps = ("read_timeout", "write_timeout") if is_rabbitmq else ("socket_connect_timeout", "socket_timeout")
    options = dict.fromkeys(steps, seconds)
    return Connection(url, connect_timeout=seconds, transport_options=options, ssl=certified(url))


def connect(connection: Connection) -> None:
    """Connect: try each of the connection's URLs once, without a pause. Raises kombu's errors if none answers."""
    connection.ensure_connection(max_retries=max(0, len(connection.alt) - 1), interval_start=0, interval_step=0)


class Broker:
    """A broker that one thread asks repeatedly."""

    def __init__(self, url: str, deployment: Callable[[], str] = str) -> None:
        """`deployment` returns the random id of our database; an empty text while the id is unknown."""
        self._url = url
        self._deployment = deployment
        self._connection: Connection | None = None
        self.other_deployment_at: float | None = None
        """The monotonic time when another deployment was last found to use our queues; None if this was never found."""

    def ask(self) -> Mapping[str, int]:
        """Ask the broker how many messages wait in each queue. A queue is missing if the broker gives no count for it.

        Raises an error of kombu, or of a library that kombu uses, if the broker does not answer.
        """
        try:
            if self._connection is None:
                self._connection = connection_to(self._url, seconds=ANSWER_SECONDS)
                connect(self._connection)
            # Make a round trip: RabbitMQ opens and closes a channel; kombu sends Redis a PING. Keep the connection,
            # because RabbitMQ logs each new connection.
            channel: Any = self._connection.channel()
            is_redis = self._connection.transport.driver_type == "redis"
            if is_redis and _is_shared(channel.client, self._deployment()):
                self.other_deployment_at = time.monotonic()
                if _SHARED_LINES.passes():
                    log.error("another deployment uses the queues of this broker", action="shared_queues")
            lengths: dict[str, int] = {}
            # If the queue does not exist, or we may not ask for its length, this length is unknown, not 0.
            with suppress(*self._connection.channel_errors):
                for queue in (ORDERS_QUEUE, TICKS_QUEUE):
                    # Declare a queue of RabbitMQ passively, so that RabbitMQ creates none. For a queue in Redis, which
                    # exists only while it has messages, kombu just reads the length.
                    lengths[queue] = channel.queue_declare(queue, passive=not is_redis).message_count
            channel.close()
        except Exception:
            self.close()
            raise
        return lengths

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        # Closing a broken connection may fail too.
        with suppress(Exception):
            if connection is not None:
                connection.release()


def _is_shared(client: Any, deployment: str) -> bool:
    """Write our deployment's id to Redis. Return whether another deployment wrote its own id within the last minute.

    The write also tests whether Redis accepts data: a full or read-only Redis answers a PING, but accepts no order.
    """
    # The import is here because the package `redis` may be missing if RabbitMQ is used.
    from redis.exceptions import NoPermissionError, ResponseError

    before: bytes | None = None
    # Missing rights to GET and SET are no error here: the user may still be able to send, and the doctor reports the
    # rights. If another program has made a list with this key's name, GET fails and SET replaces the list.
    with suppress(ResponseError):
        before = client.get(ASKED_KEY)
    with suppress(NoPermissionError):
        client.set(ASKED_KEY, deployment or before or "", ex=_WRITTEN_SECONDS)
    return bool(before and deployment) and before != deployment.encode()


class BrokerAnswers:
    """Asks a broker every few seconds, in its own thread, until `close`. Create it after the fork."""

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
        """Seconds since the last question ended, with or without an answer; None if no question has ended yet."""
        return seconds_since(self._asked_at)

    def seconds_since_answer(self) -> float | None:
        """Seconds since the broker last answered; None if it never did."""
        return seconds_since(self._answered_at)

    def waiting(self, queue: str) -> int | None:
        """The number of messages that waited in a queue at the last question; None if unknown."""
        return self._lengths.get(queue)

    def seconds_since_empty(self) -> float | None:
        """Seconds since the queue of orders was last found empty; None if it was never found empty."""
        return seconds_since(self._empty_at)

    def seconds_since_other_deployment(self) -> float | None:
        """Seconds since another deployment was last found to use our queues; None if this was never found."""
        return seconds_since(self._broker.other_deployment_at)

    def close(self) -> None:
        """Stop asking. Does not wait for a question under way, since the broker may be unavailable."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._watchdog.step()
            lengths: Mapping[str, int] = {}
            # Any error counts as no answer, even a defect of ours.
            with suppress(Exception):
                lengths = self._broker.ask()
                self._answered_at = time.monotonic()
            self._lengths = lengths
            if lengths.get(ORDERS_QUEUE) == 0:
                self._empty_at = self._answered_at
            self._asked_at = time.monotonic()
            self._closing.wait(self._period)
        self._broker.close()
