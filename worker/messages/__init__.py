"""The way of a message from the broker to its task: no forged one ends the worker, and none that matters is lost.

`guarded_kombu` makes messages of a broker's bytes, as far as `sizes` lets it, by way of `library_internals`.
`checked_celery` hands Celery messages that are rebuilt from checked parts (`checked_message`), and obeys remote control
as far as that is harmless. `dispatch` says what the main process does with them: a tick goes first, single orders are
collected, and taken in by one transaction (`single_order_batches`). What a task does whose database is away stands with
the tasks (`worker.tasks.DurableTask`).
"""
