"""The limits of one message: what is refused before it is read, what is kept of it, and the memory that it takes."""

import base64
import bz2
import json
import lzma
import zlib
from collections.abc import Callable, Mapping

import pytest
from celery import Celery
from kombu import Connection

from tests.support.forging import ORDERS, TASK, Target, envelope, restore_visible
from tests.support.memory import forget_peak, memory_of
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually
from worker.broker.redis_and_rabbitmq import GuardedRedisTransport, guard_kombu

pytestmark = pytest.mark.slow

guard_kombu()

LISTS = "reconciler.enqueue_orders"
LIST_TASKS = {
    LISTS: "orders",
    "reconciler.record_callbacks": "callbacks",
    "reconciler.cancel_orders": "orders",
    "reconciler.check_orders": "orders",
}
MEGABYTE = 1_000_000
MOST_GROWTH = 200 * MEGABYTE
EIGHT_MILLION = b"[[[" + b"1," * 8_000_000 + b"1]], {}, {}]"


def last_kept(target: Target, *, after: int) -> list[tuple[str, str, str]]:
    """Source, payload and errors of the refusals after the first `after` rows, once there are any."""
    eventually(lambda: target.rejections() > after, "a refusal")
    kept = target.rows("SELECT source, payload, errors FROM rejected_orders ORDER BY id")[after:]
    return [(str(source), str(payload), str(errors)) for source, payload, errors in kept]


@pytest.mark.parametrize("task", LIST_TASKS)
def test_a_list_that_is_too_long_is_one_refusal(target: Target, task: str) -> None:
    items = [{"request_id": f"too-many-{number}"} for number in range(1001)]
    before = target.rejections()
    with Celery(broker=target.broker, backend=target.broker, set_as_current=False) as app:
        answer = app.send_task(task, [items], queue=ORDERS).get(timeout=60)
    error = f"{LIST_TASKS[task]}: the list has 1001 items; accepted: 1 to 1000, send more in parts"
    assert answer["rejected"] == [{"index": None, "errors": [error]}]
    ((source, payload, errors),) = last_kept(target, after=before)
    assert (source, json.loads(payload), errors) == (task, items, error)
    assert target.worker.output.count("list_refused") > 0


def test_a_list_of_more_than_a_million_characters_is_kept_shortened(target: Target) -> None:
    items = [{"request_id": f"long-{number}", "remark": "查无此订单" * 120 + "x" * 500} for number in range(1001)]
    before = target.rejections()
    with Celery(broker=target.broker, set_as_current=False) as app:
        app.send_task(LISTS, [items], queue=ORDERS)
    ((_, payload, errors),) = last_kept(target, after=before)
    whole = json.dumps(items, ensure_ascii=False)
    assert payload == whole[:MEGABYTE]
    assert errors.splitlines() == [
        "orders: the list has 1001 items; accepted: 1 to 1000, send more in parts",
        f"payload: shortened; kept are the first 1000000 of {len(whole)} characters",
    ]


@pytest.mark.parametrize("task", [*LIST_TASKS, TASK])
def test_a_message_of_too_many_values_is_refused_unread_and_kept(target: Target, task: str) -> None:
    keep_what_is_refused_unread(target, task)


def keep_what_is_refused_unread(target: Target, task: str) -> None:
    body = json.dumps([[[1] * 100_001], {}, {}]).encode()
    before, logged = target.rejections(), target.worker.output.count("message_refused")
    target.publish(body, headers={"task": task, "id": "many"})
    ((source, payload, errors),) = last_kept(target, after=before)
    assert (source, payload) == (task, body.decode())
    assert errors == (
        "message: its body holds more than 100000 JSON values; accepted: a list of 1 to 1000, send more in parts"
    )
    assert target.worker.output.count("message_refused") == logged + 1
    target.check_still_works()


def test_a_message_of_too_many_bytes_is_refused_unread_and_its_start_is_kept(target: Target) -> None:
    body = b'[[["' + b"x" * 9_000_000 + b'"]], {}, {}]'
    before = target.rejections()
    target.publish(body, headers={"task": LISTS, "id": "long"})
    ((_, payload, errors),) = last_kept(target, after=before)
    assert payload == body[:MEGABYTE].decode()
    first, second = errors.splitlines()
    assert "longer than 4194304 bytes" in first
    assert second == f"payload: shortened; kept are the first 1000000 characters of {len(body)} or more bytes"
    target.check_still_works()


