"""The tasks, by the names that callers send. Each calls one operation.

Arguments come from other programs: anything is accepted here, checked by the operation, and kept where it is refused.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from celery import Task
from celery.exceptions import Reject

from worker.broker.sizes import UNREAD
from worker.celery import app
from worker.celery_settings import LATER_QUEUE
from worker.database.error_kinds import OUTAGES
from worker.database.transactions import HeldOrders, is_transient
from worker.domain.records.incoming import Unread
from worker.put_off import Answer, Patience
from worker.runtime import current

log = structlog.stdlib.get_logger(__name__)

_MOST_ERRORS = 5
_LONGEST_ERROR = 500
_FIRST_WAIT_SECONDS = 2.0

_patience = Patience()


class DurableTask(Task):
    """A task whose message is not lost: acknowledged after the commit, delivered again when the process dies.

    Retried without end, at most a minute apart, while the database is away, full, read-only or cannot be used for
    another reason. A retry is a new message, sent before the old one is acknowledged.
    """

    acks_late = True
    reject_on_worker_lost = True
    # An operator may start the worker with a time limit.
    acks_on_timeout = False
    autoretry_for = (Exception,)
    max_retries = None
    retry_backoff = True
    retry_backoff_max = 60
    retry_jitter = True

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        """Put the message back where the broker does not take the retry: Celery itself would drop it."""
        error = kwargs.get("exc")
        if isinstance(error, HeldOrders):
            # Not in the orders' queue: on RabbitMQ 4 a few retries that wait keep it from being taken in.
            kwargs["queue"] = LATER_QUEUE
            _log_put_off(self.name)
        elif error is not None and not is_transient(error):
            # A retry does not correct a defect. The message is kept: it may be the only record of an order.
            log.error("a task fails, and the database is not the cause", action="task_failed", exc_info=error)
        elif error is not None:
            OUTAGES.explains(error, f"{self.name} is put off")
        try:
            return super().retry(*args, **kwargs)
        except Reject as refused:
            raise Reject(str(refused.reason), requeue=True) from refused

    def take_in(self, take: Callable[[object], Answer], items: object) -> Answer:
        """Take in a list, and answer. Items whose orders somebody else holds locked become a message of their own; if
        all are, the message itself is tried again later."""
        answer, put_off = _patience.take_in(take, items)
        if not put_off:
            return answer
        # As a retry: other messages may not wait. It is sent before the old message is acknowledged.
        waits: dict[str, Any] = {"retries": 1, "countdown": _FIRST_WAIT_SECONDS, "queue": LATER_QUEUE}
        self.apply_async([put_off], ignore_result=True, **waits)
        _log_put_off(self.name, items=len(put_off))
        return {**answer, "put_off": len(put_off)}


def _log_put_off(task: str, **counts: int) -> None:
    log.info(
        "another session holds orders locked: they are tried again later", action="orders_held", task=task, **counts
    )


@app.task(name="reconciler.reconcile", ignore_result=True)
def reconcile(*_: object, **__: object) -> None:
    """Beat's tick: carries no data, harmless when lost, doubled or forged."""
    current().ticks.request()


@app.task(name="reconciler.enqueue_orders", base=DurableTask, bind=True)
def enqueue_orders(task: DurableTask, /, *sent: object, **named: object) -> object:
    """Take in a list of 1 to 1000 orders."""
    return task.take_in(current().intake.enqueue_orders, _argument("orders", sent, named))


@app.task(name="reconciler.enqueue_order", base=DurableTask, bind=True)
def enqueue_order(task: DurableTask, /, *sent: object, **named: object) -> object:
    """Take in one order, answered as a list of one."""
    take = partial(current().intake.enqueue_orders, source=task.name)
    return task.take_in(take, [_argument("order", sent, named)])


@app.task(name="reconciler.record_callbacks", base=DurableTask, bind=True)
def record_callbacks(task: DurableTask, /, *sent: object, **named: object) -> object:
    """Take in a list of the platform's callback bodies, as received."""
    return task.take_in(current().intake.record_callbacks, _argument("callbacks", sent, named))


@app.task(name="reconciler.cancel_orders", base=DurableTask, bind=True)
def cancel_orders(task: DurableTask, /, *sent: object, **named: object) -> object:
    """Stop polling orders, named by reference."""
    return task.take_in(current().intake.cancel_orders, _argument("orders", sent, named))


@app.task(name="reconciler.check_orders", base=DurableTask, bind=True)
def check_orders(task: DurableTask, /, *sent: object, **named: object) -> object:
    """Poll orders next, named by reference."""
    return task.take_in(current().intake.check_orders, _argument("orders", sent, named))


def _argument(name: str, sent: tuple[object, ...], named: dict[str, object]) -> object:
    """The task's one argument, by position or by name; where a caller sent others, all of them: refused and kept."""
    if len(sent) == 1 and not named:
        return sent[0]
    if not sent and named.keys() == {name}:
        return named[name]
    if not sent and named.keys() == {UNREAD} and (unread := _unread(named[UNREAD])):
        return unread
    return {"args": list(sent), "kwargs": named} if sent or named else None


def _unread(sent: object) -> Unread | None:
    """A message that was refused unread (`worker.broker.task_messages`); None for another argument of that name."""
    fields = sent if isinstance(sent, dict) else {}
    text, errors = fields.get("text"), fields.get("errors")
    if not (isinstance(text, str) and isinstance(errors, list) and errors and all(isinstance(e, str) for e in errors)):
        return None
    # A sender may forge this: it is refused as well, and must not fill the log.
    return Unread(text=text, errors=tuple(error[:_LONGEST_ERROR] for error in errors[:_MOST_ERRORS]))
