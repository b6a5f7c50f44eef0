"""Whatever anyone who reaches the broker sends is dropped, or run as an ordinary task; the worker continues."""

import base64
import bz2
import json
import lzma
import pickle
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Exchange, Queue

from tests.support.forging import ORDERS, TASK, TICKS, Target, envelope, restore_visible
from tests.support.servers import EmbeddedValkey
from tests.support.sql import column_of
from tests.support.waiting import eventually
from worker.broker.redis_and_rabbitmq import GuardedRedisTransport

pytestmark = pytest.mark.slow

DEEP = "[" * 500_000 + "]" * 500_000
NESTED = "[" * 90_000 + "]" * 90_000


BROKEN_ENVELOPES: list[dict[str, Any]] = [
    {"properties": None},
    {"properties": []},
    {"properties": "x"},
    {"properties": {"delivery_tag": "t"}},
    {name: value for name, value in envelope().items() if name != "properties"},
    envelope(delivery_tag=None),
    envelope(delivery_tag=[1]),
    envelope(delivery_info="here"),
    envelope(delivery_info=[]),
    envelope("not base64!"),
    envelope("ä"),
    envelope(5),
    envelope(body_encoding="rot13"),
    envelope(body_encoding=5),
    envelope(headers=["task"]),
    envelope(headers="task"),
    envelope(headers=5),
]
NO_ENVELOPES: list[bytes] = [
    b"garbage",
    b"\xff\xfe\x00\x80",
    b"",
    b"null",
    b"5",
    b'"text"',
    b"[]",
    b"{}",
    DEEP.encode(),
    b"9" * 5000,
    *(json.dumps(one).encode() for one in BROKEN_ENVELOPES),
]
UNFIT: list[dict[str, Any]] = [
    envelope(None),
    envelope(""),
    {**envelope(), "content-type": ["json"]},
    {**envelope(), "content-type": "application/data"},
    {**envelope(), "content-encoding": 5},
    {**envelope(), "content-encoding": "no-such-encoding"},
    envelope(body_encoding=None),
    envelope(None, headers={"task": TASK, "id": "x", "compression": "zlib"}),
    envelope(headers={"task": TASK, "id": "x", "compression": ["zlib"]}),
    envelope(headers={"task": TASK, "id": "x", "deep": json.loads("[" * 300 + "]" * 300)}),
]


@pytest.mark.parametrize("queue", [ORDERS, TICKS])
def test_bytes_that_are_no_message_are_dropped(target: Target, valkey: EmbeddedValkey, queue: str) -> None:
    with valkey.client() as client:
        before = target.worker.output.count("message_dropped")
        for item in NO_ENVELOPES + [json.dumps(one).encode() for one in UNFIT]:
            client.lpush(queue, item)
        target.worker.wait_for("message_dropped", times=before + len(NO_ENVELOPES) + len(UNFIT))
        target.check_still_works()
        eventually(
            lambda: client.hlen("unacked") + client.zcard("unacked_index") == 0, "no message that is redelivered"
        )


def test_a_forged_entry_among_unacknowledged_messages_keeps_no_other_from_being_redelivered(
    valkey: EmbeddedValkey,
) -> None:
    lost = json.dumps([envelope(), "", "somewhere"])
    guarded = Connection(valkey.url, transport=GuardedRedisTransport)
    with valkey.client() as client, guarded as connection:
        for number, entry in enumerate(["garbage", "[]", "[1, 2, 3]", "null", DEEP, lost]):
            client.hset("unacked", f"entry-{number}", entry)
            client.zadd("unacked_index", {f"entry-{number}": 1.0})
        restore_visible(client, connection)
        assert client.llen("somewhere") == 1
        client.delete("somewhere")


CELERYS_OWN = sorted(name for name in Celery(set_as_current=False).tasks if name.startswith("celery."))


