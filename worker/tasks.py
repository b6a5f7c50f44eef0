"""The tasks, by the names that callers send. Each calls one operation.

Arguments come from other programs: whatever arrives is taken, checked by the operation, and kept where it is refused.
"""

from worker.celery import app
from worker.messages import CheckedTask, DurableTask
from worker.runtime import current


@app.task(name="reconciler.reconcile", base=CheckedTask, ignore_result=True)
def reconcile(*_: object, **__: object) -> None:
    """Beat's tick: carries no data, harmless when lost, doubled or forged."""
    current().ticks.tick()


@app.task(name="reconciler.enqueue_orders", base=DurableTask)
def enqueue_orders(orders: object = None, *more: object, **named: object) -> object:
    """Take in a list of 1 to 1000 orders."""
    return current().intake.enqueue_orders(_sent(orders, more, named), source="reconciler.enqueue_orders")


@app.task(name="reconciler.enqueue_order", base=DurableTask)
def enqueue_order(order: object = None, *more: object, **named: object) -> object:
    """Take in one order."""
    return current().intake.enqueue_orders([_sent(order, more, named)], source="reconciler.enqueue_order")


@app.task(name="reconciler.record_callbacks", base=DurableTask)
def record_callbacks(callbacks: object = None, *more: object, **named: object) -> object:
    """Take in a list of the platform's callback bodies, as received."""
    return current().intake.record_callbacks(_sent(callbacks, more, named), source="reconciler.record_callbacks")


@app.task(name="reconciler.cancel_orders", base=DurableTask)
def cancel_orders(orders: object = None, *more: object, **named: object) -> object:
    """Stop asking about orders, named by reference."""
    return current().intake.cancel_orders(_sent(orders, more, named), source="reconciler.cancel_orders")


@app.task(name="reconciler.check_orders", base=DurableTask)
def check_orders(orders: object = None, *more: object, **named: object) -> object:
    """Ask about orders next, named by reference."""
    return current().intake.check_orders(_sent(orders, more, named), source="reconciler.check_orders")


def _sent(argument: object, more: tuple[object, ...], named: dict[str, object]) -> object:
    """The task's argument; or, where a caller sent others beside it, all of them, so that they are refused and kept."""
    return {"args": [argument, *more], "kwargs": named} if more or named else argument
