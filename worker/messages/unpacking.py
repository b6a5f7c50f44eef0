"""Below Celery: what kombu makes of the bytes that a broker holds, whoever put them there.

kombu trusts its broker: bytes that are no message of its own end the worker, a small message may unpack to gigabytes,
and JSON that says so becomes dates, decimals and UUIDs.
"""

import bz2
import gc
import json
import lzma
import zlib
from collections.abc import Callable
from functools import cache
from queue import Empty
from typing import Any, Protocol

import amqp
import structlog
from kombu import compression, serialization
from kombu.transport import TRANSPORT_ALIASES, pyamqp, redis
from kombu.utils import json as kombu_json

from worker.messages.sizes import LARGEST_BEYOND_ASCII, LARGEST_BODY, LARGEST_ITEM, check_body, check_size, text_of
from worker.messages.taking import ManyAtOnceChannel, ManyNotes

log = structlog.stdlib.get_logger(__name__)

# kombu's own limit of a queue's name on RabbitMQ.
_LONGEST_NAME = 255
_LARGE = 1024 * 1024


class _Unpacker(Protocol):
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...

    @property
    def eof(self) -> bool: ...


_UNPACKERS: dict[str, Callable[[], _Unpacker]] = {
    "application/x-gzip": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    # What it packs with by default takes 9 MB to unpack, at its best 65 MB.
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=32 * 1024 * 1024),
}


def guard_kombu() -> None:
    """Let no bytes at a broker end this process or fill its memory. Call it before the first connection is made."""
    for name in ("redis", "rediss"):
        TRANSPORT_ALIASES[name] = f"{__name__}:GuardedRedisTransport"
    TRANSPORT_ALIASES["amqps"] = f"{__name__}:NamedTLSTransport"
    # By this name kombu's transport reads what Redis holds around a body: it would read any number of values.
    redis.loads = read_json
    serialization.register("json", kombu_json.dumps, _read_body, content_type="application/json")
    amqp.Message._load_properties = _load_properties_or_none
    for kind in compression.encoders():
        # Whatever else is installed here and has no bound is refused.
        compression.register(compression.get_encoder(kind)[0], _bounded(kind), kind)


class GuardedQoS(ManyNotes):
    """Redis's notes of what was taken and not acknowledged yet."""

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Put back what was not acknowledged, when a channel is closed for good."""
        try:
            self.remove_done()
        except Exception as error:
            _tell_left(error)
        super().restore_unacked_once(stderr)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> Any:
        """Put a message back. A note that cannot be read is thrown away: it would keep all others from returning."""
        try:
            return super().restore_by_tag(tag, client=client, leftmost=leftmost)
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            if self._is_readable(tag, client):
                # A connection that broke may raise these as well.
                raise redis.redis.ConnectionError(f"a message could not be put back ({error!r})") from error
            _tell_bytes_dropped(error)
            return self._remove_from_indices(tag).execute()

    def _is_readable(self, tag: Any, client: Any) -> bool:
        try:
            with self.channel.conn_or_acquire(client) as connected:
                note = connected.hget(self.unacked_key, tag)
        except ReplyTooLong:
            return False
        try:
            message, exchange, routing_key = read_json(note or "null")
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
            return note is None
        return isinstance(message, dict) and isinstance(exchange, str) and isinstance(routing_key, str)

    def restore_unacked(self, client: Any = None) -> None:
        """Put back what was not acknowledged when a channel is closed.

        A connection that broke may leave no way to do that. kombu's error then would end the worker in the midst of
        connecting anew; the messages come again by the visibility timeout.
        """
        try:
            super().restore_unacked(client)
        except Exception as error:
            _tell_left(error)


def _tell_left(error: Exception) -> None:
    log.warning(
        "messages that were under way could not be put back: the broker delivers them again later",
        action="messages_left",
        error=type(error).__name__,
    )


class NoMessage(Exception):
    """What a queue of Redis held is no message of kombu's; `str()` says how that was found, without any of it."""