def test_brackets_and_commas_inside_a_text_do_not_count_as_values(target: Target) -> None:
    full = {"request_id": "full-1", "remark": ',:[{"\\' * 40_000}
    before = target.rejections()
    target.publish(json.dumps([[[full]], {}, {}]).encode(), headers={"task": LISTS, "id": "texts"})
    ((_, payload, errors),) = last_kept(target, after=before)
    assert json.loads(payload) == full
    assert "remark" in errors


def test_a_full_list_is_far_from_the_limit(target: Target) -> None:
    orders = [
        {
            "request_id": f"whole-{number}",
            "custom_parm": f"c-{number}",
            "mobile": "18812340804",
            "account": "default",
            "submitted_at": "2026-01-31T18:05:00+08:00",
            "expected_amount": "2.94",
        }
        for number in range(1000)
    ]
    with Celery(broker=target.broker, backend=target.broker, set_as_current=False) as app:
        answer = app.send_task(LISTS, [orders], queue=ORDERS).get(timeout=60)
    assert answer == {"accepted": 1000, "duplicates": 0, "rejected": []}


OUT_OF_BOUNDS = {
    "Oversized": json.dumps({**envelope(), "headers": {str(number): 1 for number in range(50_001)}}).encode(),
    "ReplyTooLong": b"x" * (12 * 1024 * 1024 + 1),
}


@pytest.mark.parametrize("reason", OUT_OF_BOUNDS)
def test_what_redis_holds_beyond_the_bounds_is_not_read(target: Target, valkey: EmbeddedValkey, reason: str) -> None:
    # Both bounds depend on internals of kombu and redis-py: this fails when these have moved.
    with valkey.client() as client:
        logged = target.worker.output.count(f"error={reason}")
        client.lpush(ORDERS, OUT_OF_BOUNDS[reason])
        target.worker.wait_for(f"error={reason}", times=logged + 1)
        # kombu itself logs what it finds wrong with a broadcast.
        logged = target.worker.output.count(reason)
        client.publish("/0.celery.pidbox", OUT_OF_BOUNDS[reason])
        target.worker.wait_for(reason, times=logged + 1)
    target.check_still_works()
    with Celery(broker=target.broker, set_as_current=False) as app:
        eventually(lambda: app.control.broadcast("ping", reply=True, timeout=1, limit=1), "an answer to a ping")


@pytest.mark.parametrize("reason", OUT_OF_BOUNDS)
def test_an_unacknowledged_entry_beyond_the_bounds_keeps_no_other_from_being_redelivered(
    valkey: EmbeddedValkey, reason: str
) -> None:
    queue = f"returned-{reason}"
    with valkey.client() as client, Connection(valkey.url, transport=GuardedRedisTransport) as connection:
        client.hset("unacked", "large", b"[" + OUT_OF_BOUNDS[reason] + b', "", "x"]')
        client.hset("unacked", "good", json.dumps([envelope(), "", queue]))
        client.zadd("unacked_index", {"large": 2.0, "good": 1.0})
        restore_visible(client, connection)
        assert client.llen(queue) == 1


@pytest.mark.databases("sqlite")
@pytest.mark.brokers("rabbitmq")
def test_the_same_holds_on_rabbitmq(rabbit_target: Target) -> None:
    keep_what_is_refused_unread(rabbit_target, LISTS)
    rabbit_target.publish(zlib.compress(EIGHT_MILLION), headers={"task": LISTS, "id": "bomb", "compression": "gzip"})
    eventually(lambda: rabbit_target.rejections() == 2, "the second refusal")
    rabbit_target.check_still_works()


# ------------------------------------------------------------------------------------------------------------- memory


def wrapped(body: bytes, *, task: str = LISTS, packer: Callable[[bytes], bytes] | None = None) -> bytes:
    """A message as Redis holds it."""
    headers = {"task": task, "id": "large"}
    if packer is not None:
        body, headers = packer(body), {**headers, "compression": COMPRESSIONS[packer]}
    return json.dumps(envelope(base64.b64encode(body).decode(), headers=headers)).encode()


