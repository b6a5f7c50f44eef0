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
from celery.app.trace import LOG_RETRY
from celery.concurrency import get_implementation
from kombu.exceptions import OperationalError

from worker.adapters.error_text import first_words
from worker.adapters.log import configure_logging
from worker.broker import log_filters
from worker.broker.log_filters import BrokerOutageFilter
from worker.celery_settings import celery_settings
from worker.database.transactions import is_transient
from worker.doctor.checks import Check, Status
from worker.doctor.examination import examine_before_start, examine_running
from worker.doctor.readings import unloadable_for_celery
from worker.runtime import close_current, current, prepare_database
from worker.settings import Settings, SettingsError, load_settings
from worker.settings.reading import hint_on_default

log = structlog.stdlib.get_logger(__name__)


def _configuration() -> dict[str, Any]:
    """Celery calls it before it makes its first connection."""
    try:
        settings = load_settings()
    except SettingsError as error:
        _leave(str(error))
    if faults := unloadable_for_celery(settings):
        _leave("\n".join(f"cannot start: {check}" for check in faults.values()))
    _guard_kombu()
    return celery_settings(settings)


def _guard_kombu() -> None:
    # Not at the top: it imports kombu's transport for Redis, and a failing import would hide this module from Celery.
    from worker.broker.transports import guard_kombu

    guard_kombu()


def _leave(message: str) -> NoReturn:
    """End the program with one message: Celery logs an exception of a signal's handler and goes on."""
    print(message, file=sys.stderr)
    raise SystemExit(1)


# As early as possible: kombu keeps the transport of the first connection that is made in this process. A missing
# package is reported by `_configuration`, which ends the program.
with suppress(ImportError):
    _guard_kombu()
# Remote control runs some of Celery's commands only.
app = Celery("reconciler", include=["worker.tasks"], control="worker.broker.remote_control:CheckedControl")
app.add_defaults(_configuration)


def _configure_log(settings: Settings) -> None:
    configure_logging(settings.log_level, settings.log_format, zone=settings.zone, secrets=settings.secrets)


@signals.setup_logging.connect(weak=False)
def _set_up_logging(**_: object) -> None:
    settings = load_settings()
    _configure_log(settings)
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
def _let_beat_stop(sender: Any, **_: object) -> None:
    """Make beat stop on SIGTERM and SIGINT at any moment.

    Celery's own handler closes the broker's connection while a tick is being sent. The error that follows hides the
    signal, and beat would not stop.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        sender.stop()
        raise SystemExit(0)

    # Inside a worker (`worker -B`) beat may be a thread, and the signals are the worker's.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)


# Kept until there is a log.
_found_before_start: list[Check] = []


# A thread of its own cuts an exchange at its deadline, and the limit depends on that. Greenlets share one thread:
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
    # Celery sets the log up only after this signal, and the first lines are written here.
    _configure_log(settings)
    _found_before_start[:] = examine_before_start(settings)
    fatal = [check for check in _found_before_start if check.status is Status.FATAL]
    if fatal:
        _leave("\n".join(f"the worker does not start: {check}" for check in fatal))
    try:
        prepare_database(settings)
    except Exception as error:
        # A lock that is held for so long blocks every query on its row. Ticks do both later.
        if not is_transient(error):
            _leave(
                f"the worker does not start: query_budgets or notify_endpoints cannot be written ({first_words(error)})"
            )


@signals.worker_ready.connect(weak=False)
def _warn_of_unsafe_settings(**_: object) -> None:
    """After the start: before it there is no log, and the wait for an absent broker would come twice."""
    for check in [*_found_before_start, *examine_running(load_settings())]:
        if check.status is Status.WARNING:
            log.warning(str(check), action="unsafe_setting", check=check.name)


@signals.worker_process_init.connect(weak=False)
def _open_process(**_: object) -> None:
    current()


@signals.celeryd_after_setup.connect(weak=False)
def _open_worker(instance: Any, **_: object) -> None:
    """For pools without processes of their own (solo, threads): they poll while the broker is still away.

    Not with prefork: its children must share no connection with this process.
    """
    if _module_of_pool(instance) != _PREFORK:
        current()


# The second is for pools without processes of their own (solo, threads).
@signals.worker_process_shutdown.connect(weak=False)
@signals.worker_shutdown.connect(weak=False)
def _close_process(**_: object) -> None:
    close_current()
