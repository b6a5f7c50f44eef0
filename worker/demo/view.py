"""What a person sees while the demo runs: a live picture in a terminal, elsewhere a line every few seconds."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.demo.readings import Progress, QueryLine
from worker.domain.records.orders import OrderState, Source

_BETWEEN_LINES_SECONDS = 4.0
_BAR_WIDTH = 36
_COLOURS = {
    OrderState.PENDING: "yellow",
    OrderState.SUCCEEDED: "green",
    OrderState.FAILED: "red",
    OrderState.UNRESOLVED: "magenta",
}


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
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Lines(console).show
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda moment: live.update(picture_of(moment), refresh=True)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def show(self, moment: Moment) -> None:
        if moment.seconds >= self._next:
            self._next = moment.seconds + _BETWEEN_LINES_SECONDS
            self._console.print(line_of(moment), highlight=False, soft_wrap=True, markup=False)


def line_of(moment: Moment) -> str:
    """One moment as one line of plain text."""
    progress = moment.progress
    states = ", ".join(f"{count} {state.value}" for state, count in _in_order(progress) if count)
    parts = [
        f"{moment.seconds:3.0f} s  {states or 'no orders yet'}",
        f"queries: {progress.queries}, {budget_words(progress)}",
        f"callbacks: {moment.callbacks.get('sent', 0)}",
    ]
    answered = next((query for query in progress.latest if query.outcome != "in_flight"), None)
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


def answer_words(query: QueryLine) -> str:
    """The outcome of a query, in words."""
    polled = f"{query.order_count} polled"
    if query.settled is None:
        return f"{polled}, {query.outcome}"
    return f"{polled}, {query.settled} settled, {query.pending} pending, {query.absent} absent"


def picture_of(moment: Moment) -> RenderableType:
    """One moment as a picture of a few panels."""
    return Group(
        Panel(_orders(moment), title=f"Orders by state, {moment.seconds:.0f} s", title_align="left"),
        Panel(_budget(moment), title=f"Budget: one query per {moment.window:g} s", title_align="left"),
        Panel(_answers(moment.progress), title="Last answers of the platform", title_align="left"),
        Text("Ctrl-C ends the demo and leaves nothing running.", style="dim"),
    )


def _in_order(progress: Progress) -> list[tuple[OrderState, int]]:
    return [(state, progress.states.get(state, 0)) for state in _COLOURS]


def _orders(moment: Moment) -> Table:
    table = Table.grid(padding=(0, 2))
    for state, count in _in_order(moment.progress):
        colour = _COLOURS[state]
        bar = ProgressBar(
            total=moment.orders, completed=count, width=_BAR_WIDTH, complete_style=colour, finished_style=colour
        )
        table.add_row(Text(state.value, style=colour), Text(f"{count:5d}"), bar)
    by = moment.progress.settled_by
    table.add_row("", Text(f"{moment.placed:5d}"), "enqueued so far")
    table.add_row("", Text(f"{by.get(Source.CALLBACK, 0):5d}"), "settled by a callback")
    table.add_row("", Text(f"{by.get(Source.QUERY, 0):5d}"), "settled by a query")
    table.add_row("", Text(f"{moment.progress.attention:5d}"), "for a person to look at")
    return table


def _budget(moment: Moment) -> Table:
    table = Table.grid(padding=(0, 2))
    sent, lost = moment.callbacks.get("sent", 0), moment.callbacks.get("lost", 0)
    table.add_row("next query", Text(budget_words(moment.progress), style="bold"))
    table.add_row("queries so far", str(moment.progress.queries))
    table.add_row("callbacks", f"{sent} sent, {lost} lost on their way")
    return table


def _answers(progress: Progress) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for heading in ("query", "polled", "settled", "pending", "absent", "outcome"):
        table.add_column(heading, justify="left" if heading == "outcome" else "right")
    for query in progress.latest:
        counts = (query.order_count, query.settled, query.pending, query.absent)
        shown = ["" if count is None else str(count) for count in counts]
        table.add_row(str(query.id), *shown, query.outcome)
    return table
