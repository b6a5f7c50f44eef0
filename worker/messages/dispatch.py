"""What the worker's main process does with a task's request: a tick goes first, a single order is collected.

Both are put before the pool by Celery's own hook, `Task.Strategy`. Single orders that were collected are handed to the
pool as one job (`_Batch`), as many as a `BatchWindow` says: one commit for all that wait, and yet each message for
itself. In the pool the orders of a batch are taken in by one transaction (`run`). Then Celery runs the task
for each message, as ever, and the task returns what the transaction made of its order. So each caller has an answer of
its own, and each message is acknowledged, retried or rejected by itself, and never before its order is committed.

- Where the database is away, every task of the batch is told so, and is retried. The next batch is of one.
- Where the transaction fails for any other reason, each task takes its order in alone: one bad order stops no other.
- What was tried before (retried or delivered again) comes alone: it may be what the others failed by.
- What waits here is not acknowledged. A worker that stops or dies leaves it to the broker, like all that it held.

The worker asks Redis for as many messages as it has processes (`worker_prefetch_multiplier` is 1), and the window adds
to that. RabbitMQ 4 gives a running consumer no more than it asked for at first, so there it asks for more.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog
from billiard.einfo import ExceptionInfo
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import bootsteps
from celery.exceptions import TaskRevokedError
from celery.worker import strategy

from worker.messages.library_internals import waiting_for_a_process
from worker.messages.single_order_batches import BatchWindow, run

log = structlog.stdlib.get_logger(__name__)

# A single order has some 300 bytes. Whatever is much larger shall not be held in numbers.
_LARGEST_COLLECTED = 16 * 1024


def collecting(task: Any, app: Any, consumer: Any) -> Any:
    """For a task whose messages are collected; `task.together` answers a list of arguments.

    Celery calls it again for each connection to the broker: what was collected from another one comes again.
    """
    return strategy.default(task, app, _Diverted(consumer, _Collector(task.name, consumer).take))


def going_first(task: Any, app: Any, consumer: Any) -> Any:
    """For a task that goes before all others that wait for a process of the pool.

    A flood of orders delays no tick then, however many of them the worker holds.
    """

    def take(request: Any) -> None:
        waiting = waiting_for_a_process(consumer)
        before = len(waiting)
        consumer.on_task_request(request)
        if len(waiting) > before:
            # It was put behind the others.
            waiting.rotate(1)

    return strategy.default(task, app, _Diverted(consumer, take))


class _Diverted:
    """The consumer, as Celery's strategy sees it, but for where the requests go."""

    def __init__(self, consumer: Any, take: Callable[[Any], None]) -> None:
        self._consumer = consumer
        self.on_task_request = take

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


class _Collector:
    """Collects the requests of one task from one connection. All of it runs in the thread of the consumer's loop."""

    def __init__(self, name: str, consumer: Any) -> None:
        self._name = name
        self._consumer = consumer
        self._waiting: deque[Any] = deque()
        # Both are made at the first request: the connection's quality of service is made after the strategies.
        self._window: BatchWindow | None = None
        self._qos: Any = None
        self._room = 0

    def take(self, request: Any) -> None:
        """Take a request to be run: at once, where it is none to be collected or nothing is under way."""
        if not _is_to_be_collected(request):
            self._consumer.on_task_request(request)
            return
        window = self._window = self._window or self._open_window()
        self._waiting.append(request)
        window.arrive()
        self._make_room(window)
        self._hand_over(window)

    def _open_window(self) -> BatchWindow:
        self._qos = self._consumer.qos
        makes_room = self._consumer.qos_global or self._consumer.connection.transport.driver_type == "redis"
        # Without room for more, all processes but one would have nothing to do.
        return BatchWindow(1 if makes_room else int(self._consumer.pool.num_processes))

    def _hand_over(self, window: BatchWindow) -> None:
        while count := window.next_batch():
            requests = [self._waiting.popleft() for _ in range(count)]
            # Like any request: it waits until a process of the pool is free.
            self._consumer.on_task_request(_Batch(self._name, requests, partial(self._ended, window, count)))

    def _ended(self, window: BatchWindow, count: int, succeeded: bool) -> None:
        """Called in whichever thread tells the pool's results."""
        self._consumer.call_soon(self._go_on, window, count, succeeded)

    def _go_on(self, window: BatchWindow, count: int, succeeded: bool) -> None:
        is_running = self._consumer.blueprint.state == bootsteps.RUN
        if not is_running or self._qos is not self._consumer.qos:
            # It stops, or has another connection: what waits here comes again from the broker.
            self._waiting.clear()
            return
        window.end_batch(count, succeeded)
        self._hand_over(window)
        self._make_room(window)

    def _make_room(self, window: BatchWindow) -> None:
        room = window.extra_prefetch
        if room > self._room:
            self._qos.increment_eventually(room - self._room)
        elif room < self._room:
            self._qos.decrement_eventually(self._room - room)
        self._room = room


