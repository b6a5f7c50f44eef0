"""The way of a message from the broker to its task: no forged one ends the worker, and none that matters is lost.

`unpacking` makes messages of a broker's bytes, as far as `sizes` lets it, and leans on `library_internals` for that.
`checking` hands Celery messages that are rebuilt from checked parts (`checked_message`). `dispatch` says what the main
process does with them: a tick goes first, single orders are collected, as many as `batch_window` says, and taken in by
one transaction (`batch_in_pool`). `durable` keeps the messages of tasks that could not be done. `commands` is remote
control, as far as it is obeyed.
"""