def written(body: str) -> bytes:
    """A message whose body is plain text beyond ASCII, not base64."""
    return json.dumps(
        envelope(body, headers={"task": LISTS, "id": "text"}, body_encoding=None), ensure_ascii=False
    ).encode()


def best_xz(body: bytes) -> bytes:
    return lzma.compress(body, preset=9)


COMPRESSIONS: dict[Callable[[bytes], bytes], str] = {
    zlib.compress: "gzip",
    bz2.compress: "bzip2",
    best_xz: "lzma",
}
ORDERS_OF_4_KB = [{"request_id": f"p-{number}", "remark": "x" * 4000} for number in range(1000)]
MANY_KEYS = {f"key-{number}": number for number in range(49_000)}
LARGEST_TEXT = "x" * 4_100_000
EMOJI_AND_TEXT = "\U0001f600" + LARGEST_TEXT
LARGE: dict[str, Callable[[], bytes]] = {
    "8 million items in gzip": lambda: wrapped(EIGHT_MILLION, packer=zlib.compress),
    "nothing, in bzip2": lambda: wrapped(b"[[" + b" " * 50_000_000 + b"]]", packer=bz2.compress),
    "nothing, in the best xz": lambda: wrapped(b"[[" + b" " * 50_000_000 + b"]]", packer=best_xz),
    "nesting of objects": lambda: wrapped(b'{"a":' * 830_000),
    "nesting under the limit": lambda: wrapped(b"[[" + b"[" * 40_000 + b"]" * 40_000 + b"], {}, {}]"),
    "one text with an emoji": lambda: wrapped(
        json.dumps([[LARGEST_TEXT + "\U0001f600"], {}, {}], ensure_ascii=False).encode()
    ),
    "one text of escapes": lambda: wrapped(b'[["' + b"\\u67e5" * 690_000 + b'"], {}, {}]'),
    "1,000 orders of 4 KB": lambda: wrapped(json.dumps([[ORDERS_OF_4_KB], {}, {}]).encode()),
    "many keys of one order": lambda: wrapped(json.dumps([[[MANY_KEYS]], {}, {}]).encode()),
    "many small lists": lambda: wrapped(b"[[[" + b"[]," * 49_000 + b"[]]], {}, {}]"),
    "strings without end": lambda: wrapped(b'"' * 4_190_000),
    "a body that is no base64": lambda: written(json.dumps([[EMOJI_AND_TEXT], {}, {}], ensure_ascii=False)[:4_190_000]),
    "a body of 9 MB, of emoji": lambda: wrapped(json.dumps(["\U0001f600" * 2_300_000], ensure_ascii=False).encode()),
    "many headers": lambda: json.dumps({**envelope(), "headers": {str(n): n for n in range(300_000)}}).encode(),
    "a longer header": lambda: json.dumps(
        envelope(headers={"task": LISTS, "id": "x", "argsrepr": EMOJI_AND_TEXT + "x" * 8_400_000})
    ).encode(),
    "300 MB of garbage": lambda: b"x" * 300_000_000,
}


@pytest.fixture(scope="module")
def at_start(target: Target) -> Mapping[int, int]:
    """The memory of each process of the worker once it has accepted a few orders: the main process first."""
    target.check_still_works()
    return {process: memory_of(process)["VmRSS"] for process in (target.worker.pid, *target.worker.children())}


@pytest.mark.parametrize("name", LARGE)
def test_no_message_lets_a_process_grow_by_more_than_200_megabytes(
    target: Target, valkey: EmbeddedValkey, at_start: Mapping[int, int], name: str
) -> None:
    item = LARGE[name]()
    processes = list(at_start)
    for process in processes:
        forget_peak(process)
    with valkey.client() as client:
        client.lpush(ORDERS, item)
        eventually(
            lambda: client.llen(ORDERS) + client.hlen("unacked") + client.zcard("unacked_index") == 0,
            "the end of the message",
            seconds=60,
        )
    target.check_still_works()
    # No process has died and been started again.
    assert [target.worker.pid, *target.worker.children()] == processes
    grown = [memory_of(process)["VmHWM"] - at_start[process] for process in processes]
    print(f"\ngrowth in MB, {name}: {[round(one / MEGABYTE) for one in grown]}")
    assert max(grown) < MOST_GROWTH
