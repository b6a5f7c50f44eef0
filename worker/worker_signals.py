"""What a worker does at its start and end: the receivers of Celery's signals that a worker alone sends."""

import gc
from typing import Any

import structlog
from celery import signals
from celery.concurrency import get_implementation

from worker.adapters.log import log_version
from worker.adapters.safe_text import first_words
from worker.celery import configure_log, leave
from worker.database.transactions import is_transient
from worker.doctor.examination import examine_before_start, examine_running
from worker.doctor.finding import Check, Status
from worker.runtime import close_current, current, prepare_database
from worker.settings import load_settings

log = structlog.stdlib.get_logger(__name__)

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
        leave(f"the worker does not start: the pool {name} cannot keep the deadline of a query: {supported}")
    settings = load_settings()
    # Celery sets the log up only after this signal, and the first lines are written here.
    configure_log(settings)
    _found_before_start[:] = examine_before_start(settings)
    fatal = [check for check in _found_before_start if check.status is Status.FATAL]
    if fatal:
        leave("\n".join(f"the worker does not start: {check}" for check in fatal))
    log_version()
    try:
        prepare_database(settings)
    except Exception as error:
        # A lock that is held this long blocks every query on its row. Ticks do both later.
        if not is_transient(error):
            leave(
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

    Not with prefork: its children must share no connection with this process, but they share its memory.
    """
    if _module_of_pool(instance) != _PREFORK:
        current()
    else:
        # A garbage collection writes to each object that it looks at, and a page that is written is shared no longer.
        gc.freeze()


# The second is for pools without processes of their own (solo, threads).
@signals.worker_process_shutdown.connect(weak=False)
@signals.worker_shutdown.connect(weak=False)
def _close_process(**_: object) -> None:
    close_current()
