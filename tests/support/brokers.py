"""Brokers that others may use too: only the project's own queues are changed."""

import json

import redis
from kombu import Connection

from worker.broker.answers import ASKED_KEY

QUEUES = ("reconciler.orders", "reconciler.ticks", "reconciler.orders.later")

# kombu keeps messages of priority 3, 6 and 9 in lists of their own next to the queue's.
_PRIORITY_SUFFIXES = ("", *(f"\x06\x16{priority}" for priority in (3, 6, 9)))


def remove_queues(url: str) -> None:
    """Remove the project's queues with their messages, also those that a killed worker had received."""
    if url.startswith(("redis:", "rediss:")):
        with redis.Redis.from_url(url, socket_timeout=5) as client:
            _remove_from_redis(client)
    else:
        with Connection(url, connect_timeout=5) as connection, connection.channel() as channel:
            for queue in QUEUES:
                channel.queue_delete(queue)


def _remove_from_redis(client: redis.Redis) -> None:
    client.delete(ASKED_KEY, *(queue + suffix for queue in QUEUES for suffix in _PRIORITY_SUFFIXES))
    # What a worker received and did not acknowledge waits here, and would be delivered again during a later test.
    for tag, taken in client.hscan_iter("unacked"):
        _message, _exchange, routing_key = json.loads(taken)
        if routing_key in QUEUES:
            client.hdel("unacked", tag)
            client.zrem("unacked_index", tag)
