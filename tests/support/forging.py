"""A worker that receives forged messages, and writes to its queues as anyone could who reaches the broker."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import redis
from kombu import Connection

from tests.support.memory import memory_of
from tests.support.processes import Program
from tests.support.sql import column_of, rows_of
from tests.support.waiting import eventually

ORDERS, TICKS = "reconciler.orders", "reconciler.ticks"
TASK = "reconciler.enqueue_order"


@dataclass
class Target:
    """A worker, and writes to its queues."""

    worker: Program
    broker: str
    database_url: str
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement reads from the worker's database."""
        return rows_of(self.database_url, statement)

    def orders(self) -> set[str]:
        """The request ids of all orders."""
        return set(column_of(self.database_url, "SELECT request_id FROM recharge_orders"))

    def rejections(self) -> int:
        """How many inputs were refused and kept."""
        return int(self.rows("SELECT count(*) FROM rejected_orders")[0][0])

    def publish(self, body: bytes, queue: str = ORDERS, content_type: str = "application/json", **sent: Any) -> None:
        """Put a message on a queue; `sent` holds `headers`, and whatever else kombu publishes."""
        with Connection(self.broker) as connection, connection.Producer() as producer:
            producer.publish(body, routing_key=queue, content_type=content_type, content_encoding="utf-8", **sent)

    def send(self, queue: str = ORDERS, **headers: Any) -> str:
        """Send an order under these headers, by protocol 2; returns its id."""
        name = f"order-{next(self.numbers)}"
        fields = {"task": TASK, "id": name, **headers}
        self.publish(json.dumps([[{"request_id": name}], {}, {}]).encode(), queue, headers=fields)
        return name

    def wait_for(self, *names: str) -> None:
        """Return once these orders are in the table."""
        try:
            eventually(lambda: set(names) <= self.orders(), f"the orders {names}", seconds=60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.worker.output[-20_000:]}") from None

    def check_still_works(self) -> None:
        """Check that the worker still accepts orders, by both its processes, and was not restarted."""
        self.wait_for(*(self.send() for _ in range(4)))
        assert "Unrecoverable" not in self.worker.output
        assert self.worker.output.count(" ready.") == 1

    def resident_bytes(self) -> int:
        """The most memory of the worker's main process since the peak was last reset, in bytes."""
        return memory_of(self.worker.pid)["VmHWM"]


def restore_visible(client: redis.Redis, connection: Connection) -> None:
    """Redeliver every unacknowledged message of a Redis, or drop it."""

    def is_done() -> bool:
        # Does nothing while a worker of the same broker does it.
        connection.default_channel.qos.restore_visible(interval=1)
        return client.hlen("unacked") + client.zcard("unacked_index") == 0

    eventually(is_done, "the end of the entries")


def envelope(body: object = "W10=", *, headers: object = None, **properties: Any) -> dict[str, Any]:
    """The envelope of kombu on Redis, correct but for the given parts."""
    return {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": TASK, "id": "forged"} if headers is None else headers,
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": f"tag-{os.urandom(4).hex()}",
            "delivery_info": {"exchange": ORDERS, "routing_key": ORDERS},
            **properties,
        },
    }
