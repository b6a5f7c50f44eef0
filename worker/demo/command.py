"""Run `reconciler demo`: place and enqueue orders, and show their progress until all are decided.

A terminal shows the progress as a live picture. If the output is not a terminal, a line is printed every few seconds.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from typer import Exit

from worker.adapters.child_processes import ChildError, stop_signals_handled
from worker.database.transactions import Database
from worker.demo.orders import MOST_ORDERS, Fate, PlannedOrder, Request, in_words, make_plan, summarise, verdict
from worker.demo.stage import ORDERS_QUEUE, SID, Stage
from worker.domain.records.orders import OrderState, Source
from worker.settings.rules import rules_of
from worker.views.orders import OrderSearch, find_orders
from worker.views.queries import Row, next_slot_at, recent_queries

_LIMIT_SECONDS = 83.0
"""The longest time until all orders are decided, counted from the moment when all programs run."""
_CHECK_SECONDS = 0.5
_LIST_SIZE = 100
_ALL_QUERIES: dict[str, Any] = {"account": None, "outcomes": (), "since": None, "after": None, "most": 1000}
_ANSWERS_SHOWN = 6
_READ_SECONDS = 0.4
_BETWEEN_LINES_SECONDS = 4.0
_COLOURS = {
    OrderState.PENDING: "yellow",
    OrderState.SUCCEEDED: "green",
    OrderState.FAILED: "red",
    OrderState.UNRESOLVED: "magenta",
}
_ANSWERED = "{order_count} polled, {settled_count} settled, {pending_count} pending, {absent_count} absent"
_NOT_ANSWERED = "{order_count} polled, {outcome}"


def demo(request: Request) -> None:
    """Watch how orders are reconciled, with a simulated platform, a real worker and beat, and a summary to check.

    The demo needs no service and takes about a minute. It leaves nothing running, unless --serve is given. The exit
    status is 0 if every order agrees with the platform's truth and the platform saw no violation of its limit.

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
            # The exit status names the first signal, because this signal ended the demo.
            raise Exit(128 + signals[0]) from None
        except ChildError as error:
            raise SystemExit(f"Error: {error}") from None
    raise Exit(0 if is_good else 1)


def _run(request: Request, out: TextIO, folder: Path, signals: Sequence[int]) -> bool:
    plan, console, say = make_plan(request), Console(file=out), partial(print, file=out, flush=True)
    say(_opening(request, plan, folder))
    with closing(Stage(request, folder=folder, signals=signals)) as stage:
        with console.status("Starting broker, database, receiver of callbacks, platform, worker and beat ..."):
            address = stage.set_up()
        if address:
            say(f"  Console: {address}")
            say("  The address holds the key of this run: who has it sees all pages, and changes nothing.\n")
        moment = _watch(console, stage, plan)
        # Read the platform's truth after our orders. So if an order settles between these two readings, it counts as
        # not yet settled here, not as wrong.
        summary = summarise(stage.ask_platform("truth")["orders"], moment.orders, stage.ask_platform("record"))
        summary |= {"seconds": round(time.monotonic() - stage.began, 1), "timed_out": moment.seconds > _LIMIT_SECONDS}
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
    """The text that the demo prints first. It describes the planned orders and the programs."""
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
    """The text that names commands and files from which people can learn more about this run."""
    called = sys.argv[0] if Path(sys.argv[0]).name == "reconciler" else "reconciler"
    return f"""
What to read next
  The database can be read with the same commands as in production:
    export RECONCILER_DATABASE_URL={stage.settings.database_dsn}
    {called} orders --summary
    {called} orders --attention any
    {called} order {example}
  Logs, and each query as the platform saw it (arrivals.jsonl): {folder}
  The project's README.md shows how to run this beside a billing system. To clean up: rm -r {folder}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """The progress of the orders at one moment."""

    seconds: float
    """Seconds since the moment when all programs ran."""
    orders: Sequence[Row]
    """The orders that the worker has taken in."""
    queries: Sequence[Row]
    """The queries, newest first."""
    next_query_in: float | None
    """Seconds until the next query may be sent; 0 or less if it may be now. None before the worker's first tick."""
    callbacks: Mapping[str, int]
    """The number of callbacks in each state."""

    def count(self, state: OrderState) -> int:
        """The number of orders in a state."""
        return sum(order["state"] is state for order in self.orders)


