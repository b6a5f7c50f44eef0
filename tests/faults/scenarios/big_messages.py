"""Faults of single messages: too big, or with an odd envelope."""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.faults.catalogue import fault
from tests.faults.errands import wait_until_taken_in
from tests.faults.testbed import Testbed
from tests.support.memory import peaks, processor_seconds
from tests.support.waiting import eventually

_MOST_WORK = 5.0
"""The most seconds of processor time that a message may cost all processes of a worker: others wait behind it."""
_MARK = "somebody-elses-"
_MOST_GROWTH = 200 * 1024
"""The most KiB that one message may cost a process."""
_LIST_TASKS = ("enqueue_orders", "record_callbacks", "cancel_orders", "check_orders")


@fault(33, "messages that are too big, or odd", times=6, times_in_ci=2, seconds=200)
def fault_33_messages_are_too_big(testbed: Testbed) -> None:
    worker = testbed.start(options=())
    testbed.wait_until_settled(testbed.place(10))
    before = peaks([worker.pid, *worker.children()])
    refused: list[str] = []
    work: dict[str, float] = {}
    messages: list[tuple[str, Callable[[str], None]]] = [
        (
            f"{count:,} items for {task}, {'packed' if packed else 'plain'}",
            partial(_send_items, testbed, task, count, packed),
        )
        for task in _LIST_TASKS
        for count, packed in ((1_001, False), (100_000, testbed.rng.random() < 0.5))
    ]
    messages.append(
        ("8,000,000 items in 21 KB", partial(_send_items, testbed, testbed.rng.choice(_LIST_TASKS), 8_000_000, True))
    )
    testbed.rng.shuffle(messages)
    for number, (name, send) in enumerate(messages):
        mark = f"{_MARK}{number}-{testbed.rng.randrange(10**9)}"
        send(mark)
        refused.append(mark)
        testbed.injected()
        began, worked = time.monotonic(), processor_seconds(before)
        wait_until_taken_in(testbed, name)
        work[name] = processor_seconds(before) - worked
        testbed.observed(
            f"{name}: others were stored after {time.monotonic() - began:.1f} s, {work[name]:.1f} s of work"
        )
    if testbed.broker.valkey is not None:
        _push_odd_envelopes(testbed)
    testbed.sent.refused.update(refused)
    _check_each_is_kept_once(testbed, refused)
    heavy = [name for name, seconds in work.items() if seconds > _MOST_WORK]
    assert not heavy, f"others waited for more than {_MOST_WORK:g} s of work behind {heavy}"
    after = peaks([worker.pid, *worker.children()])
    assert before.keys() == after.keys(), "a process has ended"
    growth = max(after[pid] - before[pid] for pid in before) // 1024
    testbed.observed(f"a process grew by {growth} MiB at most")
    assert growth * 1024 <= _MOST_GROWTH, f"a message cost a process {growth} MiB"
    testbed.heal(bound=testbed.bound(queries=2))


def _send_items(testbed: Testbed, task: str, count: int, packed: bool, mark: str) -> None:
    """A list whose first item names it. Small ones look like orders; the largest are zeros."""
    items: list[Any] = [{"request_id": mark}]
    items += [0] * (count - 1) if count > 10**6 else [{"request_id": f"{mark}-{number}"} for number in range(1, count)]
    testbed.send(f"reconciler.{task}", items, compression="gzip" if packed else None)


def _check_each_is_kept_once(testbed: Testbed, marks: list[str]) -> None:
    def kept() -> dict[str, int]:
        payloads = [row[0] for row in testbed.rows("SELECT payload FROM rejected_orders")]
        return {mark: sum(f'"{mark}"' in payload for payload in payloads) for mark in marks}

    try:
        eventually(
            lambda: min(kept().values()) >= 1, "each list that is too long kept as a refusal", seconds=120, every=0.5
        )
    finally:
        testbed.observed(f"refusals kept, of each list: {sorted(kept().values())}")
    assert max(kept().values()) == 1, "a list was kept as more refusals than one"


def _push_odd_envelopes(testbed: Testbed) -> None:
    """Send envelopes as kombu writes them, but for their delivery tag; other messages are handled within seconds."""
    assert testbed.broker.valkey is not None
    envelope = {
        "body": "W1tdLCB7fSwge31d",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "reconciler.enqueue_order", "id": "odd", "retries": 0},
        "properties": {
            "delivery_mode": 2,
            "delivery_tag": "the tag",
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "reconciler.orders"},
        },
    }
    packed = json.dumps(envelope).encode()
    for tag in (b"\\ud800", b"\xff\xfe\x80", b"\\u0000", b""):
        others = [{"request_id": name} for name in testbed.place(80, enqueue=False)]
        with testbed.broker.valkey.client() as client:
            client.lpush("reconciler.orders", packed.replace(b"the tag", tag))
        for other in others:
            testbed.send("reconciler.enqueue_order", other)
        testbed.injected()
        names = {other["request_id"] for other in others}
        began = time.monotonic()
        testbed.wait_for_rows(sorted(names))
        testbed.sent.orders.update(names)
        testbed.observed(f"a delivery tag of {tag!r}: 80 others were stored after {time.monotonic() - began:.1f} s")