def _is_to_be_collected(request: Any) -> bool:
    was_tried = request.request_dict["retries"] or request.delivery_info["redelivered"]
    return not was_tried and len(request.body) <= _LARGEST_COLLECTED


class _Batch:
    """Several requests that the pool runs as one job; to Celery's worker it looks like one request."""

    def __init__(self, name: str, requests: Sequence[Any], ended: Callable[[bool], None]) -> None:
        self._name = name
        self._requests = requests
        self._ended = ended

    def execute_using_pool(self, pool: Any, **_: Any) -> Any:
        """Hand it to the pool. Raises TaskRevokedError where no request is left: all were revoked, or came too late."""
        self._requests = [request for request in self._requests if not request.revoked()]
        if not self._requests:
            self._end(True)
            raise TaskRevokedError(self._name)
        calls = [(request.id, request.request_dict) for request in self._requests]
        return pool.apply_async(
            run,
            args=(self._name, calls),
            accept_callback=self._on_accepted,
            timeout_callback=self._on_timeout,
            callback=self._on_success,
            error_callback=self._on_failure,
            correlation_id=self._requests[0].id,
        )

    def _on_accepted(self, pid: int, time_accepted: float) -> None:
        for request in self._requests:
            request.on_accepted(pid, time_accepted)

    def _on_success(self, traced: Any, **_: Any) -> None:
        if isinstance(traced, ExceptionInfo):
            # A pool of threads has no other word for a thread that was ended.
            self._on_failure(traced)
            return
        for request, one in zip(self._requests, traced, strict=True):
            _surviving(request.on_success, one)
        self._end(not any(failed for failed, _, _ in traced))

    def _on_failure(self, error: ExceptionInfo, **options: Any) -> None:
        """The job as a whole failed: its process died, or one of its tasks was terminated. Each message is put back."""
        # Anything else is no verdict on any one of them: to Celery it would be one, and it would acknowledge them all.
        if not isinstance(error.exception, TimeLimitExceeded):
            error = _lost(error.exception)
        for request in self._requests:
            _surviving(request.on_failure, error, **options)
        self._end(True)

    def _on_timeout(self, soft: bool, timeout: float) -> None:
        for request in self._requests:
            _surviving(request.on_timeout, soft, timeout)
        if not soft:
            self._end(True)

    def _end(self, succeeded: bool) -> None:
        """Told once: at a hard time limit the pool says that the job failed, and then that its time is over."""
        ended, self._ended = self._ended, _nothing
        ended(succeeded)


def _nothing(succeeded: bool) -> None:
    pass


def _lost(error: BaseException) -> ExceptionInfo:
    try:
        raise WorkerLostError(f"the batch was lost: {type(error).__name__}")
    except WorkerLostError:
        return ExceptionInfo()


def _surviving(tell: Callable[..., object], *args: Any, **options: Any) -> None:
    """What goes wrong with one request must not keep the others from their ends."""
    try:
        tell(*args, **options)
    except Exception:
        log.exception("the result of a task could not be reported", action="task_result_unreported")
