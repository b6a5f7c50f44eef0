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
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from typer import Exit

from worker.adapters.child_processes import ChildError, stop_signals_handled
from worker.demo.plan import Plan, Request, make_plan
from worker.demo.report import as_json as to_json
from worker.demo.report import closing, opening, verdict, what_to_read_next, where_to_look
from worker.demo.run import DemoRun
from worker.demo.stage import DemoError, Stage
from worker.demo.summary import Summary

_CHECK_SECONDS = 0.5


class _Interrupted(Exception):
    """A signal ends the demo."""

    def __init__(self, number: int) -> None:
        self.number = number


def demo(request: Request) -> None:
    """Watch orders being reconciled: a simulated platform, a real worker and beat, and a summary to check.

    It needs no service, takes about a minute and leaves nothing running, unless --serve is given. Status 0: every
    order agrees with the platform's truth, and the platform saw no violation of its limit.

    Examples:
      reconciler demo
      reconciler demo --orders 200 --json
    """
    began = time.monotonic()
    console = Console(stderr=request.as_json)
    folder = Path(tempfile.mkdtemp(prefix="reconciler-demo-"))
    signals: list[int] = []

    def check() -> None:
        # The first one ends the demo.
        if signals:
            raise _Interrupted(signals[0])

    try:
        with stop_signals_handled(signals.append):
            summary = _run(request, console, folder, began, check)
    except _Interrupted as interrupted:
        _say(console, f"\nStopped: nothing is left running. What there was is in {folder}")
        raise Exit(128 + interrupted.number) from None
    except (ChildError, DemoError) as error:
        if not any(folder.glob("*.log")):
            shutil.rmtree(folder)
        _leave(str(error))
    raise Exit(0 if summary.is_good else 1)


def _run(request: Request, console: Console, folder: Path, began: float, check: Callable[[], None]) -> Summary:
    name = f"demo-{secrets.token_hex(3)}"
    plan = make_plan(name=name, orders=request.orders, window=request.window, seed=request.seed)
    broker = _without_password(request.broker_url) if request.broker_url else "Valkey, from its wheel"
    database = _without_password(request.database_url) if request.database_url else f"SQLite, in {folder}"
    _say(console, opening(plan, request.window, broker=broker, database=database, ends=not request.serve))
    with Stage(request, folder=folder, name=name, check=check) as stage:
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


def _show(request: Request, console: Console, folder: Path, summary: Summary, plan: Plan, stage: Stage) -> None:
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


def _leave(message: str) -> NoReturn:
    print(f"Error: {message}", file=sys.stderr)
    raise Exit(1)
