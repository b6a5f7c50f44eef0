"""Whether the broker answers, asked by a worker process itself every few seconds.

A connection of Celery's own says little: the main process holds it, which reports nothing to the processes of the
pool, and a half-open one looks alive.
"""

import threading
import time
from contextlib import suppress
from typing import Any

from kombu import Connection

from worker.adapters.certificates import certified
from worker.adapters.watchdog import Watchdog
from worker.celery_settings import TICKS_QUEUE

ASK_SECONDS = 5.0
ANSWER_SECONDS = 3.0
_WRITTEN_KEY = f"{TICKS_QUEUE}.asked"
"""Of Redis, and no queue. The rights of docs/deployment.md allow a worker to set it."""
_WRITTEN_SECONDS = 60


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

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    def ask(self) -> None:
        """Have it answer. Raises an error of kombu or of its libraries where it does not."""
        try:
            if self._connection is None:
                self._connection = connection_to(self._url, seconds=ANSWER_SECONDS)
                connect(self._connection)
            # A round trip: RabbitMQ opens and closes a channel; for Redis, kombu sends a PING. The connection to
            # RabbitMQ is kept, as it logs each new one.
            channel: Any = self._connection.channel()
            if self._connection.transport.driver_type == "redis":
                _write_to(channel.client)
            channel.close()
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        # What is broken may fail once more.
        with suppress(Exception):
            if connection is not None:
                connection.release()


def _write_to(client: Any) -> None:
    """Write as a sender does: a Redis that is full or read-only answers a PING, and takes no order."""
    # Where RabbitMQ is used, the package may be missing.
    from redis.exceptions import NoPermissionError

    # Whose user lacks this right may still send: that is for the doctor to report.
    with suppress(NoPermissionError):
        client.set(_WRITTEN_KEY, "", ex=_WRITTEN_SECONDS)


class BrokerAnswers:
    """Asks a broker every few seconds, from its making to `close`, in a thread of its own. Make it after the fork."""

    def __init__(self, broker: Broker, watchdog: Watchdog, *, period_seconds: float = ASK_SECONDS) -> None:
        self._broker = broker
        self._period = period_seconds
        self._asked_at: float | None = None
        self._answered_at: float | None = None
        self._closing = threading.Event()
        self._watchdog = watchdog
        watchdog.start_thread(self._run, name="broker-answers")

    def seconds_since_asked(self) -> float | None:
        """How long ago it last was asked to the end, with an answer or without; None where it never was."""
        return _since(self._asked_at)

    def seconds_since_answer(self) -> float | None:
        """How long ago it last answered; None where it never has."""
        return _since(self._answered_at)

    def close(self) -> None:
        """Ask no more. Waits for nothing: a broker that is away may be being asked."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._watchdog.step()
            # Whatever keeps us from it, a defect as well: no answer.
            with suppress(Exception):
                self._broker.ask()
                self._answered_at = time.monotonic()
            self._asked_at = time.monotonic()
            self._closing.wait(self._period)
        self._broker.close()


def _since(at: float | None) -> float | None:
    return None if at is None else time.monotonic() - at
