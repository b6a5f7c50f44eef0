"""Run our code when a worker starts or ends: these functions receive the Celery signals that only workers send."""

import gc
from typing import Any

import structlog
from celery import signals
from celery.concurrency import get_implementation

from worker.adapters.log import log_version
from worker.adapters.safe_text import first_words
from worker.database.transactions import is_transient
from worker.doctor.examination import examine_before_start, examine_running
from worker.doctor.finding import Check, Status
from worker.process.runtime import close_current, current, prepare_database
from worker.process.set_up import configure_log, leave
from worker.settings import load_settings

log = structlog.stdlib.get_logger(__name__)

# The findings of the checks before the start. They are kept until the worker is ready; then their warnings are logged.
_found_before_start: list[Check] = []


# The pools in which the worker may run; pools with greenlets are refused. The query limit is kept only if a separate
# thread can cut an exchange at its deadline. Greenlets share one thread, so whatever blocks this thread (an SQLite
# lock, a slow COMMIT) would delay the cut.
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
    # Configure logging here, because Celery does so only after this signal, and this function already logs.
    configure_log(settings)
    _found_before_start[:] = examine_before_start(settings)
    fatal = [check for check in _found_before_start if check.status is Status.FATAL]
    if fatal:
        leave("\n".join(f"the worker does not start: {check}" for check in fatal))
    log_version()
    try:
        prepare_database(settings)
    except Exception as error:
        # A transient error, such as a lock that is held for long, need not stop the worker. Ticks write both tables
        # later, and no query is sent for a slot whose row is locked.
        if not is_transient(error):
            leave(
                f"the worker does not start: query_budgets or notify_endpoints cannot be written ({first_words(error)})"
            )


@signals.worker_ready.connect(weak=False)
def _warn_of_unsafe_settings(**_: object) -> None:
    """Log the warnings once the worker is ready.

    Some checks ask the broker, so they run only now: before it is ready, the worker itself waits for the broker.
    """
    for check in [*_found_before_start, *examine_running(load_settings())]:
        if check.status is Status.WARNING:
            log.warning(str(check), action="unsafe_setting", check=check.name)


@signals.worker_process_init.connect(weak=False)
def _open_process(**_: object) -> None:
    current()


@signals.celeryd_after_setup.connect(weak=False)
def _open_worker(instance: Any, **_: object) -> None:
    """Create the runtime in this process if the pool has no child processes (solo, threads).

    So such a pool sends queries even before the broker answers. With the pool prefork, each child process creates its
    own runtime, because children must not share this process's connections.
    """
    if _module_of_pool(instance) != _PREFORK:
        current()
    else:
        # Exclude the objects that exist now from garbage collection. It would write to each of them in every child
        # process, and a memory page is no longer shared with the children once it is written.
        gc.freeze()


# Pool processes send the first of these signals. The second is for pools without child processes (solo, threads).
@signals.worker_process_shutdown.connect(weak=False)
@signals.worker_shutdown.connect(weak=False)
def _close_process(**_: object) -> None:
    close_current()
