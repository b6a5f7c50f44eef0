"""The Celery app: `celery -A worker worker`, `celery -A worker beat`.

Nothing is read at import: the settings are read when Celery first asks for its configuration.
"""

import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import structlog
from celery import Celery, signals
from celery.app.trace import LOG_RETRY
from kombu.exceptions import OperationalError

from worker import loading_for_good
from worker.adapters.log import configure_logging, log_version
from worker.broker import log_filters
from worker.broker.log_filters import BrokerOutageFilter
from worker.celery_settings import celery_settings
from worker.settings import Settings, SettingsError, load_settings
from worker.settings.reading import hint_on_default

log = structlog.stdlib.get_logger(__name__)


def _configuration() -> dict[str, Any]:
    """Celery calls it before it makes its first connection."""
    try:
        settings = load_settings()
    except SettingsError as error:
        leave(str(error))
    _guard_kombu()
    return celery_settings(settings)


def _guard_kombu() -> None:
    # Not at the top: it imports kombu's transport for Redis, and a failing import would hide this module from Celery.
    from worker.broker.redis_and_rabbitmq import guard_kombu

    guard_kombu()


def leave(message: str) -> NoReturn:
    """End the program with one message: Celery logs an exception of a signal's handler and goes on."""
    print(message, file=sys.stderr)
    raise SystemExit(1)


class App(Celery):
    """Celery's app, whose worker loads the tasks, and all that they need.

    Celery's own list of modules, `include`, is loaded by beat as well, which sends a task by its name alone, and would
    take 26 MB more.
    """

    @cached_property
    def Worker(self) -> Any:
        """The class of a worker."""
        with loading_for_good():
            for module in ("worker.tasks", "worker.worker_signals"):
                import_module(module)
        return super().Worker


# As early as possible: kombu keeps the transport of the first connection that is made in this process. A missing
# package is reported by `_configuration`, which ends the program.
with suppress(ImportError):
    _guard_kombu()
# Remote control runs some of Celery's commands only.
app = App("reconciler", control="worker.broker.remote_control:CheckedControl")
app.add_defaults(_configuration)
# No task waits for a silent result backend, and no event for a silent broker.
app.loader.override_backends = {name: f"worker.broker.results:{name}" for name in ("redis", "rediss", "rpc")}
app.events.dispatcher_cls = "worker.broker.consumer:SingleTryDispatcher"


def configure_log(settings: Settings) -> None:
    """Begin to log, as the settings say."""
    configure_logging(settings.log_level, settings.log_format, zone=settings.zone, secrets=settings.secrets)


@signals.setup_logging.connect(weak=False)
def _set_up_logging(**_: object) -> None:
    settings = load_settings()
    configure_log(settings)
    log_version()
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).addFilter(_is_to_be_logged)
    outage = BrokerOutageFilter(_broker_errors)
    for name in log_filters.LOGGERS:
        logging.getLogger(name).addFilter(outage)
    logging.getLogger(log_filters.STOPPING_LOGGER).addFilter(log_filters.is_no_requeue)
    # Beat logs each tick that it sends, as information.
    logging.getLogger("celery.beat").setLevel(logging.WARNING)
    for warning in settings.warnings:
        log.warning(warning, action="settings_warning")


def _broker_errors() -> tuple[type[BaseException], ...]:
    """What the broker's client raises; makes no connection."""
    with app.connection_for_write() as connection:
        errors: tuple[type[BaseException], ...] = connection.connection_errors + connection.channel_errors
        return (*errors, OperationalError)


def _is_to_be_logged(record: logging.LogRecord) -> bool:
    """Leave out Celery's lines on each tick and each single order: one a second, and hundreds.

    Both have lines of their own: a tick logs what it finds, an order that it was enqueued. A retry is told of.
    """
    data = getattr(record, "data", None)
    name = data.get("name") if isinstance(data, dict) else None
    is_one_of_many = name in ("reconciler.reconcile", "reconciler.enqueue_order") and record.msg != LOG_RETRY
    return record.levelno > logging.INFO or not is_one_of_many


@signals.beat_init.connect(weak=False)
def _warn_of_default_broker(**_: object) -> None:
    """Beat reads neither accounts nor database, so that it starts in a folder without the `.env` that was meant."""
    settings = load_settings()
    if hint := hint_on_default(settings, "broker_url"):
        log.warning(f"ticks go to {settings.broker_dsn}{hint}", action="unsafe_setting", check="broker")


@signals.beat_init.connect(weak=False)
def _let_beat_stop(**_: object) -> None:
    """Make beat stop on SIGTERM and SIGINT at any moment.

    Celery's own handler closes the broker's connection, also while a tick is being sent. An error that follows hides
    the signal; and RabbitMQ does not answer to a close within half a message, for which the close waits without end.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        # Beat has nothing to save: its schedule is in memory, and a tick that is cut short is harmless.
        os._exit(0)

    # What Celery has printed is in a buffer, which `_exit` would drop.
    sys.stdout.flush()
    # Inside a worker (`worker -B`) beat may be a thread, and the signals are the worker's.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
