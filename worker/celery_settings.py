"""Celery's configuration, each setting with what goes wrong without it."""

from collections.abc import Mapping
from typing import Any

from kombu import Exchange, Queue

from worker.adapters.certificates import certified
from worker.settings import Settings

TICKS_QUEUE = "reconciler.ticks"
ORDERS_QUEUE = "reconciler.orders"


def _queue(name: str) -> Queue:
    # Without an exchange of its own, Celery would bind the ticks' queue to the orders' exchange, by their key.
    return Queue(name, Exchange(name), routing_key=name)


_FIXED: Mapping[str, Any] = {
    # JSON only, in and out, answers and remote control included: a message is never unpickled.
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "task_serializer": "json",
    "result_serializer": "json",
    "event_serializer": "json",
    # Messages are checked before Celery reads them: a forged one would end it.
    "worker_consumer": "worker.broker.consumer:CheckedConsumer",
    # Ticks have their own queue, so that a flood of orders delays no query. Only these two: to consume Celery's
    # default queue would take other programs' tasks on a shared broker.
    "task_queues": [_queue(TICKS_QUEUE), _queue(ORDERS_QUEUE)],
    "task_default_queue": ORDERS_QUEUE,
    "task_create_missing_queues": False,
    "task_routes": {"reconciler.reconcile": {"queue": TICKS_QUEUE}, "reconciler.*": {"queue": ORDERS_QUEUE}},
    # Other workers cannot take the messages that this one prefetches. On RabbitMQ 4 retries that wait count among
    # them: as many of these as the pool has processes keep it from taking more, for a minute at the most.
    "worker_prefetch_multiplier": 1,
    # On other brokers retries that wait raise the prefetch count. After a lost connection Celery would lower it
    # while they are still counted.
    "worker_enable_prefetch_count_reduction": False,
    # Celery kills a process that replaces another if it is not ready within 4 s: on a busy host, one after the other.
    "worker_proc_alive_timeout": 60.0,
    # The worker waits without end for a broker that is away, at start or later.
    "broker_connection_retry_on_startup": True,
    "broker_connection_retry": True,
    "broker_connection_max_retries": None,
    # Errors that belong to one channel (a Redis that is full, a key of the wrong type) would end the worker.
    "broker_channel_error_retry": True,
    "broker_connection_timeout": 5,
    # RabbitMQ: a connection that is half open is noticed within two heartbeats.
    "broker_heartbeat": 10,
    # RabbitMQ notices a dead connection later than the worker, and keeps its exclusive queues locked: a worker that
    # connects again would end. Durable, because RabbitMQ will refuse other queues; they expire by themselves.
    "control_queue_exclusive": False,
    "control_queue_durable": True,
    "event_queue_exclusive": False,
    "event_queue_durable": True,
    "redis_socket_timeout": 10,
    "redis_socket_connect_timeout": 5,
    "redis_socket_keepalive": True,
    "redis_backend_health_check_interval": 10,
    # A task that is under way when the broker is lost runs to its end: to kill its process would kill the passes in
    # it. Its message may be delivered again, which is harmless.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    # Beat in memory: its shelf file can be corrupted, and stores times.
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
                # Ticks that pile up while no worker runs are useless. A minute at least, since the wall clocks of two
                # hosts decide.
                "options": {"queue": TICKS_QUEUE, "expires": max(60.0, 10 * tick)},
            }
        },
    }


def _transport_options(broker: str) -> dict[str, Any]:
    if not broker.startswith("redis"):
        return {
            # A caller's send returns only once the broker has confirmed the message.
            "confirm_publish": True,
            # Over a half-open connection no confirmation comes: without these the worker would wait without end, and
            # notice no missing heartbeat.
            "read_timeout": 10,
            "write_timeout": 10,
        }
    return {
        # After this, a message that a killed worker held is delivered again. Longer than the longest wait of a retry,
        # a minute.
        "visibility_timeout": 300,
        # Without these four, a half-open connection hangs worker and beat for good.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
