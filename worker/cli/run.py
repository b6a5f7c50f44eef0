"""`reconciler run`: run worker and beat on one machine."""

import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated

import typer

from worker.adapters.child_processes import Child, ChildGroup, stop_signals_handled
from worker.cli.app import CommandError
from worker.cli.output import say
from worker.cli.session import check_database, read_settings
from worker.doctor.files_and_hosts import shadow
from worker.settings.rules import rules_of

# How long the programs have to end, in addition to the longest time of a query and its write-back.
_SPARE_SECONDS = 30.0

Concurrency = Annotated[
    int | None,
    typer.Option(min=1, max=1000, help="Processes of the worker; by default one per processor."),
]


def run(concurrency: Concurrency = None) -> None:
    """Run worker and beat together, in one process group; to run them apart, use celery -A worker worker and beat.

    SIGTERM or Ctrl-C lets the query under way finish, then ends both; a second signal ends them at once. If one of them
    ends by itself, the other is stopped, and the exit status is 1, so that a supervisor starts both again.

    Examples:
      reconciler run
      reconciler run --concurrency 2
    """
    # Check the set-up before the start: so an error is one line here, not lines in the logs of both children.
    settings = read_settings(needs_accounts=True)
    check_database(settings)
    if (found := shadow()) is not None:
        raise CommandError("%(why)s", found.sentence)
    celery = [sys.executable, "-m", "celery", "-A", "worker"]
    processes = [] if concurrency is None else ["--concurrency", str(concurrency)]
    rules = rules_of(settings)
    culprit = run_together(
        {"worker": [*celery, "worker", *processes], "beat": [*celery, "beat"]},
        patience_seconds=rules.deadline_seconds + rules.reservation_seconds + _SPARE_SECONDS,
        started=_print_started,
        stopping=_print_stopping,
    )
    if culprit is not None:
        raise CommandError("%(culprit)s, so both are stopped; what it wrote above says why", culprit.end)


def run_together(
    programs: Mapping[str, Sequence[str]],
    *,
    patience_seconds: float,
    started: Callable[[Collection[Child]], None],
    stopping: Callable[[], None],
) -> Child | None:
    """Run programs until one ends or a signal comes, then end all. Return the program that ended first; None after a
    signal.

    When SIGTERM, SIGINT or SIGHUP comes, or a program ends, all programs get SIGTERM, which lets them end in order.
    They are killed at the next signal, or after `patience_seconds`. Must be called in the main thread. Raises OSError
    if a program cannot be started.
    """
    # A signal handler also puts items into the queue, which only this kind of queue allows.
    events: queue.SimpleQueue[Child | int] = queue.SimpleQueue()
    # At the end the group kills what still runs: children of a killed program, or all programs if one did not start.
    with stop_signals_handled(events.put), ChildGroup() as group:
        for name, command in programs.items():
            Child(command, name=name, group=group, ends_with_starter=True)
        for child in group.children:
            threading.Thread(target=_report_end, args=(child, events), daemon=True).start()
        started(group.children)
        first = events.get()
        stopping()
        give_up = time.monotonic() + patience_seconds
        for child in group.children:
            child.send_signal(signal.SIGTERM)
        while not all(child.has_ended() for child in group.children):
            try:
                event = events.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                event = signal.SIGKILL
            if not isinstance(event, Child):
                group.kill()
    return first if isinstance(first, Child) else None


def _report_end(child: Child, events: queue.SimpleQueue[Child | int]) -> None:
    child.wait()
    events.put(child)


def _print_started(children: Collection[Child]) -> None:
    listed = ", ".join(map(str, children))
    say("Started %(programs)s. Ctrl-C stops them.", listed, err=True)


def _print_stopping() -> None:
    say("Stopping: a query that is under way is finished first. Ctrl-C again stops at once.", err=True)
