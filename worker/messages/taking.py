"""Single orders are taken from Redis many at a time, and acknowledged many at a time.

kombu takes one message with one BRPOP, and notes with a second command that it was taken: two round trips, and a new
client object, for each. With one order in each message that is most of the work of the worker's main process. Here a
script goes on where BRPOP has brought a message: it takes the single orders that come next, and notes each as kombu
would, in one step. So for these there is no moment in which a message is in neither place; between a BRPOP and its note
there is one.

Only single orders that were not tried before are taken so: they are collected (`batching`). Of anything else
the worker holds no more than it is working on.
"""

from collections.abc import Iterator, Sequence
from time import time
from typing import Any

import structlog
from kombu.transport import redis
from kombu.transport.virtual.base import QoS
from kombu.utils import json

log = structlog.stdlib.get_logger(__name__)

QUEUE = "reconciler.orders"
MOST_AT_ONCE = 100
"""Messages that one script takes: Redis does nothing else meanwhile, for about a millisecond."""
MOST_UNACKNOWLEDGED = 500
"""With so many that wait to be acknowledged, none is taken ahead."""
LARGEST = 16 * 1024
"""Bytes of a message that is taken so. One with a single order has about 1000."""
# How Celery writes it. A message that is written otherwise is taken by BRPOP.
_MARK = '"task": "reconciler.enqueue_order"'

# Its note is kombu's: JSON of the message, its exchange and its routing key. The message is JSON as it is.
_TAKE = """
local taken = {}
for _ = 1, tonumber(ARGV[1]) do
    local item = redis.call('LINDEX', KEYS[1], -1)
    if not item or #item > tonumber(ARGV[2]) or not string.find(item, ARGV[3], 1, true) then break end
    local is_read, message = pcall(cjson.decode, item)
    local headers = is_read and type(message) == 'table' and message['headers']
    if type(headers) ~= 'table' or headers['redelivered'] or headers['retries'] ~= 0 then break end
    local properties = message['properties']
    local info = type(properties) == 'table' and properties['delivery_info']
    local tag = type(info) == 'table' and properties['delivery_tag']
    local exchange, key = tag and info['exchange'], tag and info['routing_key']
    if type(tag) ~= 'string' or type(exchange) ~= 'string' or type(key) ~= 'string' then break end
    -- A tag that is no text would fail when all of them are read: the others would wait for the visibility timeout.
    if not (string.find(tag, '^[%w-]+$') and string.find(exchange .. key, '^[%w._-]*$')) then break end
    redis.call('ZADD', KEYS[2], ARGV[4], tag)
    redis.call('HSET', KEYS[3], tag, '[' .. item .. ', ' .. cjson.encode(exchange) .. ', ' .. cjson.encode(key) .. ']')
    -- The last: Redis undoes nothing of a script that fails.
    redis.call('RPOP', KEYS[1])
    taken[#taken + 1] = {tag, item}
end
return taken
"""


class ManyNotes(redis.QoS):
    """Redis's notes of what was taken and not acknowledged yet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._done: list[Any] = []
        self._noted: set[str] = set()

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge a message: its note is removed together with others, before the next message is waited for."""
        self._done.append(delivery_tag)

    def can_consume(self) -> bool:
        """Whether there is room for one more message. Asked each time before a message is waited for."""
        self.remove_done()
        return bool(super().can_consume())

    def remove_done(self) -> None:
        """Remove the notes of what was acknowledged. Where that fails, the messages come again."""
        done, self._done = self._done, []
        if done:
            with self.pipe_or_acquire() as pipe:
                pipe.zrem(self.unacked_index_key, *done).hdel(self.unacked_key, *done).execute()
            for tag in done:
                self._quick_ack(tag)

    def append(self, message: Any, delivery_tag: Any) -> None:
        """Note a message, unless the script has done so."""
        if delivery_tag in self._noted:
            self._noted.discard(delivery_tag)
            QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def room(self) -> int:
        """How many messages may be taken ahead."""
        return min(MOST_AT_ONCE, MOST_UNACKNOWLEDGED - len(self._delivered) + len(self._dirty))

    def handing_over(self, taken: Sequence[tuple[str, bytes]]) -> Iterator[bytes]:
        """Each of these messages, which the script has noted, to be delivered.

        Whatever ends this: those that were not delivered are put back with all that is not acknowledged. One that was
        handed over and not appended is no message: its note is removed.
        """
        for tag, _ in taken:
            self._quick_append(tag, None)
            self._noted.add(tag)
        for tag, item in taken:
            yield item
            if tag in self._noted:
                self._noted.discard(tag)
                self.ack(tag)


class ManyAtOnceChannel(redis.Channel):
    """A channel that takes single orders many at a time."""

    def _brpop_read(self, **options: Any) -> Any:
        is_delivered = super()._brpop_read(**options)
        if QUEUE in self.active_queues and self.qos.room() > 0:
            self._take_singles()
        return is_delivered

    def _take_singles(self) -> None:
        keys = (QUEUE, self.unacked_index_key, self.unacked_key)
        with self.conn_or_acquire() as client:
            taken = client.eval(_TAKE, len(keys), *keys, self.qos.room(), LARGEST, _MARK, time())
        pairs = [(tag.decode() if isinstance(tag, bytes) else tag, item) for tag, item in taken]
        for item in self.qos.handing_over(pairs):
            try:
                message = json.loads(item)
            except MemoryError:
                raise
            except Exception as error:
                # JSON in kombu's own dress for other types may raise anything.
                log.error(
                    "bytes at the broker were dropped: they are no message of Celery's",
                    action="message_dropped",
                    error=type(error).__name__,
                )
                continue
            self.connection._deliver(message, QUEUE)
