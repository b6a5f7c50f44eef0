"""Guard kombu's transports for Redis and RabbitMQ against any bytes from the broker.

kombu trusts its broker. Without these guards, bytes that are not a kombu message would end the worker, a small message
could unpack to gigabytes, and specially marked JSON would become dates, decimals and UUIDs.
"""

from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import Any

import structlog
from kombu import compression, serialization
from kombu.transport import TRANSPORT_ALIASES, pyamqp, redis
from kombu.utils import json as kombu_json

from worker.broker.library_internals import (
    BoundedConnection,
    BoundedTLSConnection,
    ReplyTooLong,
    read_redis_by,
    survive_unreadable_properties,
)
from worker.broker.sizes import LARGEST_BEYOND_ASCII, is_name, read_body, read_json, unpacking_bounded

log = structlog.stdlib.get_logger(__name__)


def guard_kombu() -> None:
    """Prevent bytes from a broker from ending this process or filling its memory. Call this before connecting."""
    for name in ("redis", "rediss"):
        TRANSPORT_ALIASES[name] = f"{__name__}:GuardedRedisTransport"
    TRANSPORT_ALIASES["amqps"] = f"{__name__}:NamedTLSTransport"
    read_redis_by(read_json)
    survive_unreadable_properties(_log_error)
    serialization.register("json", kombu_json.dumps, read_body, content_type="application/json")
    for kind in compression.encoders():
        # Replace kombu's unpacker for every kind of compression, even the installed kinds for which we have no bounded
        # unpacker: bodies of these kinds are refused.
        compression.register(compression.get_encoder(kind)[0], unpacking_bounded(kind), kind)


class GuardedQoS(redis.QoS):
    """kombu's entries in Redis for messages that are delivered but not acknowledged yet."""

    def append(self, message: Any, delivery_tag: Any) -> None:
        """Add an entry for a message. Do nothing if the bytes from Redis were not a message."""
        if message.fault is None:
            super().append(message, delivery_tag)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> Any:
        """Put the message of an entry back into its queue. Remove the entry if it is unreadable.

        An unreadable entry would prevent kombu from putting back the messages of all other entries.
        """
        try:
            return super().restore_by_tag(tag, client=client, leftmost=leftmost)
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            if self._is_readable(tag, client):
                # The entry is sound, so the cause is a broken connection, which may raise these errors too.
                raise redis.redis.ConnectionError(f"a message could not be put back ({error!r})") from error
            _log_error(error)
            with self.pipe_or_acquire() as pipe:
                return pipe.zrem(self.unacked_index_key, tag).hdel(self.unacked_key, tag).execute()

    def _is_readable(self, tag: Any, client: Any) -> bool:
        try:
            with self.channel.conn_or_acquire(client) as connected:
                entry = connected.hget(self.unacked_key, tag)
        except ReplyTooLong:
            return False
        try:
            message, exchange, routing_key = read_json(entry or "null")
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
            return entry is None
        return isinstance(message, dict) and isinstance(exchange, str) and isinstance(routing_key, str)

    def restore_unacked(self, client: Any = None) -> None:
        """Put unacknowledged messages back when a channel is closed.

        Over a broken connection this may fail. The error is caught, because otherwise it would end the worker, which is
        about to connect again. Redis keeps the messages, and they are delivered again after the visibility timeout.
        """
        try:
            super().restore_unacked(client)
        except Exception as error:
            log.warning(
                "messages that were under way could not be put back: the broker delivers them again later",
                action="messages_left",
                error=type(error).__name__,
            )


class GuardedMessage(redis.Channel.Message):
    """A message from Redis, with all the properties that kombu needs to store its entry and to acknowledge it.

    If the bytes from Redis are not a message, this message is empty, and `fault` gives the reason without quoting them.
    """

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        self.fault: str | None
        try:
            self.fault = _fault_of_body(payload.get("body"))
            if self.fault is None:
                super().__init__(payload, channel=channel, **options)
                self.fault = _fault_of_address(self.delivery_tag, self.delivery_info)
        except MemoryError:
            raise
        except Exception as error:
            self.fault = type(error).__name__
        if self.fault is not None:
            super().__init__({"properties": {"delivery_tag": "", "delivery_info": {}}}, channel=channel)


def _fault_of_body(body: Any) -> str | None:
    if isinstance(body, str) and len(body) > LARGEST_BEYOND_ASCII and not body.isascii():
        return f"its body is not ASCII, and longer than {LARGEST_BEYOND_ASCII} characters"
    return None


def _fault_of_address(tag: Any, where: Any) -> str | None:
    # An empty text is allowed, because the name of the default exchange is empty.
    if not all(one == "" or is_name(one) for one in (tag, where["exchange"], where["routing_key"])):
        return "its delivery tag, exchange or routing key is no text of printable characters"
    return None


class GuardedRedisChannel(redis.Channel):
    """A channel that drops bytes that are not a kombu message, and logs each drop."""

    QoS = GuardedQoS
    Message = GuardedMessage
    connection_class = BoundedConnection
    connection_class_ssl = BoundedTLSConnection
    handlers: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # kombu reads queues and broadcasts with these handlers.
        handlers: dict[str, Callable[[], Any]] = self.handlers
        self.handlers = {kind: partial(_surviving, read) for kind, read in handlers.items()}

    def basic_consume(self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, **options: Any) -> Any:
        """Pass the messages of this queue to `callback`. Drop bytes that are not a message."""

        def deliver(message: Any) -> None:
            if message.fault is not None:
                _log_dropped(message.fault)
                return
            try:
                callback(message)
            except Exception as error:
                raise _Undelivered(error) from error

        return super().basic_consume(queue, no_ack, deliver, consumer_tag, **options)

    def close(self) -> None:
        """Close the channel. kombu reads from Redis once more here; close even if this read yields no valid message."""
        _surviving(super().close)
        if not self.closed:
            super().close()


def _surviving(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except _Undelivered as undelivered:
        raise undelivered.error from None
    except (Empty, redis.redis.RedisError, OSError):
        raise
    except AttributeError as error:
        # redis-py raises this when its client has lost the connection. A ConnectionError makes kombu connect again.
        raise redis.redis.ConnectionError(f"the connection to Redis is gone ({error})") from error
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        _log_error(error)
    return True


class _Undelivered(Exception):
    """Carries an error that a message's handler raised through `_surviving`, which would otherwise catch it.

    `_surviving` drops errors that come from unreadable bytes, and a handler may raise errors of the same classes.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class GuardedRedisTransport(redis.Transport):
    """kombu's transport for Redis, with guarded channels."""

    Channel = GuardedRedisChannel


class NamedTLSTransport(pyamqp.SSLTransport):
    """kombu's transport for RabbitMQ over TLS, corrected for a list of brokers with several hosts."""

    def establish_connection(self) -> Any:
        """Connect, and compare the broker's certificate with the name of this broker.

        kombu itself would compare with the name of the first broker in the list: it writes this name into options that
        all brokers of the list share.
        """
        if isinstance(self.client.ssl, dict):
            self.client.ssl = {**self.client.ssl, "server_hostname": None}
        return super().establish_connection()


def _log_error(error: Exception) -> None:
    # Log only the error's class: its text may quote the whole message.
    _log_dropped(type(error).__name__)


def _log_dropped(fault: str) -> None:
    log.error(
        "bytes at the broker were dropped: they are no message of Celery's", action="message_dropped", error=fault
    )