def test_an_error_of_the_connection_loses_no_received_message(valkey: EmbeddedValkey) -> None:
    class Broken:
        """A client whose connection breaks during a transaction, with the error that redis-py then raises."""

        def __init__(self, client: Any) -> None:
            self._client = client

        def hget(self, *names: str) -> Any:
            return self._client.hget(*names)

        def transaction(self, *_: object) -> None:
            raise AttributeError("'NoneType' object has no attribute 'sendall'")

    guarded = Connection(valkey.url, transport=GuardedRedisTransport)
    with valkey.client() as client, guarded as connection:
        qos = connection.default_channel.qos
        client.hset("unacked", "good", json.dumps([envelope(), ORDERS, ORDERS]))
        client.hset("unacked", "bad", "[1, 2, 3]")
        try:
            with pytest.raises(redis.ConnectionError):
                qos.restore_by_tag("good", client=Broken(client))
            qos.restore_by_tag("bad", client=Broken(client))
            assert client.hkeys("unacked") == [b"good"]
        finally:
            client.delete("unacked", "unacked_index")


def forged_headers() -> list[dict[str, Any]]:
    plain = {"task": TASK, "id": "forged"}
    return [
        {},
        {"task": []},
        {"task": {}},
        {"task": None, "id": "x"},
        {"task": 5, "id": "x"},
        {"task": TASK},
        {"task": TASK, "id": None},
        {"task": TASK, "id": ["x"]},
        {"task": TASK, "id": "x" * 1000},
        {"task": TASK, "id": "line\nend"},
        {"task": f"{TASK}\x1b[2J", "id": "x"},
        *({**plain, "task": name} for name in CELERYS_OWN),
        {**plain, "compression": "no such compression"},
        {**plain, "compression": "zlib"},
    ]


BAD_BODIES = [
    b"{",
    b"\xff\xfe",
    NESTED.encode(),
    f"[[{NESTED}], {{}}, {{}}]".encode(),
    b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    b"[" * 90_000,
    *(b"null", b'"abc"', b"[1, 2]", b"[[], {}]", b"[1, 2, 3]", b"[{}, [], 5]", b"[[], {}, 5]", b'{"args": 5}'),
    b'{"task": ["x"], "id": "x", "args": [], "kwargs": []}',
]


def drop_all_that_is_unfit(target: Target) -> None:
    headers, before = forged_headers(), target.worker.output.count("message_dropped")
    for one in headers:
        target.publish(b"[[[]], {}, {}]", headers=one)
    for body in BAD_BODIES:
        for fields in ({"task": TASK, "id": "forged"}, {}):
            target.publish(body, headers=fields)
    target.worker.wait_for("message_dropped", times=before + len(headers) + 2 * len(BAD_BODIES))
    target.check_still_works()
    lines = target.worker.output.splitlines()
    assert not [line for line in lines if not line.isprintable()]
    assert max(map(len, lines)) < 20_000


def test_messages_with_forged_fields_or_bodies_are_dropped(target: Target) -> None:
    drop_all_that_is_unfit(target)


UNREADABLE_NUMBERS: list[Any] = ["many", [], None, 0.5]
UNREADABLE_TIMES: list[Any] = [
    *("junk", "", [], {"at": 1}, 5, "0001-01-01T00:00:00", "0001-01-01T00:00:00+12:00"),
    *("9999-12-31T23:59:59", "9999-12-31T23:59:59-12:00"),
]


def run_as_what_it_is(target: Target) -> None:
    """Fields that a task does not need are dropped, those that it needs are bounded."""
    names = [
        target.send(retries=10**9),
        target.send(retries=-5),
        target.send(eta=(datetime.now(UTC) + timedelta(days=9000)).isoformat()),
        *(target.send(retries=number) for number in UNREADABLE_NUMBERS),
        *(target.send(retries=1, eta=time) for time in UNREADABLE_TIMES),
        *(target.send(expires=time) for time in UNREADABLE_TIMES),
        target.send(timelimit=[0.001, 0.001]),
        target.send(timelimit="junk"),
        target.send(ignore_result="perhaps"),
        target.send(root_id=[1], parent_id={}, origin=5, argsrepr=7, kwargsrepr=[]),
        target.send(argsrepr="x" * 100_000, shadow={"a": 1}, meth=5, lang="cobol", stamps=5, stamped_headers=6),
        target.send(group="g", group_index="junk", chord=[1]),
    ]
    target.wait_for(*names)
    target.check_still_works()


def test_fields_that_no_task_needs_are_dropped(target: Target) -> None:
    run_as_what_it_is(target)


