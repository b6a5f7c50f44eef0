"""What was taken from a broker and not acknowledged, when that broker goes away."""

import pytest
from kombu import Connection, Queue
from structlog.testing import capture_logs

from tests.support.servers import EmbeddedValkey
from worker.messages.unpacking import guard_kombu

QUEUE = "reconciler.orders"
# Before any test runs: kombu keeps the transport of the first connection that is made in a process.
guard_kombu()


def test_a_channel_closes_although_it_cannot_put_back_what_it_holds(own_valkey: EmbeddedValkey) -> None:
    connection = Connection(own_valkey.url)
    channel = connection.channel()
    Queue(QUEUE, channel=channel).declare()
    connection.Producer().publish({}, routing_key=QUEUE)
    assert channel.basic_get(QUEUE) is not None
    own_valkey.kill()
    with capture_logs() as told:
        channel.close()
    assert [line["action"] for line in told] == ["messages_left"]
    connection.release()


def test_an_error_of_whoever_handles_a_message_is_not_taken_for_bytes_that_cannot_be_read(
    own_valkey: EmbeddedValkey,
) -> None:
    def handle(*_: object) -> None:
        raise ValueError("a mistake of the handler's")

    with Connection(own_valkey.url) as connection, capture_logs() as told:
        queue = Queue(QUEUE, channel=connection.default_channel)
        queue.declare()
        connection.Producer().publish({}, routing_key=QUEUE)
        with (
            connection.Consumer(queue, callbacks=[handle], accept=["json"]),
            pytest.raises(ValueError, match="a mistake of the handler's"),
        ):
            connection.drain_events(timeout=10)
    assert told == []
    with own_valkey.client() as client:
        assert client.llen(QUEUE) == 1


def test_a_channel_puts_back_what_it_holds(own_valkey: EmbeddedValkey) -> None:
    with Connection(own_valkey.url) as connection:
        channel = connection.channel()
        Queue(QUEUE, channel=channel).declare()
        connection.Producer().publish({}, routing_key=QUEUE)
        assert channel.basic_get(QUEUE) is not None
        channel.close()
    with own_valkey.client() as client:
        assert client.llen(QUEUE) == 1
