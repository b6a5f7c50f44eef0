"""Notifications as messages of a Celery task of the billing system (message protocol 2).

The queue is not declared here, because it belongs to its consumers. On RabbitMQ the message is published as mandatory,
and the broker confirms it, so a missing queue is noticed. Redis does not confirm messages: there, an event counts as
accepted if Redis answered LPUSH.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from kombu import Connection, Producer

from worker.adapters.certificates import certified
from worker.adapters.clock import Clock, Deadline
from worker.adapters.notify import AnswerText, KeptConnections
from worker.adapters.safe_text import describe
from worker.domain.records.notifications import CeleryTask, DeliveryOutcome, DeliveryResult

EXCHANGE_SECONDS = 10.0
"""The time for a whole delivery: finding the broker's address, connecting, logging in, publishing, and closing after an
error."""
STEP_SECONDS = 2.5
"""The longest time for one wait within a delivery. The libraries apply it to each read separately, so a broker that
sends byte by byte never exceeds it."""
_PERSISTENT = 2
_NOTHING_FOLLOWS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class CeleryTransport:
    """Publishes events as messages for one Celery task. Connections are kept for later events; each is used by only one
    thread at a time.

    Any error closes the connection on which it happens.
    """

    def __init__(
        self,
        target: CeleryTask,
        *,
        broker_url: str,
        clock: Clock,
        hidden: Iterable[str],
        exchange_seconds: float = EXCHANGE_SECONDS,
        step_seconds: float = STEP_SECONDS,
    ) -> None:
        """`broker_url`: the broker to use if the target names none. `hidden`: texts that no result of a delivery may
        show."""
        self._task = target.task
        self._queue = target.queue
        self._url = target.broker_url or broker_url
        self._clock = clock
        self._seconds = exchange_seconds
        self._step_seconds = step_seconds
        self._answer = AnswerText(hidden)
        self._kept: KeptConnections[_Publisher] = KeptConnections()

    def deliver(self, event_id: str, body: str, now: datetime) -> DeliveryResult:
        """Send an event once and return how the sending ended. Whatever the broker does, no error is raised.

        The call returns by the deadline. If publishing began before the deadline, it may end a few seconds after the
        deadline, and the broker may still accept the message. The event is sent again all the same, as after any other
        failure. The message does not contain `now`.
        """
        deadline = Deadline(self._clock, self._seconds)
        try:
            return deadline.bound(lambda: self._exchange(event_id, body, deadline))
        except TimeoutError:
            return self._failed(DeliveryOutcome.TIMEOUT, f"the broker took longer than {self._seconds:g} s")

    def close(self) -> None:
        """Close the kept connections, and keep none from now on."""
        self._kept.close()

    def _exchange(self, event_id: str, body: str, deadline: Deadline) -> DeliveryResult:
        publisher = self._kept.take() or _Publisher(self._url, self._step_seconds)
        # `Exception` is caught because kombu passes on all errors of the libraries that it uses, also their errors for
        # bytes that they cannot read.
        try:
            publisher.connect()
            # Raises TimeoutError after the deadline, when the caller no longer waits for this exchange. So the event is
            # not published.
            deadline.rest()
        except Exception as error:
            publisher.close()
            return self._failed(DeliveryOutcome.UNREACHABLE, f"no connection to the broker: {describe(error)}")
        try:
            publisher.publish(self._task, self._queue, event_id, body)
        except Exception as error:
            publisher.close()
            # The other kept connections are closed as well, because the same fault has probably broken them. Each of
            # them would make one later try fail, and so lengthen the endpoint's rest.
            self._kept.drop()
            return self._failure(error, publisher)
        if publisher.was_returned:
            publisher.close()
            return self._failed(
                DeliveryOutcome.REFUSED, f"the broker has no queue {self._queue}: its worker declares it"
            )
        self._kept.keep(publisher)
        return DeliveryResult(outcome=DeliveryOutcome.ACCEPTED)

    def _failure(self, error: Exception, publisher: "_Publisher") -> DeliveryResult:
        words = describe(error)
        if isinstance(error, TimeoutError):
            return self._failed(DeliveryOutcome.TIMEOUT, f"no answer of the broker in time: {words}")
        if isinstance(error, publisher.connection_errors):
            return self._failed(DeliveryOutcome.UNREACHABLE, f"no connection to the broker: {words}")
        return self._failed(DeliveryOutcome.REFUSED, f"the broker did not take the message: {words}")

    def _failed(self, outcome: DeliveryOutcome, words: str) -> DeliveryResult:
        return DeliveryResult(outcome=outcome, answer=self._answer.of(words))


class _Publisher:
    """A connection to a broker. It is not made until its first use."""

    def __init__(self, url: str, seconds: float) -> None:
        self.was_returned = False
        """Whether the broker returned the last message because it does not have the message's queue."""
        self._seconds = seconds
        self._brokers = len(url.split(";"))
        self._is_redis = url.startswith("redis")
        self._connection = Connection(
            url,
            ssl=certified(url) or False,
            connect_timeout=seconds,
            # Heartbeats are off, because between two events no thread would answer them.
            heartbeat=0,
            transport_options=_redis_options(seconds) if self._is_redis else _rabbitmq_options(seconds),
        )
        self._producer: Any = None

    @property
    def connection_errors(self) -> tuple[type[BaseException], ...]:
        errors: tuple[type[BaseException], ...] = self._connection.connection_errors
        return errors

    def connect(self) -> None:
        """Connect and log in, unless the connection is already made. If the URL names several brokers, they are tried
        one after the other while there is time."""
        if self._producer is not None:
            return
        self._connection.ensure_connection(
            max_retries=self._brokers - 1, timeout=self._seconds, reraise_as_library_errors=False
        )
        return_handler = {} if self._is_redis else {"on_return": self._note_return}
        self._producer = Producer(self._connection.channel(), auto_declare=False, **return_handler)

    def publish(self, task: str, queue: str, event_id: str, body: str) -> None:
        """Publish a message to a queue. Raises all errors of kombu and of the libraries below it."""
        self.was_returned = False
        self._producer.publish(
            [[], {"event": json.loads(body)}, _NOTHING_FOLLOWS],
            exchange="",
            routing_key=queue,
            serializer="json",
            headers=_headers(task, event_id),
            correlation_id=event_id,
            reply_to="",
            delivery_mode=_PERSISTENT,
            declare=[],
            mandatory=True,
            retry=False,
            timeout=self._seconds,
            confirm_timeout=self._seconds,
        )

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        with suppress(Exception):
            self._connection.release()

    def _note_return(self, *_: object) -> None:
        self.was_returned = True


def _headers(task: str, event_id: str) -> dict[str, object]:
    return {
        "lang": "py",
        "task": task,
        "id": event_id,
        "root_id": event_id,
        "parent_id": None,
        "group": None,
        "shadow": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        # These two values are empty because Celery, Flower and logs show them. Otherwise they would contain phone
        # numbers.
        "argsrepr": "",
        "kwargsrepr": "",
        "origin": "recharge-reconciler",
        "ignore_result": True,
    }


def _redis_options(seconds: float) -> dict[str, object]:
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds, "socket_keepalive": True}


def _rabbitmq_options(seconds: float) -> dict[str, object]:
    return {"confirm_publish": True, "read_timeout": seconds, "write_timeout": seconds}