def test_the_older_protocol_is_understood(target: Target) -> None:
    fields = {"task": TASK, "id": "old", "kwargs": {}, "retries": 0, "eta": None, "utc": True, "chord": None}
    target.publish(json.dumps({**fields, "args": [{"request_id": "protocol-1"}]}).encode())
    target.publish(json.dumps({"args": [{"request_id": "hybrid"}]}).encode(), headers={"task": TASK, "id": "hybrid"})
    target.wait_for("protocol-1", "hybrid")


OTHER: dict[str, Any] = {
    "task": "other.task",
    "args": [],
    "kwargs": {},
    "options": {"exchange": "others", "routing_key": "others", "queue": None},
    "subtask_type": None,
    "immutable": True,
}


@contextmanager
def others_queue(target: Target) -> Iterator[Callable[[], int]]:
    """A queue of another program on the same broker; yields a function that counts its messages."""
    with Connection(target.broker) as connection, connection.channel() as channel:
        queue = Queue("others", Exchange("others"), routing_key="others", channel=channel)
        queue.declare()
        yield lambda: int(queue.queue_declare().message_count)
        queue.delete()


def test_a_message_makes_the_worker_send_no_other(target: Target) -> None:
    embedded = {"callbacks": [OTHER], "errbacks": [OTHER], "chain": [OTHER], "chord": OTHER}
    headers = {"task": TASK, "id": "follow", "group": "g"}
    good = [[{"request_id": "followed"}], {}, embedded]
    old = {"task": TASK, "id": "old", "args": [{"request_id": "followed-old"}], "kwargs": {}, **embedded}
    logged = target.worker.output.count("follow_ups_ignored")
    with others_queue(target) as waiting:
        target.publish(json.dumps(good).encode(), headers=headers)
        # One that fails: an unknown task's errbacks.
        target.publish(json.dumps(good).encode(), headers={**headers, "task": "reconciler.no_such_task"})
        target.publish(json.dumps({**old, "taskset": "g"}).encode())
        target.wait_for("followed", "followed-old")
        target.worker.wait_for("follow_ups_ignored", times=logged + 3)
        target.check_still_works()
        assert waiting() == 0


def test_celerys_own_tasks_are_not_run(target: Target) -> None:
    assert {"celery.chord_unlock", "celery.group"} <= set(CELERYS_OWN)
    # If they ran, one would send another task elsewhere, and the other would send itself for ever.
    sends = [[[OTHER], [["g", None], []], "g", []], {"add_to_parent": False}, {}]
    loops = [["g", OTHER], {"interval": 0, "max_retries": None, "result": []}, {}]
    dropped = target.worker.output.count("message_dropped")
    with others_queue(target) as waiting:
        target.publish(json.dumps(sends).encode(), headers={"task": "celery.group", "id": "sends"})
        target.publish(json.dumps(loops).encode(), headers={"task": "celery.chord_unlock", "id": "loops"})
        target.worker.wait_for("message_dropped", times=dropped + 2)
        target.check_still_works()
        assert waiting() == 0
    assert not [line for line in target.worker.output.splitlines() if "celery.chord_unlock[" in line]


def test_a_member_of_a_group_is_an_order_like_any_other(target: Target) -> None:
    logged = target.worker.output.count("follow_ups_ignored")
    target.wait_for(target.send(group="g", group_index=0))
    assert target.worker.output.count("follow_ups_ignored") == logged


def test_a_forged_reply_address_does_not_redirect_the_answer(target: Target, valkey: EmbeddedValkey) -> None:
    body = json.dumps([[{"request_id": "answered"}], {}, {}]).encode()
    target.publish(body, headers={"task": TASK, "id": "answered"}, reply_to=ORDERS, correlation_id="victim")
    with valkey.client() as client:
        eventually(lambda: client.exists("celery-task-meta-answered"), "the answer under its task's own id")
        assert not client.exists("celery-task-meta-victim")
    target.check_still_works()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "bzip2": partial(bz2.compress, compresslevel=1),
    "xz": partial(lzma.compress, preset=0),
}


