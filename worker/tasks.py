"""The tasks, by the names that callers send. Each task calls one operation.

Arguments come from other programs. A task accepts any argument. The operation checks the argument, and keeps refused
input.
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
from worker.process.runtime import current

log = structlog.stdlib.get_logger(__name__)

# This throttle is created before the worker forks, so that all processes of the worker share it.
_HELD_LINES = Throttle(60.0)


class DurableTask(Task):
    """A task whose message is not lost.

    The message is acknowledged after the commit. If the process dies before the acknowledgement, the broker delivers
    the message again. If the task fails, for example because the database is unavailable, full or read-only, the task
    is retried until it succeeds, each time after a wait of at most a minute. A retry is a new message, sent before the
    old one is acknowledged.
    """

    acks_late = True
    reject_on_worker_lost = True
    # Celery has a time limit only if an operator starts the worker with one. A task that exceeds it must not be lost.
    acks_on_timeout = False
    autoretry_for = (Exception,)
    max_retries = None
    retry_backoff = True
    retry_backoff_max = 60
    retry_jitter = True

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        """Send the task's message again: at once if the task needs an order that another session holds locked.

        If the broker does not accept the new message, put the old one back into the queue. Celery itself would drop it.
        """
        error = kwargs.get("exc")
        if isinstance(error, RowsHeld):
            # Send the retry to the end of the queue without a wait: on RabbitMQ 4, a retry that waits in the worker
            # keeps the pool from taking other messages.
            kwargs["countdown"] = 0
            if _HELD_LINES.passes():
                log.warning("a task waits in the queue: another session holds its orders locked", action="orders_held")
        elif error is not None and not is_transient(error):
            # The cause is a defect, which a retry does not fix. But the retry keeps the message, which may be the only
            # record of an order.
            log.error("a task fails, and the database is not the cause", action="task_failed", exc_info=error)
        elif error is not None:
            OUTAGES.explains(error, f"{self.name} is put off")
        try:
            return super().retry(*args, **kwargs)
        except Reject as refused:
            raise Reject(str(refused.reason), requeue=True) from refused


@app.task(name="reconciler.reconcile", ignore_result=True)
def reconcile(*_: object, **__: object) -> None:
    """Request a tick. A message from beat carries no data, so it does no harm if it is lost, doubled or forged."""
    current().ticks.request()


@app.task(name="reconciler.enqueue_orders", base=DurableTask)
def enqueue_orders(*sent: object, **named: object) -> object:
    """Take in a list of 1 to 1000 orders."""
    return current().intake.enqueue_orders(_argument("orders", sent, named))


@app.task(name="reconciler.enqueue_order", base=DurableTask)
def enqueue_order(*sent: object, **named: object) -> object:
    """Take in one order. The answer is the same as for a list of one order."""
    return current().intake.enqueue_orders([_argument("order", sent, named)], source="reconciler.enqueue_order")


@app.task(name="reconciler.record_callbacks", base=DurableTask)
def record_callbacks(*sent: object, **named: object) -> object:
    """Take in a list of the platform's callback bodies, as received."""
    return current().intake.record_callbacks(_argument("callbacks", sent, named))


@app.task(name="reconciler.cancel_orders", base=DurableTask)
def cancel_orders(*sent: object, **named: object) -> object:
    """Stop polling the orders with these references."""
    return current().intake.cancel_orders(_argument("orders", sent, named))


@app.task(name="reconciler.check_orders", base=DurableTask)
def check_orders(*sent: object, **named: object) -> object:
    """Poll the orders with these references next."""
    return current().intake.check_orders(_argument("orders", sent, named))


def _argument(name: str, sent: tuple[object, ...], named: dict[str, object]) -> object:
    """The task's only argument, sent by position or by name; None if the caller sent no argument.

    If the caller sent any other arguments, return all of them in one object. The operation refuses and keeps this
    object.
    """
    if len(sent) == 1 and not named:
        return sent[0]
    if not sent and named.keys() == {name}:
        return named[name]
    if not sent and named.keys() == {UNREAD} and (unread := _unread(named[UNREAD])):
        return unread
    return {"args": list(sent), "kwargs": named} if sent or named else None


def _unread(sent: object) -> Unread | None:
    """The message that was refused unread, from the argument that `worker.broker.task_messages` put in its place.

    None if the argument does not describe such a message.
    """
    fields = sent if isinstance(sent, dict) else {}
    text, errors, size = (fields.get(name) for name in ("text", "errors", "bytes"))
    # A sender may forge this argument. So the errors are compared with our own sentences, and other texts are not
    # taken. The operation refuses a forged argument too.
    possible = (*TOO_LARGE, shortened(size if isinstance(size, int) else 0))
    said = tuple(one for one in possible if isinstance(errors, list) and str(one) in errors)
    return Unread(text=text, errors=said) if isinstance(text, str) and said else None
