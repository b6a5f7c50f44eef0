"""The internals of kombu, redis-py and py-amqp that the worker uses: the only module with private names of libraries.

Each prevents bytes at the broker from ending the worker or filling its memory, where the library has no public way.
`pyproject.toml` caps the versions of Celery and kombu, and
`tests/integration/broker/test_library_internals.py` fails with one sentence where an internal has changed.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import amqp
from kombu.transport import redis

from worker.broker.sizes import LARGEST_BEYOND_ASCII, LARGEST_ITEM


class ReplyTooLong(ValueError):
    """Redis sends a text that is longer than any message may be."""


@cache
def _bounding(parser: Any) -> Any:
    """redis-py's parser, with a limit: it closes the connection before it reads a text that is too long.

    redis-py itself would read up to 512 MB at once, and hold them twice. A message that was popped so is lost.
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
    """A connection to Redis that reads no text of unlimited length."""

    def set_parser(self, parser_class: Any) -> None:
        """Called by redis-py with the parser of the protocol in use."""
        super().set_parser(_bounding(parser_class))


class BoundedTLSConnection(redis.redis.SSLConnection):
    """The same over TLS."""

    def set_parser(self, parser_class: Any) -> None:
        """Called by redis-py with the parser of the protocol in use."""
        super().set_parser(_bounding(parser_class))


def read_redis_by(read_json: Callable[[Any], Any]) -> None:
    """Make kombu read the envelopes in Redis with this function; its own would read any number of values."""
    redis.loads = read_json


_inbound_header = amqp.Message.inbound_header


def survive_unreadable_properties(log_error: Callable[[Exception], None]) -> None:
    """Make py-amqp go on where it cannot read a message's properties: they are empty then, and `log_error` is called.

    Otherwise a header that it cannot read (a time beyond the calendar) would end the connection, and be delivered again
    at once, for ever. py-amqp accepts no other class of messages.
    """

    def inbound_header(message: Any, *args: Any) -> Any:
        try:
            return _inbound_header(message, *args)
        except MemoryError:
            raise
        except Exception as error:
            log_error(error)
            message.properties = {}
            message.ready = not message.body_size

    amqp.Message.inbound_header = inbound_header
