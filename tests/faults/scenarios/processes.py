"""Faults of the processes: killed in a pass or in a task, doubled, flooded."""

import json
import os
import signal
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from kombu import Connection

from tests.faults.catalogue import SERVERS, fault
from tests.faults.errands import CallingBack, Cancelling, Enqueueing, Errand
from tests.faults.points import Point, Strike
from tests.faults.testbed import VISIBILITY_SECONDS, Scale, Testbed
from tests.support.processes import Program
from tests.support.waiting import eventually

_POINTS = (
    Point.GRANT_BEFORE_COMMIT,
    Point.GRANT_AFTER_COMMIT,
    Point.WRITE_BACK_BEGINS,
    Point.WRITE_BACK_BEFORE_COMMIT,
    Point.WRITE_BACK_AFTER_COMMIT,
)
_HEAD_BYTES = 200
"""Less than a request's head: what follows stays with the sender."""
_TICK = "reconciler.reconcile"
_TICKS_QUEUE = "reconciler.ticks"
_LAST_WORD = "the last of all"
_THE_LAST = ({"task": _LAST_WORD, "id": "last"}, b"[[], {}, {}]")
"""An unknown task: it is dropped with a line in the log, which shows its headers."""


@fault(1, "kill -9 of the task's process at every point of a pass, and in mid-send")
def fault_01_the_tasks_process_is_killed_at_every_point(testbed: Testbed) -> None:
    worker = testbed.start()
    points: list[Point | None] = [*_POINTS, None]
    testbed.rng.shuffle(points)
    for point in points:
        if point is None:
            testbed.platform_proxy.hold_after(_HEAD_BYTES)
            testbed.place(10)
            assert testbed.platform_proxy.wait_until_holding(90), "no query was held in mid-send"
            testbed.kill_children(worker)
            testbed.platform_proxy.cut()
        else:
            testbed.points.arm(point, Strike.KILL)
            testbed.place(10)
            testbed.wait_until_struck(point)
        testbed.injected()
        testbed.rest(1.0)


@fault(2, "kill -9 of the worker's parent, in a loop")
def fault_02_the_workers_parent_is_killed_in_a_loop(testbed: Testbed) -> None:
    worker = testbed.start()
    for _ in range(3):
        testbed.place(20)
        testbed.rest(testbed.scale.reservation)
        testbed.place(10, wait=False)
        testbed.rest(0.3)
        orphans = worker.children()
        assert orphans, "the worker has no children to be orphaned"
        _kill(worker)
        testbed.injected()
        killed_at = time.monotonic()
        testbed.forget_what_the_broker_lost()
        # It starts while the orphans still run, until their passes end.
        worker = testbed.worker()
        # A reservation for their write-backs, and what a busy machine needs.
        eventually(lambda those=orphans: not _alive(those), "the end of the orphans", seconds=40)  # type: ignore[misc]  # mypy sees no default
        testbed.observed(
            f"the orphans were gone {time.monotonic() - killed_at:.1f} s after their parent, at the latest"
        )
    testbed.heal(bound=testbed.bound(queries=3, extra=VISIBILITY_SECONDS))


@fault(3, "kill -9 of beat; then two beats at once, and a plain loop beside them")
def fault_03_beat_is_killed_and_doubled(testbed: Testbed) -> None:
    testbed.worker()
    beat = testbed.beat()
    testbed.place(10)
    testbed.wait_for_arrivals()
    testbed.rest(testbed.scale.window)
    _kill(beat)
    testbed.injected()
    died_at = time.monotonic()
    seen = len(testbed.arrivals())
    testbed.place(10)
    testbed.wait_for_arrivals(since=seen, seconds=testbed.bound())
    testbed.observed(f"queried without any beat {time.monotonic() - died_at:.1f} s after it was killed")
    beats = [testbed.beat("beat-1"), testbed.beat("beat-2")]
    for beat in beats:
        beat.wait_for("is starting")
    loop = testbed.loop()
    with _messages_beside(testbed) as sent:
        testbed.injected()
        names = testbed.place(350)
        testbed.rest(3 * testbed.scale.window)
        _kill(testbed.rng.choice(beats))
        testbed.injected()
        testbed.wait_until_settled(names)
    _kill(loop)
    testbed.observed(f"{len(sent)} ticks beside those of two beats and a loop")


@fault(4, "1,000 doubled and forged ticks; ticks with junk arguments", scale=Scale(slots=2, deadline=2.0))
def fault_04_ticks_are_doubled_and_forged(testbed: Testbed) -> None:
    worker = testbed.worker()
    parent_and_children = [worker.pid, *worker.children()]
    names = testbed.place(250)
    for _ in range(500):
        # A message that a broker delivers twice, or that was copied.
        name = str(uuid.uuid4())
        testbed.send(_TICK, task_id=name)
        testbed.send(_TICK, task_id=name)
    testbed.injected()
    testbed.wait_until_settled(names)
    names = testbed.place(150)
    with Connection(testbed.broker.direct_url) as connection, connection.Producer() as producer:
        for headers, body in [*testbed.rng.sample(_junk(), k=len(_junk())), _THE_LAST]:
            producer.publish(
                body,
                exchange="",
                routing_key=_TICKS_QUEUE,
                headers=headers,
                content_type="application/json",
                content_encoding="utf-8",
            )
    testbed.injected()
    testbed.wait_until_settled(names)
    # The queue is read in order: after this message, all were received.
    worker.wait_for(_LAST_WORD, seconds=120)
    testbed.wait_until_settled(testbed.place(10))
    assert [worker.pid, *worker.children()] == parent_and_children, "a process was lost"
    assert _alive(parent_and_children) == parent_and_children, "a process has died"
    assert "Traceback" not in worker.output, worker.output


