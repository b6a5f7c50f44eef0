"""`reconciler demo`: the command."""

import contextlib
import json
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NoReturn

from rich.console import Console
from typer import Exit, Option

from worker.adapters.child_processes import ChildError, stop_signals_handled
from worker.demo.plan import (
    FEWEST_ORDERS,
    LONGEST_WINDOW_SECONDS,
    MOST_ORDERS,
    SHORTEST_WINDOW_SECONDS,
    Pace,
    Plan,
    make_plan,
)
from worker.demo.report import as_json as to_json
from worker.demo.report import closing, opening, verdict, what_to_read_next, where_to_look
from worker.demo.run import DemoRun
from worker.demo.stage import DemoError, Stage
from worker.demo.summary import Summary

_DATABASE_HELP = "SQLAlchemy URL of a database that is empty or migrated; without it, SQLite in the work folder."
_BROKER_HELP = "URL of a Redis, Valkey or RabbitMQ that no worker of ours uses; without it, Valkey from its wheel."
_WINDOW_HELP = "Seconds; the platform's limit is one query in each. In real life 60."
_SERVE_HELP = "Show the console from the start, and keep it, the worker and the platform running until Ctrl-C."
_CHECK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """What the command line asks for. The representation shows no URL: it may hold a password."""

    database_url: str | None = field(repr=False)
    broker_url: str | None = field(repr=False)
    orders: int
    pace: Pace
    seed: int
    serve: bool
    as_json: bool


class _Interrupted(Exception):
    """A signal ends the demo."""

    def __init__(self, number: int) -> None:
        self.number = number


def demo(
    database_url: Annotated[str | None, Option(help=_DATABASE_HELP, metavar="URL")] = None,
    broker_url: Annotated[str | None, Option(help=_BROKER_HELP, metavar="URL")] = None,
    orders: Annotated[int, Option(help="How many orders.", min=FEWEST_ORDERS, max=MOST_ORDERS)] = 1000,
    window: Annotated[float, Option(help=_WINDOW_HELP, min=SHORTEST_WINDOW_SECONDS, max=LONGEST_WINDOW_SECONDS)] = 2.0,
    seed: Annotated[int, Option(help="What happens to each order is drawn from it.")] = 1,
    serve: Annotated[bool, Option("--serve", help=_SERVE_HELP)] = False,
    as_json: Annotated[
        bool, Option("--json", help="The summary as one JSON object; all else on standard error.")
    ] = False,
) -> None:
    """Watch orders being reconciled: a simulated platform, a real worker and beat, and a summary to check.

    It needs no service, takes about a minute and leaves nothing running, unless --serve is given. Status 0: every
    order agrees with the platform's truth, and the platform saw no violation of its limit.

    Examples:
      reconciler demo
      reconciler demo --orders 200 --json
    """
    began = time.monotonic()
    request = _Request(
        database_url=database_url,
        broker_url=broker_url,
        orders=orders,
        pace=Pace(window=window),
        seed=seed,
        serve=serve,
        as_json=as_json,
    )
    console = Console(stderr=as_json)
    folder = Path(tempfile.mkdtemp(prefix="reconciler-demo-"))
    try:
        interruption = _Interruption()
        with stop_signals_handled(interruption):
            summary = _run(request, console, folder, began, interruption.check)
    except _Interrupted as interrupted:
        _say(console, f"\nStopped: nothing is left running. What there was is in {folder}")
        raise Exit(128 + interrupted.number) from None
    except (ChildError, DemoError) as error:
        if not any(folder.glob("*.log")):
            shutil.rmtree(folder)
        _leave(str(error))
    raise Exit(0 if summary.is_good else 1)


def _run(request: _Request, console: Console, folder: Path, began: float, check: Callable[[], None]) -> Summary:
    name = f"demo-{secrets.token_hex(3)}"
    plan = make_plan(name=name, orders=request.orders, pace=request.pace, seed=request.seed)
    broker = _without_password(request.broker_url) if request.broker_url else "Valkey, from its wheel"
    database = _without_password(request.database_url) if request.database_url else f"SQLite, in {folder}"
    _say(console, opening(plan, request.pace, broker=broker, database=database, ends=not request.serve))
    with Stage(
        folder=folder,
        name=name,
        pace=request.pace,
        seed=request.seed,
        database_url=request.database_url,
        broker_url=request.broker_url,
        has_console=request.serve,
        check=check,
    ) as stage:
        with console.status("Starting broker, database, receiver of callbacks, platform, worker and beat ..."):
            platform = stage.set_up()
        if stage.console is not None:
            _say(console, where_to_look(stage.console))
        with contextlib.closing(DemoRun(plan=plan, stage=stage, platform=platform, began=began)) as demo_run:
            is_done = demo_run.watch(console)
            # They finish what is under way, so that neither side changes during the comparison.
            stage.stop_ours()
            summary = demo_run.compare(timed_out=not is_done)
        _show(request, console, folder, summary, plan, stage)
        if stage.console is not None:
            stage.start_worker_and_beat()
            _keep_running(console, stage)
    return summary


def _show(request: _Request, console: Console, folder: Path, summary: Summary, plan: Plan, stage: Stage) -> None:
    _say(console, closing(summary))
    example = summary.cases[0].request_id if summary.cases else plan.orders[0].request_id
    shown = _without_password(stage.settings.database_dsn)
    next_steps = what_to_read_next(
        folder,
        database=shown,
        reconciler=_command_name(),
        account=plan.account,
        example=example,
        own_database=request.database_url is None,
    )
    _say(console, "\n" + next_steps)
    _say(console, verdict(summary, folder))
    if request.as_json:
        sys.stdout.write(json.dumps(to_json(summary), ensure_ascii=False) + "\n")
        sys.stdout.flush()


def _keep_running(console: Console, stage: Stage) -> None:
    """Leave all running until a signal comes. Raises ChildError where a program has ended by itself."""
    if stage.console is not None:
        _say(console, f"\nThe console is at {stage.console} still; worker and platform go on. Ctrl-C ends all of them.")
    with contextlib.suppress(_Interrupted):
        while True:
            stage.check()
            time.sleep(_CHECK_SECONDS)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*:)[^@]*@", r"\1PASSWORD@", url)


def _command_name() -> str:
    return sys.argv[0] if Path(sys.argv[0]).name == "reconciler" else "reconciler"


class _Interruption:
    """The handler of signals: it remembers the first one, which ends the demo where the demo looks for it."""

    def __init__(self) -> None:
        self._number: int | None = None

    def __call__(self, number: int) -> None:
        if self._number is None:
            self._number = number

    def check(self) -> None:
        """Raise _Interrupted where a signal has come."""
        if self._number is not None:
            raise _Interrupted(self._number)


def _leave(message: str) -> NoReturn:
    print(f"Error: {message}", file=sys.stderr)
    raise Exit(1)
