"""`reconciler demo`: the command."""

import json
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TextIO

from rich.console import Console
from typer import Exit

from worker.adapters.child_processes import ChildError, stop_signals_handled
from worker.demo.plan import Fate, PlannedOrder, Request, make_plan
from worker.demo.run import LIMIT_SECONDS, watch
from worker.demo.stage import Stage
from worker.demo.summary import in_words, summarise, verdict

_CHECK_SECONDS = 0.5


def demo(request: Request) -> None:
    """Watch orders being reconciled: a simulated platform, a real worker and beat, and a summary to check.

    It needs no service, takes about a minute and leaves nothing running, unless --serve is given. Status 0: every
    order agrees with the platform's truth, and the platform saw no violation of its limit.

    Examples:
      reconciler demo
      reconciler demo --orders 200 --json
    """
    out, folder = sys.stderr if request.as_json else sys.stdout, Path(tempfile.mkdtemp(prefix="reconciler-demo-"))
    signals: list[int] = []
    with stop_signals_handled(signals.append):
        try:
            is_good = _run(request, out, folder, signals)
        except KeyboardInterrupt:
            print(f"\nStopped: nothing is left running. What there was is in {folder}", file=out)
            # The first one ends the demo.
            raise Exit(128 + signals[0]) from None
        except ChildError as error:
            raise SystemExit(f"Error: {error}") from None
    raise Exit(0 if is_good else 1)


def _run(request: Request, out: TextIO, folder: Path, signals: Sequence[int]) -> bool:
    name, say = f"demo-{secrets.token_hex(3)}", partial(print, file=out, flush=True)
    plan, console = make_plan(request, name), Console(file=out)
    say(_opening(request, plan, folder))
    with closing(Stage(request, folder=folder, name=name, signals=signals)) as stage:
        with console.status("Starting broker, database, receiver of callbacks, platform, worker and beat ..."):
            address = stage.set_up()
        if address:
            say(f"  Console: {address}")
            say("  The address holds the key of this run: who has it sees all pages, and changes nothing.\n")
        moment = watch(console, stage, plan)
        # The truth is read after the orders: what settles meanwhile is late here, and not wrong.
        summary = summarise(stage.ask_platform("truth")["orders"], moment.orders, stage.ask_platform("record"))
        summary |= {"seconds": round(time.monotonic() - stage.began, 1), "timed_out": moment.seconds > LIMIT_SECONDS}
        if not address:
            stage.close()
        say(in_words(summary))
        say(_what_to_read_next(stage, folder, plan[0].submission["request_id"]))
        say(verdict(summary, folder))
        if request.as_json:
            print(json.dumps(summary), flush=True)
        if address:
            say(f"\nThe console is at {address} still; worker and platform go on. Ctrl-C ends all of them.")
            with suppress(KeyboardInterrupt):
                while True:
                    stage.check()
                    time.sleep(_CHECK_SECONDS)
    return bool(summary["good"])


def _opening(request: Request, plan: Sequence[PlannedOrder], folder: Path) -> str:
    """What is about to happen."""
    fates = Counter(order.fate for order in plan)
    end = "then goes on until Ctrl-C" if request.serve else "ends by itself"
    lost, stuck = fates[Fate.CALLBACK_LOST] + fates[Fate.WRONG_AMOUNT], fates[Fate.STUCK]
    return f"""\
Recharge reconciler: the demo. It takes about a minute and {end}.

  {len(plan):,} recharge orders are placed at a simulated platform, and enqueued with a real Celery
  worker as a billing system does it: by task, in lists. For most of them the platform's
  callback comes, over HTTP, to `reconciler serve`. For {lost} it is lost: only a query can find
  their result, 100 orders in one query, and never two queries within {request.window:g} s (in real
  life within 60 s).
  {stuck} orders recharge for ever, one is unknown to the platform, and for one more is
  charged than was expected. At the end each order is compared with the platform's truth.

  Broker: Valkey, from its wheel. Database: SQLite, in {folder}.
  Platform, receiver, worker and beat: processes of their own. Ctrl-C ends all of them.
"""


def _what_to_read_next(stage: Stage, folder: Path, example: str) -> str:
    """Where a person can read more."""
    called = sys.argv[0] if Path(sys.argv[0]).name == "reconciler" else "reconciler"
    return f"""
What to read next
  The database can be read with the same commands as in production:
    export RECONCILER_DATABASE_URL={stage.settings.database_dsn}
    {called} orders --summary
    {called} orders --attention any
    {called} order {example} --account {stage.name}
  Logs, and each query as the platform saw it (arrivals.jsonl): {folder}
  The project's README.md shows how to run this beside a billing system. To clean up: rm -r {folder}
"""
