"""The tasks, by the names that callers send. Each calls one operation.

Arguments come from other programs: anything is accepted here, checked by the operation, and kept where it is refused.
"""

from typing import Any

import structlog
from celery import Task
from celery.exceptions import Reject

from worker.adapters.clock import Throttle
from worker.broker.sizes import TOO_LARGE, UNREAD, shortened
from worker.celery import app
from worker.database.error_kinds import OUTAGES
from worker.database.transactions import RowsHeld, is_transient
from worker.domain.records.incoming import Unread
from worker.runtime import current

log = structlog.stdlib.get_logger(__name__)

# Made before the worker forks: its processes share it.
_HELD_LINES = Throttle(60.0)


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
        """Send the message again: at once to the end of the queue, if it needs a locked order. Put it back where the
        broker does not take the retry: Celery itself would drop it."""
        error = kwargs.get("exc")
        if isinstance(error, RowsHeld):
            # To the end of the queue: on RabbitMQ 4 a retry that waits would keep the pool from taking other messages.
            kwargs["countdown"] = 0
            if _HELD_LINES.passes():
                log.warning("a task waits in the queue: another session holds its orders locked", action="orders_held")
        elif error is not None and not is_transient(error):
            # A retry does not correct a defect. The message is kept: it may be the only record of an order.
            log.error("a task fails, and the database is not the cause", action="task_failed", exc_info=error)
        elif error is not None:
            OUTAGES.explains(error, f"{self.name} is put off")
        try:
            return super().retry(*args, **kwargs)
        except Reject as refused:
            raise Reject(str(refused.reason), requeue=True) from refused


@app.task(name="reconciler.reconcile", ignore_result=True)
def reconcile(*_: object, **__: object) -> None:
    """Beat's tick: carries no data, harmless when lost, doubled or forged."""
    current().ticks.request()


@app.task(name="reconciler.enqueue_orders", base=DurableTask)
def enqueue_orders(*sent: object, **named: object) -> object:
    """Take in a list of 1 to 1000 orders."""
    return current().intake.enqueue_orders(_argument("orders", sent, named))


@app.task(name="reconciler.enqueue_order", base=DurableTask)
def enqueue_order(*sent: object, **named: object) -> object:
    """Take in one order, answered as a list of one."""
    return current().intake.enqueue_orders([_argument("order", sent, named)], source="reconciler.enqueue_order")


@app.task(name="reconciler.record_callbacks", base=DurableTask)
def record_callbacks(*sent: object, **named: object) -> object:
    """Take in a list of the platform's callback bodies, as received."""
    return current().intake.record_callbacks(_argument("callbacks", sent, named))


@app.task(name="reconciler.cancel_orders", base=DurableTask)
def cancel_orders(*sent: object, **named: object) -> object:
    """Stop polling orders, named by reference."""
    return current().intake.cancel_orders(_argument("orders", sent, named))


@app.task(name="reconciler.check_orders", base=DurableTask)
def check_orders(*sent: object, **named: object) -> object:
    """Poll orders next, named by reference."""
    return current().intake.check_orders(_argument("orders", sent, named))


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
    text, errors, size = (fields.get(name) for name in ("text", "errors", "bytes"))
    # A sender may forge this: it is refused as well, and has no words of its own.
    possible = (*TOO_LARGE, shortened(size if isinstance(size, int) else 0))
    said = tuple(one for one in possible if isinstance(errors, list) and str(one) in errors)
    return Unread(text=text, errors=said) if isinstance(text, str) and said else None
