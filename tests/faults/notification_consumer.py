"""A consumer of notifications that come as a Celery task's messages: a program of its own, with kombu alone.

It declares the queue, keeps each message in a file as `tests.faults.notification_recorder` keeps a delivery, and then
acknowledges it. It connects again by itself where its broker was away.
"""

import argparse
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kombu import Connection, Consumer, Queue

from tests.faults.notification_recorder import WHOLE, Deliveries

_PROTOCOL_2 = ({"lang", "task", "id", "root_id"}, 3)
"""Headers that such a message has, and the length of its body."""
_RETRY_SECONDS = 0.5


def delivery(body: Any, headers: Mapping[str, Any]) -> dict[str, Any]:
    """A message as the checker reads it. One that no Celery worker could run counts as not signed."""
    names, length = _PROTOCOL_2
    is_valid = names <= headers.keys() and isinstance(body, list) and len(body) == length and body[0] == []
    event = body[1].get("event") if is_valid else body
    return {
        "at": time.time(),
        "method": "task",
        "path": headers.get("task"),
        "id": headers.get("id"),
        "age": 0.0,
        "is_valid": is_valid,
        "body": json.dumps(event, ensure_ascii=False, separators=(",", ":")),
        "how": WHOLE,
        "status": 200,
        "accepts": True,
    }


def consume(broker_url: str, queue: str, deliveries: Deliveries) -> None:
    """Consume until the connection breaks. Raises what kombu and the libraries below it raise."""

    def take(body: Any, message: Any) -> None:
        deliveries.keep(delivery(body, message.headers))
        message.ack()

    with (
        Connection(broker_url, connect_timeout=5) as connection,
        Consumer(connection, [Queue(queue, durable=True)], callbacks=[take], accept=["json"]),
    ):
        print("consuming", flush=True)
        while True:
            # Nothing comes for a while: the connection is good all the same.
            with suppress(TimeoutError):
                connection.drain_events(timeout=5)


def main() -> None:
    """Consume until the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", required=True, help="URL of the broker")
    parser.add_argument("--queue", required=True)
    parser.add_argument("--file", type=Path, required=True)
    options = parser.parse_args()
    with Connection(options.broker, connect_timeout=5) as connection:
        # What a killed consumer of another testbed has left.
        Queue(options.queue, channel=connection.default_channel).delete()
    deliveries = Deliveries(options.file)
    while True:
        try:
            consume(options.broker, options.queue, deliveries)
        except Exception as error:  # Whatever the broker does: it comes back.
            print(f"{type(error).__name__}: {error}", flush=True)
            time.sleep(_RETRY_SECONDS)


if __name__ == "__main__":
    main()
