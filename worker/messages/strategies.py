"""What the worker's main process does with a message that was checked: Celery's hook `Task.Strategy`."""

from collections.abc import Callable
from typing import Any

from celery.worker import strategy

from worker.messages.batching import Collector
from worker.messages.library_internals import waiting_for_a_process


def collecting(task: Any, app: Any, consumer: Any) -> Any:
    """For a task whose messages are collected; `task.together` answers a list of arguments.

    Celery calls it anew for each connection to the broker: what was collected from another one comes again.
    """
    return strategy.default(task, app, _Diverted(consumer, Collector(task.name, consumer).take))


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
