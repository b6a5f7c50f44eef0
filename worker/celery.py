"""The Celery app: `celery -A worker worker`, `celery -A worker beat`.

Nothing is read at import: the settings are read when Celery first asks for its configuration.
"""

import logging
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import structlog
from celery import Celery, signals
from celery.concurrency import get_implementation
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from worker.adapters.certificates import certified
from worker.adapters.error_text import first_words
from worker.adapters.log import configure_logging
from worker.database.transactions import is_transient
from worker.doctor import Check, Status, examine_before_start, examine_running, unloadable_for_celery
from worker.messages import broker_outage
from worker.messages.broker_outage import BrokerOutageFilter
from worker.messages.single_order_batches import is_in_batch
from worker.runtime import close_current, current, raise_windows
from worker.settings import Settings, SettingsError, load_settings

TICKS_QUEUE = "reconciler.ticks"
ORDERS_QUEUE = "reconciler.orders"
_REDIS = ("redis", "unix")
_RECEIVES = "celery.worker.strategy"

log = structlog.stdlib.get_logger(__name__)


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Celery's configuration, each setting with its reason."""
    tick = settings.tick_seconds
    return {
        "broker_url": settings.broker_dsn,
        "result_backend": settings.result_dsn,
        # JSON only, in and out, answers and remote control included: a message is never unpickled.
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        # Messages are checked before Celery looks inside: a forged one would end it.
        "worker_consumer": "worker.messages.checked_celery:CheckedConsumer",
        # Ticks have a queue of their own, so that a flood of orders delays no query. These two and no other: to consume
        # Celery's default queue would swallow other people's tasks on a shared broker.
        "task_queues": [_queue(TICKS_QUEUE), _queue(ORDERS_QUEUE)],
        "task_default_queue": ORDERS_QUEUE,
        "task_create_missing_queues": False,
        "task_routes": {"reconciler.reconcile": {"queue": TICKS_QUEUE}, "reconciler.*": {"queue": ORDERS_QUEUE}},
        # What a worker holds beyond what it works on, others cannot take. Single orders are collected all the same
        # (worker/messages/dispatch.py); RabbitMQ 4 lets that grow no more once the worker consumes.
        "worker_prefetch_multiplier": 1 if settings.broker_dsn.startswith(_REDIS) else 16,
        # Single orders that are collected make room for more. After a lost connection Celery would set that back while
        # they are counted.
        "worker_enable_prefetch_count_reduction": False,
        # A broker that is away, at start or later, is waited for without end.
        "broker_connection_retry_on_startup": True,
        "broker_connection_retry": True,
        "broker_connection_max_retries": None,
        # Errors that belong to one channel (a Redis that is full, a key of the wrong type) would end the worker.
        "broker_channel_error_retry": True,
        "broker_connection_timeout": 5,
        # RabbitMQ: a connection that is half open is noticed within two heartbeats.
        "broker_heartbeat": 10,
        # RabbitMQ notices it later than we do, and keeps exclusive queues of the dead connection locked: a worker that
        # connects anew would end. Durable, because RabbitMQ means to refuse other queues; they expire by themselves.
        "control_queue_exclusive": False,
        "control_queue_durable": True,
        "event_queue_exclusive": False,
        "event_queue_durable": True,
        "broker_use_ssl": certified(settings.broker_dsn),
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
    if not broker.startswith(_REDIS):
        return {
            # The broker says that it has a message before the caller is told so.
            "confirm_publish": True,
            # Over a half-open connection it never says so: without these the worker would wait for that without end,
            # and notice no missing heartbeat.
            "read_timeout": 10,
            "write_timeout": 10,
        }
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
    """Celery asks for it before it makes its first connection."""
    try:
        settings = load_settings()
    except SettingsError as error:
        _leave(str(error))
    if faults := unloadable_for_celery(settings):
        _leave("\n".join(f"cannot start: {check}" for check in faults.values()))
    _guard_kombu()
    return celery_settings(settings)


def _guard_kombu() -> None:
    # Not at the top: it needs kombu's transport for Redis, and an import that fails would hide this module from Celery.
    from worker.messages.unpacking import guard_kombu

    guard_kombu()


def _leave(message: str) -> NoReturn:
    """End the program with one message: an exception would be logged and passed over in Celery's signals."""
    print(message, file=sys.stderr)
    raise SystemExit(1)


# As early as possible: kombu keeps the transport of the first connection that is made in this process. Where a package
# is missing, `_configuration` names it, and nothing starts.
with suppress(ImportError):
    _guard_kombu()
# Remote control obeys some of Celery's commands only.
app = Celery("reconciler", include=["worker.tasks"], control="worker.messages.checked_celery:CheckedControl")
app.add_defaults(_configuration)


@signals.setup_logging.connect(weak=False)
def _set_up_logging(**_: object) -> None:
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format, secrets=settings.secrets)
    for name in (_RECEIVES, "celery.app.trace"):
        logging.getLogger(name).addFilter(_is_worth_a_line)
    outage = BrokerOutageFilter(_broker_errors)
    for name in broker_outage.LOGGERS:
        logging.getLogger(name).addFilter(outage)
    # Beat says of each tick that it sends it.
    logging.getLogger("celery.beat").setLevel(logging.WARNING)
    for warning in settings.warnings:
        log.warning(warning, action="settings_warning")


