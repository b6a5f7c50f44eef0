"""The library internals that the worker depends on have not moved: a failure says in one sentence which did."""

import json
from struct import pack
from types import SimpleNamespace

import pytest
import redis
from amqp.method_framing import frame_handler
from kombu import Connection
from structlog.testing import capture_logs

from tests.support.forging import envelope
from tests.support.servers import EmbeddedValkey
from worker.broker.library_internals import BoundedConnection, ReplyTooLong
from worker.broker.redis_and_rabbitmq import GuardedRedisTransport, guard_kombu
from worker.broker.sizes import LARGEST_ITEM, MOST_VALUES, Oversized

guard_kombu()


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_reads_by_the_buffer_of_its_parser(valkey: EmbeddedValkey, protocol: int) -> None:
    pool = redis.ConnectionPool.from_url(valkey.url, connection_class=BoundedConnection, protocol=protocol)
    with valkey.client() as writer, redis.Redis(connection_pool=pool) as reader:
        writer.set("long", b"x" * (LARGEST_ITEM + 1))
        try:
            reader.get("long")
        except ReplyTooLong:
            return
        finally:
            writer.delete("long")
    pytest.fail("redis-py no longer reads replies by `_buffer.read` of its parser, so nothing bounds their length")


def test_kombu_reads_what_redis_holds_by_the_name_loads(valkey: EmbeddedValkey) -> None:
    many = {**envelope(), "headers": dict.fromkeys(map(str, range(MOST_VALUES)), 1)}
    with valkey.client() as writer, Connection(valkey.url, transport=GuardedRedisTransport) as guarded:
        writer.lpush("many", json.dumps(many))
        try:
            guarded.default_channel.basic_get("many")
        except Oversized:
            return
    pytest.fail("kombu no longer reads JSON by `loads` of kombu.transport.redis, so nothing bounds its values")


def test_kombu_reads_queues_and_broadcasts_by_its_handlers(valkey: EmbeddedValkey) -> None:
    with Connection(valkey.url, transport=GuardedRedisTransport) as guarded:
        kinds = set(guarded.default_channel.handlers)
    assert kinds == {"BRPOP", "LISTEN"}, "kombu's channel reads Redis by other means than these two handlers"


def test_py_amqp_reads_properties_by_inbound_header() -> None:
    received: list[object] = []
    on_frame = frame_handler(SimpleNamespace(bytes_recv=0), lambda *sent: received.append(sent[3]))
    on_frame((1, 1, pack(">HH", 60, 60)))
    with capture_logs() as logs:
        try:
            # The headers' table says that it is longer than the frame.
            on_frame((2, 1, pack(">HxxQHI", 60, 0, 1 << 13, 2**31)))
        except Exception as error:
            pytest.fail(f"py-amqp no longer reads properties by Message.inbound_header, so they end it ({error!r})")
    assert [line["action"] for line in logs] == ["message_dropped"]
    assert len(received) == 1
