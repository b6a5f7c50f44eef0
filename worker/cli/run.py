"""`reconciler run`: worker and beat, for one machine."""

import sys
from collections.abc import Mapping
from typing import Annotated

import typer

# Beyond the longest time that a query and its write-back can take.
_SPARE_SECONDS = 30.0

Concurrency = Annotated[
    int | None,
    typer.Option(min=1, max=1000, show_default=False, help="Processes of the worker; by default one per processor."),
]


def run(concurrency: Concurrency = None) -> None:
    """Run worker and beat together, in one process group; where they run apart, use celery -A worker worker and beat.

    SIGTERM or Ctrl-C lets the query that is under way finish, then ends both; a second one ends them at once. When one
    of them ends by itself the other is stopped, and the exit status is 1, so that a supervisor starts both again.
    """
    from worker.cli.children import run_together
    from worker.cli.errors import CommandError
    from worker.cli.session import check_database, read_settings
    from worker.runtime import rules_of

    # Here, in one line, rather than in the logs of two children.
    settings = read_settings(needs_accounts=True)
    check_database(settings)
    celery = [sys.executable, "-m", "celery", "-A", "worker"]
    processes = [] if concurrency is None else ["--concurrency", str(concurrency)]
    rules = rules_of(settings)
    culprit = run_together(
        {"worker": [*celery, "worker", *processes], "beat": [*celery, "beat"]},
        patience_seconds=rules.deadline_seconds + rules.reservation_seconds + _SPARE_SECONDS,
        started=_say_started,
        stopping=_say_stopping,
    )
    if culprit is not None:
        raise CommandError(f"{culprit}, so both are stopped; what it wrote above says why")


def _say_started(processes: Mapping[str, int]) -> None:
    listed = ", ".join(f"{name} (process {process})" for name, process in processes.items())
    typer.echo(f"Started {listed}. Ctrl-C stops them.", err=True)


def _say_stopping() -> None:
    typer.echo("Stopping: a query that is under way is finished first. Ctrl-C again stops at once.", err=True)
