"""From the broker to a task: no forged message ends the worker, and no message of a task is lost.

`redis_and_rabbitmq` makes messages of a broker's bytes, within the limits in `sizes`, by means of `library_internals`:
another broker is added there.
`consumer` passes Celery messages that are rebuilt from checked parts (`task_messages`); `remote_control` runs the
harmless commands. `worker.tasks.DurableTask` retries a task whose database is away.
"""
