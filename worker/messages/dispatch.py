"""What the worker's main process does with a task's request: a tick goes first, a single order is collected.

Celery's own hook, `Task.Strategy`, calls both before the pool. The pool gets collected orders as one job (`_Batch`), as
many as a `BatchWindow` allows. In the pool one transaction takes in the orders of a batch (`run`). Then Celery runs the
task for each message as usual, and the task returns the transaction's result for its order. So each caller has its own
answer, and each message is acknowledged, retried or rejected by itself, and never before its order is committed.

- Where the database is away, every task of the batch raises that error, and is retried. The next batch is of one.
- Where the transaction fails for any other reason, each task takes its order in alone: one bad order stops no other.
- A message that was tried before (retried or delivered again) is not collected: it may be why a batch failed.
- A collected message is not acknowledged. When the worker stops or dies, the broker delivers it again.

The worker prefetches as many messages from Redis as it has processes (`worker_prefetch_multiplier` is 1), and the
window adds to that. RabbitMQ 4 does not raise the count of a running consumer, so there it is larger from the start.
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

# A single order has some 300 bytes. Much larger messages would fill the memory if they were collected.
_LARGEST_COLLECTED = 16 * 1024


def collecting(task: Any, app: Any, consumer: Any) -> Any:
    """For a task whose messages are collected; `task.together` answers a list of arguments.

    Celery calls it again for each connection to the broker: what another connection collected is delivered again.
    """
    return strategy.default(task, app, _Diverted(consumer, _Collector(task.name, consumer).take))


def going_first(task: Any, app: Any, consumer: Any) -> Any:
    """For a task that goes before all others that wait for a process of the pool.

    So a flood of orders delays no tick.
    """

    def take(request: Any) -> None:
        waiting = waiting_for_a_process(consumer)
        before = len(waiting)
        consumer.on_task_request(request)
        if len(waiting) > before:
            # It was appended behind the others.
            waiting.rotate(1)

    return strategy.default(task, app, _Diverted(consumer, take))


class _Diverted:
    """The consumer as Celery's strategy uses it, with another receiver of the requests."""

    def __init__(self, consumer: Any, take: Callable[[Any], None]) -> None:
        self._consumer = consumer
        self.on_task_request = take

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


class _Collector:
    """Collects the requests of one task from one connection. It runs in the thread of the consumer's loop only."""

    def __init__(self, name: str, consumer: Any) -> None:
        self._name = name
        self._consumer = consumer
        self._waiting: deque[Any] = deque()
        # Both are made at the first request: the connection's quality of service is made after the strategies.
        self._window: BatchWindow | None = None
        self._qos: Any = None
        self._extra_prefetch = 0

    def take(self, request: Any) -> None:
        """Run a request at once, if it is not to be collected or no batch is under way; collect it otherwise."""
        if not _is_to_be_collected(request):
            self._consumer.on_task_request(request)
            return
        window = self._window = self._window or self._open_window()
        self._waiting.append(request)
        window.arrive()
        self._adjust_prefetch(window)
        self._start_batches(window)

    def _open_window(self) -> BatchWindow:
        self._qos = self._consumer.qos
        can_grow = self._consumer.qos_global or self._consumer.connection.transport.driver_type == "redis"
        # Where the prefetch count cannot grow, one batch at a time would leave all processes but one idle.
        return BatchWindow(1 if can_grow else int(self._consumer.pool.num_processes))

    def _start_batches(self, window: BatchWindow) -> None:
        while count := window.next_batch():
            requests = [self._waiting.popleft() for _ in range(count)]
            # Like any request, it waits until a process of the pool is free.
            self._consumer.on_task_request(_Batch(self._name, requests, partial(self._ended, window, count)))

    def _ended(self, window: BatchWindow, count: int, succeeded: bool) -> None:
        """Called in the thread that reports the pool's results."""
        self._consumer.call_soon(self._go_on, window, count, succeeded)

    def _go_on(self, window: BatchWindow, count: int, succeeded: bool) -> None:
        is_running = self._consumer.blueprint.state == bootsteps.RUN
        if not is_running or self._qos is not self._consumer.qos:
            # It stops, or has another connection: the broker delivers what waits here again.
            self._waiting.clear()
            return
        window.end_batch(count, succeeded)
        self._start_batches(window)
        self._adjust_prefetch(window)

    def _adjust_prefetch(self, window: BatchWindow) -> None:
        extra = window.extra_prefetch
        if extra > self._extra_prefetch:
            self._qos.increment_eventually(extra - self._extra_prefetch)
        elif extra < self._extra_prefetch:
            self._qos.decrement_eventually(self._extra_prefetch - extra)
        self._extra_prefetch = extra


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
        """Give it to the pool. Raises TaskRevokedError where no request is left: all were revoked or have expired."""
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
            # A pool of threads reports a thread that was ended like this.
            self._on_failure(traced)
            return
        for request, one in zip(self._requests, traced, strict=True):
            _surviving(request.on_success, one)
        self._end(not any(failed for failed, _, _ in traced))

    def _on_failure(self, error: ExceptionInfo, **options: Any) -> None:
        """The job as a whole failed: its process died, or one of its tasks was terminated. Each message is put back."""
        # No other error says which task failed: Celery would take it as the failure of each, and acknowledge them all.
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
        """Report the end once: at a hard time limit the pool calls both `_on_failure` and `_on_timeout`."""
        ended, self._ended = self._ended, _nothing
        ended(succeeded)


def _nothing(succeeded: bool) -> None:
    pass


def _lost(error: BaseException) -> ExceptionInfo:
    try:
        raise WorkerLostError(f"the batch was lost: {type(error).__name__}")
    except WorkerLostError:
        return ExceptionInfo()


def _surviving(report: Callable[..., object], *args: Any, **options: Any) -> None:
    """Report a result to one request. An error with one must not keep the others from their results."""
    try:
        report(*args, **options)
    except Exception:
        log.exception("the result of a task could not be reported", action="task_result_unreported")
