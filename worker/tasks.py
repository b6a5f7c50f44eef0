"""The tasks, by the names that callers send. Each calls one operation.

Arguments come from other programs: whatever arrives is taken, checked by the operation, and kept where it is refused.
"""

from collections.abc import Sequence

from worker.celery import app
from worker.domain.records.incoming import Unread
from worker.messages.batch_in_pool import Arguments, of_batch
from worker.messages.durable import DurableTask
from worker.messages.sizes import UNREAD
from worker.runtime import current

_MOST_ERRORS = 5
_LONGEST_ERROR = 500


@app.task(name="reconciler.reconcile", ignore_result=True, Strategy="worker.messages.dispatch:going_first")
def reconcile(*_: object, **__: object) -> None:
    """Beat's tick: carries no data, harmless when lost, doubled or forged."""
    current().ticks.tick()


@app.task(name="reconciler.enqueue_orders", base=DurableTask)
def enqueue_orders(*sent: object, **named: object) -> object:
    """Take in a list of 1 to 1000 orders."""
    return current().intake.enqueue_orders(_argument("orders", sent, named), source="reconciler.enqueue_orders")


def _enqueue_together(calls: list[Arguments]) -> Sequence[object]:
    orders = [_argument("order", tuple(sent), named) for sent, named in calls]
    return current().intake.enqueue_singles(orders, source="reconciler.enqueue_order")


@app.task(
    name="reconciler.enqueue_order",
    base=DurableTask,
    Strategy="worker.messages.dispatch:collecting",
    together=staticmethod(_enqueue_together),
)
def enqueue_order(*sent: object, **named: object) -> object:
    """Take in one order; messages that come together share a commit."""
    return of_batch(lambda: _enqueue_together([(list(sent), named)])[0])


@app.task(name="reconciler.record_callbacks", base=DurableTask)
def record_callbacks(*sent: object, **named: object) -> object:
    """Take in a list of the platform's callback bodies, as received."""
    return current().intake.record_callbacks(_argument("callbacks", sent, named), source="reconciler.record_callbacks")


@app.task(name="reconciler.cancel_orders", base=DurableTask)
def cancel_orders(*sent: object, **named: object) -> object:
    """Stop polling orders, named by reference."""
    return current().intake.cancel_orders(_argument("orders", sent, named), source="reconciler.cancel_orders")


@app.task(name="reconciler.check_orders", base=DurableTask)
def check_orders(*sent: object, **named: object) -> object:
    """Poll orders next, named by reference."""
    return current().intake.check_orders(_argument("orders", sent, named), source="reconciler.check_orders")


def _argument(name: str, sent: tuple[object, ...], named: dict[str, object]) -> object:
    """The task's one argument, by place or by name; or, where a caller sent others, all of them: refused and kept."""
    if len(sent) == 1 and not named:
        return sent[0]
    if not sent and named.keys() == {name}:
        return named[name]
    if not sent and named.keys() == {UNREAD} and (unread := _unread(named[UNREAD])):
        return unread
    return {"args": list(sent), "kwargs": named} if sent or named else None


def _unread(sent: object) -> Unread | None:
    """What was refused before it was read (`worker.messages.checking`); None for anything else under that name."""
    fields = sent if isinstance(sent, dict) else {}
    text, errors = fields.get("text"), fields.get("errors")
    if not (isinstance(text, str) and isinstance(errors, list) and errors and all(isinstance(e, str) for e in errors)):
        return None
    # Whoever sends this himself is refused as well, and must not fill the log by it.
    return Unread(text=text, errors=tuple(error[:_LONGEST_ERROR] for error in errors[:_MOST_ERRORS]))