@pytest.mark.parametrize("name", PACKERS)
def test_a_packed_message_is_unpacked_within_bounds(target: Target, name: str) -> None:
    before, dropped = target.resident_bytes(), target.worker.output.count("message_dropped")
    bomb = b"[[" + b" " * 100_000_000 + b"], {}, {}]"
    order = json.dumps([[{"request_id": f"packed-{name}"}], {}, {}]).encode()
    for body in (bomb, order):
        target.publish(PACKERS[name](body), headers={"task": TASK, "id": "packed", "compression": name})
    target.wait_for(f"packed-{name}")
    assert target.worker.output.count("message_dropped") == dropped
    newest = "SELECT payload FROM rejected_orders ORDER BY id DESC LIMIT 1"
    eventually(
        lambda: target.rows(newest) == [(bomb[:1_000_000].decode(),)], "the start of the payload that was too large"
    )
    assert target.resident_bytes() - before < 80_000_000


def test_json_makes_nothing_but_json(target: Target) -> None:
    made = {"__type__": "decimal", "__value__": "1e999999999"}
    bytes_made = {"__type__": "bytes", "__value__": "x"}
    unknown = {"__type__": [], "__value__": "x"}
    for value in (made, bytes_made, unknown):
        body = json.dumps([[{"request_id": value}], {}, {}]).encode()
        target.publish(body, headers={"task": TASK, "id": "typed"})

    def kept() -> list[str]:
        payloads = column_of(target.database_url, "SELECT payload FROM rejected_orders")
        return [payload for payload in payloads if "__type__" in payload]

    eventually(lambda: len(kept()) == 3, "three refused orders")
    target.check_still_works()


class Attack:
    """Pickled, it makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self._path), "w"))


def unpickle_nothing(target: Target, folder: Path) -> None:
    touched = folder / "touched"
    attack = pickle.dumps(((Attack(touched),), {}, {}))
    dropped = target.worker.output.count("message_dropped")
    kinds = ["application/x-python-serialize", "application/x-yaml", "application/x-msgpack", "application/data", ""]
    for kind in kinds:
        target.publish(attack, content_type=kind, headers={"task": TASK, "id": "pickled"})
        # By the older protocol its body is read to learn its name.
        target.publish(attack, content_type=kind)
    target.worker.wait_for("message_dropped", times=dropped + 2 * len(kinds))
    target.check_still_works()
    assert not touched.exists()


def test_nothing_is_unpickled(target: Target, tmp_path: Path) -> None:
    unpickle_nothing(target, tmp_path)


COMMANDS = [b"[]", b"5", b"{}", b'{"method": []}', b'{"method": "no_such"}', b'{"method": "ping", "reply_to": 5}']


def test_remote_control_accepts_json_only_and_survives_what_it_cannot_read(
    target: Target, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    touched = tmp_path / "touched"
    attack = base64.b64encode(pickle.dumps({"method": Attack(touched)})).decode()
    forged: list[bytes] = [
        *NO_ENVELOPES,
        json.dumps({**envelope(attack), "content-type": "application/x-python-serialize"}).encode(),
        *(json.dumps(envelope(base64.b64encode(body).decode())).encode() for body in COMMANDS),
    ]
    with valkey.client() as client:
        for item in forged:
            assert client.publish("/0.celery.pidbox", item) == 1
    target.check_still_works()
    assert not touched.exists()
    with Celery(broker=target.broker, set_as_current=False) as app:
        # Celery reopens the channel after a command that fails, and loses what is sent meanwhile.
        eventually(lambda: app.control.broadcast("ping", reply=True, timeout=1, limit=1), "an answer to a ping")


class BeyondTheCalendar(datetime):
    """A time that AMQP can write and Python cannot read: it used to make the worker reconnect for ever."""

    def utctimetuple(self) -> Any:
        return (1970, 1, 1, 0, 0, 2**60)


@pytest.mark.databases("sqlite")
@pytest.mark.brokers("rabbitmq")
def test_the_same_holds_on_rabbitmq(rabbit_target: Target, tmp_path: Path) -> None:
    rabbit_target.publish(b"[[], {}, {}]", headers={"task": TASK, "id": "x", "when": BeyondTheCalendar(2016, 1, 31)})
    drop_all_that_is_unfit(rabbit_target)
    run_as_what_it_is(rabbit_target)
    unpickle_nothing(rabbit_target, tmp_path)