def _watch(console: Console, stage: Stage, plan: Sequence[PlannedOrder]) -> Moment:
    """Place the orders, enqueue them, and show their progress, until all are decided or the time is up.

    Return the progress as it was last shown.
    """
    lists = [plan[start : start + _LIST_SIZE] for start in range(0, len(plan), _LIST_SIZE)]
    stuck, next_line = sum(order.fate is Fate.STUCK for order in plan), 0.0
    is_live = console.is_terminal and not console.is_dumb_terminal
    with (
        Database(stage.settings.database_dsn, pool_size=1) as database,
        Live(console=console, auto_refresh=False) if is_live else nullcontext() as live,
    ):
        while True:
            if lists:
                _place_and_enqueue(stage, lists.pop(0))
            moment = _read_moment(stage, database)
            if live:
                live.update(picture_of(moment, len(plan), stage.request.window), refresh=True)
            elif moment.seconds >= next_line:
                next_line = moment.seconds + _BETWEEN_LINES_SECONDS
                print(line_of(moment), file=console.file, flush=True)
            is_decided = len(moment.orders) == len(plan) and moment.count(OrderState.PENDING) == stuck
            if (is_decided and not moment.callbacks.get("waiting")) or moment.seconds > _LIMIT_SECONDS:
                return moment
            stage.check()
            time.sleep(_READ_SECONDS)


def _place_and_enqueue(stage: Stage, orders: Sequence[PlannedOrder]) -> None:
    stage.ask_platform("orders", {"orders": [asdict(order.placing) for order in orders]})
    submissions = [order.submission for order in orders]
    # Send the task by its name, without any import from the worker, as a billing system does.
    stage.celery.send_task("reconciler.enqueue_orders", args=[submissions], queue=ORDERS_QUEUE, ignore_result=True)


def _read_moment(stage: Stage, database: Database) -> Moment:
    wanted = OrderSearch(is_oldest_first=True)
    with database.read() as connection:
        due_at = next_slot_at(connection, SID, rules_of(stage.settings))
        return Moment(
            seconds=time.monotonic() - stage.began,
            orders=find_orders(connection, wanted, most=MOST_ORDERS).rows,
            queries=recent_queries(connection, **_ALL_QUERIES).rows,
            next_query_in=None if due_at is None else (due_at - database.now(connection)).total_seconds(),
            callbacks=stage.ask_platform("callbacks"),
        )


def line_of(moment: Moment) -> str:
    """The progress at a moment, as one line of plain text."""
    states = ", ".join(f"{count} {state.value}" for state in _COLOURS if (count := moment.count(state)))
    words = f"{moment.seconds:3.0f} s  {states or 'no orders yet'} | queries: {len(moment.queries)}, "
    words += f"{budget_words(moment)} | callbacks: {moment.callbacks.get('sent', 0)}"
    answers = [query for query in moment.queries if query["outcome"] != "in_flight"]
    return f"{words} | last answer: {answer_words(answers[0])}" if answers else words


def budget_words(moment: Moment) -> str:
    """The time when the next query may be sent, in words."""
    if moment.queries and moment.queries[0]["outcome"] == "in_flight":
        return "a query is under way"
    if moment.next_query_in is None:
        return "the budget's first window has not begun"
    if moment.next_query_in <= 0:
        return "next as soon as an order is due"
    return f"next in {moment.next_query_in:.1f} s at the earliest"


def answer_words(query: Row) -> str:
    """The outcome of a query, in words."""
    return (_NOT_ANSWERED if query["settled_count"] is None else _ANSWERED).format(**query)


def picture_of(moment: Moment, orders: int, window: float) -> RenderableType:
    """The progress at a moment, as a picture: a bar for each state of orders, counts, and the last answers."""
    table = Table.grid(padding=(0, 2))
    for state, colour in _COLOURS.items():
        count = moment.count(state)
        bar = ProgressBar(total=orders, completed=count, width=36, complete_style=colour)
        table.add_row(Text(state.value, style=colour), f"{count:5d}", bar)
    settled_by = Counter(order["settled_by"] for order in moment.orders)
    told = {
        "enqueued so far": len(moment.orders),
        "settled by a callback": settled_by[Source.CALLBACK],
        "settled by a query": settled_by[Source.QUERY],
        "for a person to look at": sum(order["attention"] is not None for order in moment.orders),
        "callbacks lost on their way": moment.callbacks.get("lost", 0),
    }
    for what, count in told.items():
        table.add_row("", f"{count:5d}", what)
    budget = f"Budget: one query per {window:g} s; {len(moment.queries)} so far, {budget_words(moment)}"
    answers = (f"Query {query['id']}: {answer_words(query)}" for query in moment.queries[:_ANSWERS_SHOWN])
    end = f"{moment.seconds:.0f} s. Ctrl-C ends the demo and leaves nothing running."
    return Group(table, Text("\n".join([budget, *answers, end])))