class GuardedMessage(redis.Channel.Message):
    """A message of Redis that has all that kombu needs to keep a note of it, and to acknowledge it."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        """Raises NoMessage."""
        try:
            body = payload.get("body")
            if isinstance(body, str) and len(body) > LARGEST_BEYOND_ASCII and not body.isascii():
                raise NoMessage(f"its body is not ASCII, and longer than {LARGEST_BEYOND_ASCII} characters")
            super().__init__(payload, channel=channel, **options)
            where = self.delivery_info
            if not all(map(_is_name, (self.delivery_tag, where["exchange"], where["routing_key"]))):
                raise NoMessage("its delivery tag, exchange or routing key is no text of printable characters")
        except (MemoryError, NoMessage):
            raise
        except Exception as error:
            raise NoMessage(type(error).__name__) from None


def _is_name(value: Any) -> bool:
    # Redis takes bytes: what cannot be encoded would end the worker. Nor is a half of a pair of surrogates printable.
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable()


class ReplyTooLong(ValueError):
    """Redis sends a text that is longer than any message may be."""


@cache
def _bounding(parser: Any) -> Any:
    """redis-py's parser of a connection, but for texts that are too long: the connection is given up before they come.

    redis-py itself would read up to 512 MB at once, and hold them twice. What was taken from a queue so is lost.
    """

    class Bounding(parser):
        def on_connect(self, connection: Any) -> None:
            super().on_connect(connection)
            read = self._buffer.read

            def read_bounded(length: int, **options: Any) -> Any:
                if length <= LARGEST_ITEM:
                    text = read(length, **options)
                    if length <= LARGEST_BEYOND_ASCII or text.isascii():
                        return text
                connection.disconnect()
                raise ReplyTooLong

            self._buffer.read = read_bounded

    return Bounding


class BoundedConnection(redis.redis.Connection):
    """A connection to Redis that reads no text without bounds."""

    def set_parser(self, parser_class: Any) -> None:
        """Called by redis-py with the parser of the protocol that is spoken."""
        super().set_parser(_bounding(parser_class))


class BoundedTLSConnection(redis.redis.SSLConnection):
    """The same over TLS."""

    def set_parser(self, parser_class: Any) -> None:
        """Called by redis-py with the parser of the protocol that is spoken."""
        super().set_parser(_bounding(parser_class))


class GuardedRedisChannel(ManyAtOnceChannel):
    """A channel on which bytes that are no message of kombu's are dropped, with a line in the log."""

    QoS = GuardedQoS
    Message = GuardedMessage
    connection_class = BoundedConnection
    connection_class_ssl = BoundedTLSConnection

    def _brpop_read(self, **options: Any) -> Any:
        return self._surviving(super()._brpop_read, **options)

    def _receive(self) -> Any:
        return self._surviving(super()._receive)

    def _surviving(self, read: Callable[..., Any], **options: Any) -> Any:
        try:
            return read(**options)
        except _Undelivered as undelivered:
            raise undelivered.error from None
        except (Empty, redis.redis.RedisError, OSError):
            raise
        except AttributeError as error:
            # The client lost its connection on the way. Named so, that leads to a new one.
            raise redis.redis.ConnectionError(f"the connection to Redis is gone ({error})") from error
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            _tell_bytes_dropped(error)
        return True


class _Undelivered(Exception):
    """Carries an error of whoever handles a message past those who look for bytes that cannot be read."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class GuardedRedisTransport(redis.Transport):
    """kombu's transport for Redis, with guarded channels."""

    Channel = GuardedRedisChannel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)
        except NoMessage as error:
            _tell_bytes_dropped(error)
        except Exception as error:
            raise _Undelivered(error) from error


class NamedTLSTransport(pyamqp.SSLTransport):
    """kombu's transport for RabbitMQ over TLS, where a list of brokers may hold several hosts."""

    def establish_connection(self) -> Any:
        """Connect, and compare the certificate with the name of this broker.

        kombu writes the first one's name into options that all of the list share.
        """
        if isinstance(self.client.ssl, dict):
            self.client.ssl = {**self.client.ssl, "server_hostname": None}
        return super().establish_connection()


def _tell_bytes_dropped(error: Exception) -> None:
    # By its kind alone: the text of the error may hold all of the message.
    log.error(
        "bytes at the broker were dropped: they are no message of Celery's",
        action="message_dropped",
        error=str(error) if isinstance(error, NoMessage) else type(error).__name__,
    )


_load_properties = amqp.Message._load_properties


def _load_properties_or_none(message: Any, *args: Any) -> None:
    # py-amqp takes no class of messages but its own. A header that it cannot read (a time beyond the calendar) would
    # cost the connection, and be delivered again at once, for ever.
    try:
        _load_properties(message, *args)
    except MemoryError:
        raise
    except Exception as error:
        _tell_bytes_dropped(error)
        message.properties = {}


def read_json(text: Any) -> Any:
    """Read JSON of a size that is bounded, and make nothing of it but JSON's own types.

    Raises ValueError; Oversized, which is one, before anything is read.
    """
    if len(text) > _LARGE:
        # What Celery and kombu leave of a message (requests, tracebacks) refers to itself, so it stays until Python
        # looks for such things. It does so by their number, not their size: a few large messages would add up.
        gc.collect()
    text = text_of(text)
    check_size(text)
    return json.loads(text)


def _read_body(body: Any) -> Any:
    check_body(body)
    return read_json(body)


def _bounded(kind: str) -> Callable[[bytes], bytes]:
    def unpack(packed: bytes) -> bytes:
        if kind not in _UNPACKERS:
            raise ValueError(f"{kind} is not accepted")
        unpacker = _UNPACKERS[kind]()
        # One more, so that whoever looks at it sees that it is too long.
        body = unpacker.decompress(packed, max_length=LARGEST_BODY + 1)
        if not unpacker.eof and len(body) <= LARGEST_BODY:
            raise ValueError("is cut short")
        return body

    return unpack