def _broker_errors() -> tuple[type[BaseException], ...]:
    """What the broker's client raises; nothing is connected to."""
    with app.connection_for_write() as connection:
        errors: tuple[type[BaseException], ...] = connection.connection_errors + connection.channel_errors
        return (*errors, OperationalError)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Leave out that a tick or a single order came and went: ticks do so every second, orders in their thousands.

    A tick logs what it finds by itself, and single orders that are taken in together share a line.
    """
    about = getattr(record, "data", None)
    name = about.get("name") if isinstance(about, dict) else None
    is_tick = name == "reconciler.reconcile"
    is_one_of_many = name == "reconciler.enqueue_order" and (record.name == _RECEIVES or is_in_batch())
    return record.levelno > logging.INFO or not (is_tick or is_one_of_many)


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


# There is no log yet when these are found.
_found_before_start: list[Check] = []


# An exchange is cut at its deadline by a thread of its own, and the limit rests on that. Greenlets share one thread:
# whatever blocks it (a lock of SQLite, a slow COMMIT) would delay the cut.
_PREFORK = "celery.concurrency.prefork"
_POOLS = frozenset({_PREFORK, "celery.concurrency.thread", "celery.concurrency.solo"})


def _module_of_pool(worker: Any) -> str:
    return str(get_implementation(worker.pool_cls).__module__)


@signals.worker_init.connect(weak=False)
def _refuse_to_start(sender: Any, **_: object) -> None:
    pool = _module_of_pool(sender)
    if pool not in _POOLS:
        name = pool.removeprefix("celery.concurrency.")
        supported = "use --pool prefork (the default), threads or solo"
        _leave(f"the worker does not start: the pool {name} cannot keep the deadline of a query: {supported}")
    settings = load_settings()
    _found_before_start[:] = examine_before_start(settings)
    fatal = [check for check in _found_before_start if check.status is Status.FATAL]
    if fatal:
        _leave("\n".join(f"the worker does not start: {check}" for check in fatal))
    try:
        raise_windows(settings)
    except Exception as error:
        # Whoever holds a row for so long keeps everybody from asking on it, and ticks raise its window later.
        if not is_transient(error):
            _leave(f"the worker does not start: the windows in query_budgets cannot be raised ({first_words(error)})")


@signals.worker_ready.connect(weak=False)
def _warn_of_unsafe_settings(**_: object) -> None:
    """Not before the start: there is no log yet, and a broker that is away would be waited for twice."""
    for check in [*_found_before_start, *examine_running(load_settings())]:
        if check.status is Status.WARNING:
            log.warning(str(check), action="unsafe_setting", check=check.name)


@signals.worker_process_init.connect(weak=False)
def _open_process(**_: object) -> None:
    current()


@signals.celeryd_after_setup.connect(weak=False)
def _open_worker(instance: Any, **_: object) -> None:
    """For pools without processes of their own (solo, threads): they poll while the broker is still away, too.

    Not with prefork: its children must share no connection with this process.
    """
    if _module_of_pool(instance) != _PREFORK:
        current()


@signals.worker_process_shutdown.connect(weak=False)
def _close_process(**_: object) -> None:
    close_current()


@signals.worker_shutdown.connect(weak=False)
def _close_worker(**_: object) -> None:
    """For pools without processes of their own (solo, threads)."""
    close_current()
