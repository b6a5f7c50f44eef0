"""The Celery app, for `celery -A worker worker` and `celery -A worker beat`.

The settings are not read at import, but when Celery first asks for its configuration.
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
from typing import Any

import structlog
from celery import Celery, signals
from celery.app.trace import LOG_RETRY
from kombu.exceptions import OperationalError

from worker import loading_for_good
from worker.adapters.log import log_version
from worker.broker import log_filters
from worker.broker.celery_settings import celery_settings
from worker.broker.log_filters import BrokerOutageFilter
from worker.process.set_up import configure_log, leave
from worker.settings import SettingsError, load_settings
from worker.settings.reading import hint_on_default

log = structlog.stdlib.get_logger(__name__)


def _configuration() -> dict[str, Any]:
    """Return Celery's configuration. Celery calls this function before it makes its first connection."""
    try:
        settings = load_settings()
    except SettingsError as error:
        leave(str(error))
    _guard_kombu()
    return celery_settings(settings)


def _guard_kombu() -> None:
    # Imported here because `redis_and_rabbitmq` imports kombu's Redis transport. If that import failed at the top of
    # this module, Celery would report that `worker.celery` does not exist.
    from worker.broker.redis_and_rabbitmq import guard_kombu

    guard_kombu()


class App(Celery):
    """Celery's app, which loads the modules of the tasks in workers only.

    Celery's own list of modules to load, `include`, is not used: beat would load these modules too. They take 26 MB,
    and beat needs only the names of the tasks.
    """

    @cached_property
    def Worker(self) -> Any:
        """Celery's worker class. The modules of the tasks are loaded before it is returned."""
        with loading_for_good():
            for module in ("worker.tasks", "worker.process.worker_signals"):
                import_module(module)
        return super().Worker


# Guard kombu before the process makes its first connection, because kombu keeps that connection's transport. If a
# package is missing, this call does nothing, and `_configuration` later ends the program with an error.
with suppress(ImportError):
    _guard_kombu()
# With CheckedControl, the worker runs only some of Celery's remote control commands.
app = App("reconciler", control="worker.broker.remote_control:CheckedControl")
app.add_defaults(_configuration)
# These classes keep a silent result backend from delaying tasks, and a silent broker from delaying events.
app.loader.override_backends = {name: f"worker.broker.results:{name}" for name in ("redis", "rediss", "rpc")}
app.events.dispatcher_cls = "worker.broker.consumer:SingleTryDispatcher"


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
    # Raise the level of beat's log, because at level INFO beat logs each tick that it sends.
    logging.getLogger("celery.beat").setLevel(logging.WARNING)
    for warning in settings.warnings:
        log.warning(warning, action="settings_warning")


def _broker_errors() -> tuple[type[BaseException], ...]:
    """The classes of the exceptions that the broker's client raises. Makes no connection to the broker."""
    with app.connection_for_write() as connection:
        errors: tuple[type[BaseException], ...] = connection.connection_errors + connection.channel_errors
        return (*errors, OperationalError)


def _is_to_be_logged(record: logging.LogRecord) -> bool:
    """Whether to keep a record of Celery's. Up to level INFO, records about single ticks and orders are dropped.

    There is a tick every second, and there may be hundreds of orders a second. The tasks themselves log what they did.
    A record about a retry is kept.
    """
    data = getattr(record, "data", None)
    name = data.get("name") if isinstance(data, dict) else None
    is_one_of_many = name in ("reconciler.reconcile", "reconciler.enqueue_order") and record.msg != LOG_RETRY
    return record.levelno > logging.INFO or not is_one_of_many


@signals.beat_init.connect(weak=False)
def _warn_of_default_broker(**_: object) -> None:
    """Warn if beat uses the default broker: it may have been started in the wrong folder, without the intended `.env`.

    Beat needs neither accounts nor the database, so without this warning a missing `.env` would not be noticed.
    """
    settings = load_settings()
    if hint := hint_on_default(settings, "broker_url"):
        log.warning(f"ticks go to {settings.broker_dsn}{hint}", action="unsafe_setting", check="broker")


@signals.beat_init.connect(weak=False)
def _let_beat_stop(**_: object) -> None:
    """Make beat stop on SIGTERM and SIGINT at any moment.

    Celery's own signal handler closes the connection to the broker, even while beat is sending a tick. The send may
    then raise an error, and beat would continue as if there had been no signal. With RabbitMQ, closing in the middle of
    a message would wait forever for RabbitMQ's answer.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        # Beat has nothing to save: its schedule is in memory, and a half-sent tick is harmless.
        os._exit(0)

    # Write Celery's output that is still in the buffer, because `os._exit` would drop it.
    sys.stdout.flush()
    # Beat inside a worker (`worker -B`) may run in a thread. Then the worker handles the signals, not beat.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
