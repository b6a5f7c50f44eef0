"""From the broker to a task: no forged message ends the worker, and no message of a task is lost.

`guarded_kombu` makes messages of a broker's bytes, within the limits in `sizes`, by means of `library_internals`.
`checked_celery` passes Celery messages that are rebuilt from checked parts (`checked_message`), and runs the harmless
commands of remote control. `dispatch` decides what the main process does with a message: a tick goes first, single
orders are collected, and one transaction takes them in (`single_order_batches`). `worker.tasks.DurableTask` retries a
task whose database is away.
"""
