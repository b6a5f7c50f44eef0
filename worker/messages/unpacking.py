"""Below Celery: what kombu makes of the bytes that a broker holds, whoever put them there.

kombu trusts its broker: bytes that are no message of its own end the worker, a small message may unpack to gigabytes,
and JSON that says so becomes dates, decimals and UUIDs.
"""

import bz2
import json
import lzma
import zlib
from collections.abc import Callable
from queue import Empty
from typing import Any, Protocol

import amqp
import structlog
from kombu import compression, serialization
from kombu.transport import TRANSPORT_ALIASES, pyamqp, redis
from kombu.utils import json as kombu_json

from worker.messages.taking import ManyAtOnceChannel, ManyNotes

log = structlog.stdlib.get_logger(__name__)

LARGEST_BODY = 16 * 1024 * 1024
"""Bytes of a message's body, unpacked. A list of 1000 orders is well below a megabyte."""


class _Unpacker(Protocol):
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...

    @property
    def eof(self) -> bool: ...


_UNPACKERS: dict[str, Callable[[], _Unpacker]] = {
    "application/x-gzip": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=8 * LARGEST_BODY),
}


def guard_kombu() -> None:
    """Let no bytes at a broker end this process or fill its memory. Call it before the first connection is made."""
    for name in ("redis", "rediss"):
        TRANSPORT_ALIASES[name] = f"{__name__}:GuardedRedisTransport"
    TRANSPORT_ALIASES["amqps"] = f"{__name__}:NamedTLSTransport"
    serialization.register("json", kombu_json.dumps, _read_json, content_type="application/json")
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
        with self.channel.conn_or_acquire(client) as connected:
            note = connected.hget(self.unacked_key, tag)
        try:
            message, exchange, routing_key = kombu_json.loads(note or "null")
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
            super().__init__(payload, channel=channel, **options)
            where = self.delivery_info
            if not all(isinstance(one, str) for one in (self.delivery_tag, where["exchange"], where["routing_key"])):
                raise NoMessage("its delivery tag, exchange or routing key is no text")
        except (MemoryError, NoMessage):
            raise
        except Exception as error:
            raise NoMessage(type(error).__name__) from None


class GuardedRedisChannel(ManyAtOnceChannel):
    """A channel on which bytes that are no message of kombu's are dropped, with a line in the log."""

    QoS = GuardedQoS
    Message = GuardedMessage

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


def _read_json(body: Any) -> Any:
    return json.loads(bytes(body) if isinstance(body, memoryview) else body)


def _bounded(kind: str) -> Callable[[bytes], bytes]:
    def unpack(packed: bytes) -> bytes:
        if kind not in _UNPACKERS:
            raise ValueError(f"{kind} is not accepted")
        unpacker = _UNPACKERS[kind]()
        body = unpacker.decompress(packed, max_length=LARGEST_BODY)
        if not unpacker.eof:
            raise ValueError(f"is cut short, or holds more than {LARGEST_BODY} bytes")
        return body

    return unpack
