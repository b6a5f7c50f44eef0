"""The way of a message from the broker to a task. Forged messages do not end the worker; no task's message is lost.

`redis_and_rabbitmq` reads messages from a broker's bytes, within the limits in `sizes`, with the help of
`library_internals`. Support for another broker would be added in `redis_and_rabbitmq`.
`consumer` passes on messages that `task_messages` has rebuilt from checked parts. `remote_control` runs only harmless
commands. `worker.tasks.DurableTask` retries a task while the database is unavailable.
"""