def _kill(program: Program) -> None:
    """Kill -9 of this process alone: its children stay. It has lived until then."""
    program.send_signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL, f"it had ended by itself\n{program.output}"


def _alive(processes: Sequence[int]) -> list[int]:
    return [process for process in processes if os.path.exists(f"/proc/{process}")]


@contextmanager
def _messages_beside(testbed: Testbed) -> Iterator[list[str]]:
    """A loop that sends a tick every 100 ms; yields what it has sent so far."""
    sent: list[str] = []
    enough = Event()

    def send() -> None:
        while not enough.wait(0.1):
            name = str(uuid.uuid4())
            testbed.send(_TICK, task_id=name)
            sent.append(name)

    sender = Thread(target=send, name="plain-loop")
    sender.start()
    try:
        yield sent
    finally:
        enough.set()
        sender.join()
    assert sent, "the loop could send nothing"


def _junk() -> list[tuple[dict[str, Any], bytes]]:
    """Headers and bodies of forged ticks, by either of Celery's protocols."""
    tick = {"task": _TICK, "id": "forged"}
    plain = b"[[], {}, {}]"
    arguments: list[list[object]] = [
        [[None] * 1000, {}, {}],
        [["x" * 100_000], {"self": 1, "orders": [[[]]]}, {}],
        [[{"request_id": "1"}], {"": None, "\x00": "\x1b[2J"}, {}],
        [[], {"queue": "celery", "countdown": -1}, {"callbacks": [tick], "chord": tick}],
    ]
    wrong_arguments = [b"[5, {}, {}]", b"[[], 5, {}]", b"[]", b"{}", b"null", b"5", b"\xff\xfe", b"[" * 100_000]
    times: list[object] = ["junk", 5, [], {"at": 1}, "9999-12-31"]
    headers: list[dict[str, Any]] = [
        {},
        {"task": _TICK},
        {**tick, "id": ["forged"]},
        {**tick, "retries": "many"},
        *({**tick, name: value} for name in ("eta", "expires") for value in times),
        {**tick, "eta": "2999-01-01T00:00:00+00:00"},
        {**tick, "expires": "1999-01-01T00:00:00+00:00"},
        {**tick, "timelimit": [0.001, 0.001]},
        {**tick, "group": "g", "root_id": [1], "argsrepr": 5, "lang": "cobol", "shadow": {}},
        {**tick, "compression": "none such"},
    ]
    return [
        *((tick, json.dumps(one).encode()) for one in arguments),
        *((tick, body) for body in wrong_arguments),
        *((one, plain) for one in headers),
        *[(tick, plain)] * 20,
    ]


_POINTS_OF_INTAKE = (Point.INTAKE_BEFORE_COMMIT, Point.INTAKE_AFTER_COMMIT)


@fault(22, "the database killed, then the worker killed, during enqueue, callback and cancel tasks", databases=SERVERS)
def fault_22_the_database_and_the_worker_are_killed_during_intake(testbed: Testbed) -> None:
    # One process: what is sent after the errand in which it is struck waits.
    worker = testbed.start(processes=1)
    for struck in testbed.rng.sample(range(3), 2):
        calling_back = CallingBack(testbed)
        errands: list[Errand] = [Enqueueing(testbed), calling_back, Cancelling(testbed)]
        errands.insert(0, errands.pop(struck))
        worker = _kill_during(testbed, worker, errands)
        testbed.enqueue(calling_back.names)
        testbed.wait_until_settled(calling_back.names)


def _kill_during(testbed: Testbed, worker: Program, errands: Sequence[Errand]) -> Program:
    """Kill database and worker during the first errand, while the others wait behind it; returns the next worker."""
    point = testbed.rng.choice(_POINTS_OF_INTAKE)
    testbed.points.arm(point, Strike.WAIT)
    first, *others = errands
    first.send()
    testbed.wait_until_struck(point)
    for errand in others:
        errand.send()
    testbed.rest(0.5)
    testbed.database.kill()
    if testbed.rng.random() < 0.5:
        # The task finds its database gone, and retries.
        testbed.points.let_go(point)
    testbed.rest(2.0)
    worker.kill()
    testbed.forget_what_the_broker_lost()
    testbed.points.disarm()
    testbed.injected()
    testbed.rest(1.0)
    testbed.database.start()
    worker = testbed.worker(processes=1)
    for errand in errands:
        eventually(errand.is_applied, f"{type(errand).__name__} applied")
    return worker
