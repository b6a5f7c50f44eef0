"""The Celery app: `celery -A worker worker`, `celery -A worker beat`.

Nothing is read at import: the settings are read when Celery first asks for its configuration.
"""

import logging
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

import structlog
from celery import Celery, signals
from kombu import Exchange, Queue

from worker.adapters.database.migrations import MigrationError, check_at_head
from worker.adapters.log import configure_logging
from worker.runtime import close_current, current
from worker.settings import Settings, SettingsError, load_settings

TICKS_QUEUE = "reconciler.ticks"
ORDERS_QUEUE = "reconciler.orders"

log = structlog.stdlib.get_logger(__name__)


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Celery's configuration, each setting with its reason."""
    tick = settings.tick_seconds
    return {
        "broker_url": settings.broker_dsn,
        "result_backend": settings.result_dsn,
        # JSON only, in and out: a message is never unpickled.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        # Ticks have a queue of their own, so that a flood of orders delays no query. These two and no other: to consume
        # Celery's default queue would swallow other people's tasks on a shared broker.
        "task_queues": [_queue(TICKS_QUEUE), _queue(ORDERS_QUEUE)],
        "task_default_queue": ORDERS_QUEUE,
        "task_create_missing_queues": False,
        "task_routes": {"reconciler.reconcile": {"queue": TICKS_QUEUE}, "reconciler.*": {"queue": ORDERS_QUEUE}},
        # A process that holds more than it works on would keep ticks behind lists of orders.
        "worker_prefetch_multiplier": 1,
        # A broker that is away, at start or later, is waited for without end.
        "broker_connection_retry_on_startup": True,
        "broker_connection_retry": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": 5,
        # RabbitMQ: a connection that is half open is noticed within two heartbeats.
        "broker_heartbeat": 10,
        "broker_transport_options": _transport_options(settings.broker_dsn),
        "redis_socket_timeout": 10,
        "redis_socket_connect_timeout": 5,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": 10,
        # A task that is under way when the broker is lost runs to its end: to kill its process would kill the passes in
        # it. Delivered again it is harmless.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Beat in memory: its shelf file corrupts, and stores times.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": tick,
        "beat_schedule": {
            "tick": {
                "task": "reconciler.reconcile",
                "schedule": tick,
                # Ticks that pile up while no worker runs are worth nothing. By the wall clocks of two hosts, hence a
                # minute.
                "options": {"queue": TICKS_QUEUE, "expires": max(60.0, 10 * tick)},
            }
        },
        "timezone": "UTC",
        "enable_utc": True,
    }


def _queue(name: str) -> Queue:
    # Without an exchange of its own, Celery would bind the queue of the ticks to the one of the orders, by their key.
    return Queue(name, Exchange(name), routing_key=name)


def _transport_options(broker: str) -> dict[str, Any]:
    if not broker.startswith(("redis", "unix")):
        # The broker says that it has a message before the caller is told so.
        return {"confirm_publish": True}
    return {
        # After this, a message that a killed worker held is delivered again. Longer than any retry's wait, which is a
        # minute.
        "visibility_timeout": 300,
        # Without these four, a half-open connection hangs worker and beat for good.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def _configuration() -> dict[str, Any]:
    try:
        return celery_settings(load_settings())
    except SettingsError as error:
        _leave(str(error))


def _leave(message: str) -> NoReturn:
    """End the program with one message: an exception would be logged and passed over in Celery's signals."""
    print(message, file=sys.stderr)
    raise SystemExit(1)


app = Celery("reconciler", include=["worker.tasks"])
app.add_defaults(_configuration)


@signals.setup_logging.connect(weak=False)
def _set_up_logging(**_: object) -> None:
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format, secrets=settings.secrets)
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).addFilter(_is_worth_a_line)
    # Beat says of each tick that it sends it.
    logging.getLogger("celery.beat").setLevel(logging.WARNING)
    for warning in settings.warnings:
        log.warning(warning, action="settings_warning")


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Leave out that a tick came and went: it does so every second, and logs what it finds by itself."""
    about = getattr(record, "data", None)
    is_tick = isinstance(about, dict) and about.get("name") == "reconciler.reconcile"
    return record.levelno > logging.INFO or not is_tick


@signals.beat_init.connect(weak=False)
def _let_beat_stop(sender: Any, **_: object) -> None:
    """Stop beat whenever it is told to.

    Celery's own handler closes the broker's connection under the tick that is being sent; the error that follows hides
    the stop, and beat would go on for ever.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        sender.stop()
        raise SystemExit(0)

    # Inside a worker (`worker -B`) beat may be a thread, which must leave the worker's signals alone.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)


@signals.worker_init.connect(weak=False)
def _refuse_to_start(**_: object) -> None:
    settings = load_settings()
    try:
        settings.require_accounts()
        check_at_head(settings.database_dsn)
    except (SettingsError, MigrationError) as error:
        _leave(f"the worker does not start: {error}")
    except Exception as error:
        # Most likely the database is away. What it says comes first; drivers add advice and links in further lines.
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        _leave(f"the worker does not start: RECONCILER_DATABASE_URL: the database cannot be used: {why}")


@signals.worker_process_init.connect(weak=False)
def _open_process(**_: object) -> None:
    current()


@signals.worker_process_shutdown.connect(weak=False)
def _close_process(**_: object) -> None:
    close_current()


@signals.worker_shutdown.connect(weak=False)
def _close_worker(**_: object) -> None:
    """For pools without processes of their own (solo, threads)."""
    close_current()
