"""Celery's configuration, with the reason for each setting."""

from collections.abc import Mapping
from typing import Any

from kombu import Exchange, Queue

from worker.adapters.certificates import certified
from worker.settings import Settings

TICKS_QUEUE = "reconciler.ticks"
ORDERS_QUEUE = "reconciler.orders"


def _queue(name: str) -> Queue:
    # Each queue has its own exchange. Otherwise Celery would bind the ticks' queue to the exchange of the orders, with
    # their routing key.
    return Queue(name, Exchange(name), routing_key=name)


_FIXED: Mapping[str, Any] = {
    # Only JSON, in both directions, also for answers and remote control: no message is ever unpickled.
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "task_serializer": "json",
    "result_serializer": "json",
    "event_serializer": "json",
    # Checks messages before Celery reads them: a forged message would end Celery.
    "worker_consumer": "worker.broker.consumer:CheckedConsumer",
    # Ticks have their own queue, so that a flood of orders does not delay queries. Celery's default queue is not
    # consumed: on a shared broker it may hold other programs' tasks.
    "task_queues": [_queue(TICKS_QUEUE), _queue(ORDERS_QUEUE)],
    "task_default_queue": ORDERS_QUEUE,
    "task_create_missing_queues": False,
    "task_routes": {"reconciler.reconcile": {"queue": TICKS_QUEUE}, "reconciler.*": {"queue": ORDERS_QUEUE}},
    # Other workers cannot take the messages that this one prefetches. On RabbitMQ 4, waiting retries count as
    # prefetched. If there are as many of them as pool processes, the worker takes no messages for up to a minute.
    "worker_prefetch_multiplier": 1,
    # On other brokers, waiting retries raise the prefetch count. After a lost connection Celery would lower the count
    # while these retries are still part of it.
    "worker_enable_prefetch_count_reduction": False,
    # Seconds. By default Celery kills a replacement process that is not ready within 4 s. On a busy host every
    # replacement would be killed.
    "worker_proc_alive_timeout": 60.0,
    # The worker waits indefinitely for an unavailable broker, at start and later.
    "broker_connection_retry_on_startup": True,
    "broker_connection_retry": True,
    "broker_connection_max_retries": None,
    # Otherwise errors of a single channel (Redis is full, a key has the wrong type) would end the worker.
    "broker_channel_error_retry": True,
    "broker_connection_timeout": 5,
    # Seconds, for RabbitMQ. A half-open connection is noticed within two heartbeats.
    "broker_heartbeat": 10,
    # RabbitMQ notices a dead connection later than the worker, and keeps exclusive queues locked until then. So with
    # exclusive queues, a worker that connects again would end. The queues are durable because RabbitMQ will refuse
    # others. They expire by themselves.
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
    # Beat keeps its schedule in memory. The default is a shelf file, which can be corrupted and which stores times.
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
                # Seconds. Ticks that pile up while no worker runs are useless. At least a minute, because the clocks of
                # two hosts are compared.
                "options": {"queue": TICKS_QUEUE, "expires": max(60.0, 10 * tick)},
            }
        },
    }


def _transport_options(broker: str) -> dict[str, Any]:
    if not broker.startswith("redis"):
        return {
            # A send returns only after the broker has confirmed the message.
            "confirm_publish": True,
            # Over a half-open connection no confirmation comes. Without these timeouts the worker would wait forever
            # and would not notice missing heartbeats.
            "read_timeout": 10,
            "write_timeout": 10,
        }
    return {
        # Seconds until a killed worker's messages are delivered again. Longer than a retry's longest wait, a minute.
        "visibility_timeout": 300,
        # Without these four, worker and beat would hang forever on a half-open connection.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
