"""Use internals of kombu, redis-py and py-amqp. No other module uses private names of libraries.

Each use prevents bytes at the broker from ending the worker or filling its memory. The libraries have no public way to
prevent this. `pyproject.toml` caps the versions of Celery and kombu. If an internal has changed,
`tests/integration/broker/test_library_internals.py` fails, and one sentence tells what changed.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import amqp
from kombu.transport import redis

from worker.broker.sizes import LARGEST_BEYOND_ASCII, LARGEST_ITEM


class ReplyTooLong(ValueError):
    """Redis sends a text that is too long for a message."""


@cache
def _bounding(parser: Any) -> Any:
    """A subclass of a redis-py parser that closes the connection when a text from Redis is too long.

    redis-py itself would read up to 512 MB at once and keep two copies. If Redis has already popped the text from its
    queue, the message is lost.
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
    """A connection to Redis that limits the length of the texts that it reads."""

    def set_parser(self, parser_class: Any) -> None:
        """Set the parser; redis-py calls this with the parser of the protocol in use."""
        super().set_parser(_bounding(parser_class))


class BoundedTLSConnection(redis.redis.SSLConnection):
    """A `BoundedConnection` over TLS."""

    def set_parser(self, parser_class: Any) -> None:
        """Set the parser; redis-py calls this with the parser of the protocol in use."""
        super().set_parser(_bounding(parser_class))


def read_redis_by(read_json: Callable[[Any], Any]) -> None:
    """Make kombu read the envelopes in Redis with `read_json`. kombu's own function reads any number of values."""
    redis.loads = read_json


_inbound_header = amqp.Message.inbound_header


def survive_unreadable_properties(log_error: Callable[[Exception], None]) -> None:
    """Make py-amqp continue if it cannot read a message's properties: it leaves them empty, and calls `log_error`.

    Otherwise an unreadable header, such as a time beyond the calendar, would end the connection. RabbitMQ would deliver
    the message again at once, and so on forever. The class of py-amqp itself is patched, because py-amqp accepts no
    other message class.
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
