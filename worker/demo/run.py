"""The run of the demo: orders are placed and enqueued, and their progress is shown until all is done.

A person sees a live picture in a terminal, elsewhere a line every few seconds.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.database.transactions import Database
from worker.demo.plan import Plan, PlannedOrder
from worker.demo.readings import PlatformControl, Progress, read_orders, read_progress
from worker.demo.stage import ORDERS_QUEUE, Stage
from worker.demo.summary import Summary, summarise
from worker.domain.records.orders import OrderState, Source
from worker.settings.rules import rules_of
from worker.views.queries import Row

_BETWEEN_LINES_SECONDS = 4.0
_BAR_WIDTH = 36
_COLOURS = {
    OrderState.PENDING: "yellow",
    OrderState.SUCCEEDED: "green",
    OrderState.FAILED: "red",
    OrderState.UNRESOLVED: "magenta",
}
LIMIT_SECONDS = 83.0
"""From the demo's start. What follows (an orderly stop, the comparison) fits into the rest of 90 s."""

_READ_SECONDS = 0.4


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What there is to show at one moment."""

    seconds: float
    """Since the demo began."""
    orders: int
    """How many there will be."""
    placed: int
    """How many were enqueued so far."""
    progress: Progress
    callbacks: Mapping[str, int]
    window: float


@contextmanager
def shown_on(console: Console) -> Iterator[Callable[[Moment], None]]:
    """Yields what shows a moment: a live picture on a terminal that can show it, lines elsewhere."""
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda moment: live.update(picture_of(moment), refresh=True)
        return
    next_line = 0.0

    def show(moment: Moment) -> None:
        nonlocal next_line
        if moment.seconds >= next_line:
            next_line = moment.seconds + _BETWEEN_LINES_SECONDS
            console.print(line_of(moment), highlight=False, soft_wrap=True, markup=False)

    yield show


def line_of(moment: Moment) -> str:
    """One moment as one line of plain text."""
    progress = moment.progress
    states = ", ".join(f"{count} {state.value}" for state in _COLOURS if (count := progress.states.get(state, 0)))
    parts = [
        f"{moment.seconds:3.0f} s  {states or 'no orders yet'}",
        f"queries: {progress.queries}, {budget_words(progress)}",
        f"callbacks: {moment.callbacks.get('sent', 0)}",
    ]
    answered = next((query for query in progress.latest if query["outcome"] != "in_flight"), None)
    if answered:
        parts.append(f"last answer: {answer_words(answered)}")
    return " | ".join(parts)


def budget_words(progress: Progress) -> str:
    """When the next query may be sent, in words."""
    if progress.is_querying:
        return "a query is under way"
    if progress.next_query_in is None:
        return "the budget's first window has not begun"
    if progress.next_query_in <= 0:
        return "next as soon as an order is due"
    return f"next in {progress.next_query_in:.1f} s at the earliest"


def answer_words(query: Row) -> str:
    """The outcome of a query, in words."""
    polled = f"{query['order_count']} polled"
    if query["settled_count"] is None:
        return f"{polled}, {query['outcome']}"
    counts = (f"{query[f'{word}_count']} {word}" for word in ("settled", "pending", "absent"))
    return ", ".join([polled, *counts])


def picture_of(moment: Moment) -> RenderableType:
    """One moment as a picture: a bar for each state, and what the line says."""
    progress, table = moment.progress, Table.grid(padding=(0, 2))
    for state, colour in _COLOURS.items():
        count = progress.states.get(state, 0)
        bar = ProgressBar(total=moment.orders, completed=count, width=_BAR_WIDTH, complete_style=colour)
        table.add_row(Text(state.value, style=colour), f"{count:5d}", bar)
    told = {
        "enqueued so far": moment.placed,
        "settled by a callback": progress.settled_by.get(Source.CALLBACK, 0),
        "settled by a query": progress.settled_by.get(Source.QUERY, 0),
        "for a person to look at": progress.attention,
        "callbacks lost on their way": moment.callbacks.get("lost", 0),
    }
    for what, count in told.items():
        table.add_row("", f"{count:5d}", what)
    budget = f"Budget: one query per {moment.window:g} s; {progress.queries} so far, {budget_words(progress)}"
    answers = (f"Query {query['id']}: {answer_words(query)}" for query in progress.latest)
    end = f"{moment.seconds:.0f} s. Ctrl-C ends the demo and leaves nothing running."
    return Group(table, Text("\n".join([budget, *answers, end])))


@dataclass(kw_only=True, eq=False)
class DemoRun:
    """Places and enqueues the orders, and watches them. `began` is the demo's start on the monotonic clock."""

    plan: Plan
    stage: Stage
    platform: PlatformControl
    began: float

    def __post_init__(self) -> None:
        self._database = Database(self.stage.settings.database_dsn, pool_size=1)
        self._rules = rules_of(self.stage.settings)
        self._placed = 0

    def watch(self, console: Console) -> bool:
        """Place, enqueue and watch. Returns whether all was done before the time was up."""
        lists = self._lists_in_time()
        with shown_on(console) as show:
            while True:
                for orders in next(lists, ()):
                    self._place_and_enqueue(orders)
                moment = self._read_moment()
                show(moment)
                if self._is_done(moment):
                    return True
                if moment.seconds > LIMIT_SECONDS:
                    return False
                self.stage.check()
                time.sleep(_READ_SECONDS)

    def compare(self, *, timed_out: bool) -> Summary:
        """Compare every order with the platform's truth."""
        return summarise(
            self.platform.truth(),
            read_orders(self._database, self.plan.account),
            self.platform.record(),
            window=self.stage.window,
            seconds=time.monotonic() - self.began,
            timed_out=timed_out,
        )

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.close()

    def _lists_in_time(self) -> Iterator[list[tuple[PlannedOrder, ...]]]:
        """At each call, the lists that became due since the last call."""
        start, lists = time.monotonic(), list(self.plan.lists)
        enqueued = 0
        while enqueued < len(lists):
            due = min(len(lists), int((time.monotonic() - start) / (self.stage.window / 4)) + 1)
            yield lists[enqueued:due]
            enqueued = due

    def _place_and_enqueue(self, orders: tuple[PlannedOrder, ...]) -> None:
        """By the task's name, as a billing system does: nothing of the worker is imported for that."""
        self.platform.place(orders)
        submissions = [order.submission(self.plan.account) for order in orders]
        self.stage.celery.send_task(
            "reconciler.enqueue_orders", args=[submissions], queue=ORDERS_QUEUE, ignore_result=True
        )
        self._placed += len(orders)

    def _read_moment(self) -> Moment:
        return Moment(
            seconds=time.monotonic() - self.began,
            orders=len(self.plan.orders),
            placed=self._placed,
            progress=read_progress(self._database, self.plan.account, self.stage.account_sid, self._rules),
            callbacks=self.platform.callbacks(),
            window=self.stage.window,
        )

    def _is_done(self, moment: Moment) -> bool:
        progress = moment.progress
        return (
            progress.orders == len(self.plan.orders)
            and progress.final == self.plan.settling
            and progress.states.get(OrderState.UNRESOLVED, 0) > 0
            and not moment.callbacks.get("waiting", 0)
        )
