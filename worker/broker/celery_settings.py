"""Celery's configuration, with the reason for each setting."""

from collections.abc import Mapping
from typing import Any

from kombu import Exchange, Queue

from worker.adapters.certificates import certified
from worker.settings import Settings

TICKS_QUEUE = "reconciler.ticks"
ORDERS_QUEUE = "reconciler.orders"


def _queue(name: str) -> Queue:
    # Each queue has its own exchange. Otherwise Celery would bind the queue of the ticks to the exchange of the orders,
    # with the routing key of the orders.
    return Queue(name, Exchange(name), routing_key=name)


_FIXED: Mapping[str, Any] = {
    # Send and accept only JSON, also for answers and remote control. So no message is ever unpickled.
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "task_serializer": "json",
    "result_serializer": "json",
    "event_serializer": "json",
    # This consumer checks messages before Celery reads them, because a forged message could end Celery.
    "worker_consumer": "worker.broker.consumer:CheckedConsumer",
    # Ticks have their own queue, so that a flood of orders does not delay queries. Celery's default queue is not
    # consumed: on a shared broker it may hold other programs' tasks.
    "task_queues": [_queue(TICKS_QUEUE), _queue(ORDERS_QUEUE)],
    "task_default_queue": ORDERS_QUEUE,
    "task_create_missing_queues": False,
    "task_routes": {"reconciler.reconcile": {"queue": TICKS_QUEUE}, "reconciler.*": {"queue": ORDERS_QUEUE}},
    # Prefetch one message for each pool process, since other workers cannot take prefetched messages. On RabbitMQ 4,
    # retries that wait count as prefetched. If as many retries wait as there are pool processes, the worker takes no
    # messages for up to a minute.
    "worker_prefetch_multiplier": 1,
    # On brokers other than RabbitMQ 4, Celery raises the prefetch count by one for each retry that waits. After a lost
    # connection, this setting would make Celery lower the count although these retries still wait.
    "worker_enable_prefetch_count_reduction": False,
    # Seconds. When a pool process has died, Celery starts another, and by default kills it if it is not ready within
    # 4 s. On a busy host Celery would kill every such process.
    "worker_proc_alive_timeout": 60.0,
    # The worker waits indefinitely for an unavailable broker, at start and later.
    "broker_connection_retry_on_startup": True,
    "broker_connection_retry": True,
    "broker_connection_max_retries": None,
    # Retry after an error of a single channel too, such as a full Redis or a key of the wrong type. Otherwise such an
    # error would end the worker.
    "broker_channel_error_retry": True,
    "broker_connection_timeout": 5,
    # Seconds between heartbeats, for RabbitMQ. A half-open connection is noticed within two heartbeats.
    "broker_heartbeat": 10,
    # Use no exclusive queues. RabbitMQ notices a dead connection later than the worker does, and until then it keeps
    # the exclusive queues of this connection locked. So a worker that connects again could not use them, and would end.
    # The queues are durable, because future versions of RabbitMQ will refuse queues that are neither exclusive nor
    # durable. The queues expire by themselves.
    "control_queue_exclusive": False,
    "control_queue_durable": True,
    "event_queue_exclusive": False,
    "event_queue_durable": True,
    "redis_socket_timeout": 10,
    "redis_socket_connect_timeout": 5,
    "redis_socket_keepalive": True,
    "redis_backend_health_check_interval": 10,
    # If the broker is lost during a task, the task runs to its end: killing its process would also kill the passes in
    # that process. The broker may deliver the message again, which is harmless.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    # This scheduler keeps beat's schedule in memory. The default scheduler uses a shelf file, which can be corrupted,
    # and which keeps times of earlier runs.
    "beat_scheduler": "celery.beat:Scheduler",
    "timezone": "UTC",
    "enable_utc": True,
}


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Celery's configuration for these settings."""
    tick = settings.tick_seconds
    return {
        **_FIXED,
        "broker_url": settings.broker_dsn,
        "result_backend": settings.result_dsn,
        "broker_use_ssl": certified(settings.broker_dsn),
        "broker_transport_options": _transport_options(settings.broker_dsn),
        "beat_max_loop_interval": tick,
        "beat_schedule": {
            "tick": {
                "task": "reconciler.reconcile",
                "schedule": tick,
                # `expires` is in seconds. Ticks expire because those that pile up while no worker runs are useless.
                # They do so after a minute at the earliest: beat's host sets the time, a worker's host compares it with
                # its own clock, and these clocks may differ.
                "options": {"queue": TICKS_QUEUE, "expires": max(60.0, 10 * tick)},
            }
        },
    }


def _transport_options(broker: str) -> dict[str, Any]:
    if not broker.startswith("redis"):
        return {
            # A send returns only after the broker has confirmed the message.
            "confirm_publish": True,
            # Over a half-open connection the broker's confirmation never arrives. Without these timeouts the worker
            # would wait for it forever, and during this wait it would not notice that heartbeats are missing.
            "read_timeout": 10,
            "write_timeout": 10,
        }
    return {
        # Seconds until Redis messages that a killed worker had taken are delivered again. This must be longer than the
        # longest wait of a retry, which is a minute: a waiting retry would also be delivered again.
        "visibility_timeout": 300,
        # Without the next four options, worker and beat would hang forever on a half-open connection.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
