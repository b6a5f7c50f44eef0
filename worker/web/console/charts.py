"""The charts of the overview: which figures of `Plots` each one shows, and its words."""

from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from worker.domain.records.orders import Source
from worker.domain.watching.plots import DELAY_LIMITS, Plots, Span
from worker.web.console.languages import text
from worker.web.console.plots import Chart, Level, Series
from worker.words import N_

_TICK_MINUTES = {Span.HOUR: 15, Span.DAY: 360}
_FEWEST_TICKS = 2
_DELAY_NAMES = (*(N_("1 min"), N_("2 min"), N_("5 min"), N_("10 min"), N_("30 min"), N_("1 h"), N_("6 h"), N_("24 h")),)
_SOURCES = {
    Source.CALLBACK.value: ("callback", N_("by callback")),
    Source.QUERY.value: ("query", N_("by query")),
    Source.OPERATOR.value: ("operator", N_("by hand")),
}
_OTHERWISE = ("other", N_("otherwise"))

Words = Callable[[str], str]
"""A stored word, as a person reads it."""


def charts_of(plots: Plots, zone: ZoneInfo, words: Words, query_link: Callable[[int], str]) -> list[Chart]:
    """All of them, in the language of the request. Times are shown in `zone`."""
    return [
        _states(plots, zone),
        _backlog(plots, zone),
        _delays(plots),
        _budget(plots, zone),
        _queries(plots, zone, words, query_link),
    ]


def _states(plots: Plots, zone: ZoneInfo) -> Chart:
    passed = plots.passed
    return Chart(
        key="states",
        title=text("Orders submitted and settled"),
        description=text("Bars: orders that succeeded and failed. Line: orders that were submitted."),
        across=text("From"),
        labels=_times(plots.starts, zone),
        ticks=_ticks(plots, zone),
        bars=[
            Series(name=text("Succeeded"), kind="succeeded", values=passed.succeeded),
            Series(name=text("Failed"), kind="failed", values=passed.failed),
        ],
        line=Series(name=text("Orders submitted"), kind="submitted", values=passed.submitted),
        note=text(
            "Submitted: %(submitted)s. Succeeded: %(succeeded)s. Failed: %(failed)s.",
            submitted=f"{sum(passed.submitted):,}",
            succeeded=f"{sum(passed.succeeded):,}",
            failed=f"{sum(passed.failed):,}",
        ),
    )


def _backlog(plots: Plots, zone: ZoneInfo) -> Chart:
    return Chart(
        key="backlog",
        title=text("Backlog"),
        description=text("Orders without a result at each time. Line: those that are due now."),
        across=text("From"),
        labels=_times(plots.starts, zone),
        ticks=_ticks(plots, zone),
        bars=[Series(name=text("Pending"), kind="pending", values=plots.backlog)],
        level=Level(name=text("Due now"), kind="due", value=plots.due),
        note=text("Pending now: %(pending)s. Due now: %(due)s.", pending=f"{plots.pending:,}", due=f"{plots.due:,}"),
    )


def _delays(plots: Plots) -> Chart:
    known = {source: values for source, values in plots.delays.items() if source in _SOURCES}
    others = [values for source, values in plots.delays.items() if source not in _SOURCES]
    bars = [
        Series(name=text(words), kind=kind, values=known.get(source, [0] * (len(DELAY_LIMITS) + 1)))
        for source, (kind, words) in _SOURCES.items()
    ]
    if others:
        bars.append(
            Series(name=text(_OTHERWISE[1]), kind=_OTHERWISE[0], values=[sum(one) for one in zip(*others, strict=True)])
        )
    count = sum(sum(values) for values in plots.delays.values())
    return Chart(
        key="delays",
        title=text("From submission to the final state"),
        description=text("How long the orders took that were settled last, and what settled them."),
        across=text("Up to"),
        labels=[*(text(name) for name in _DELAY_NAMES), text("longer")],
        ticks=range(len(_DELAY_NAMES) + 1),
        bars=bars,
        note=text("Of the last %(count)s settled orders.", count=f"{count:,}"),
    )


def _budget(plots: Plots, zone: ZoneInfo) -> Chart:
    full = [round(orders / plots.batch_size, 2) for orders in plots.query_orders]
    sent, orders = sum(plots.queries), sum(plots.query_orders)
    fill = orders / (sent * plots.batch_size) if sent else 0.0
    return Chart(
        key="budget",
        title=text("Use of the budget"),
        description=text("Queries that were sent; the dark part is how full they were. Line: what the limit allows."),
        across=text("From"),
        labels=_times(plots.starts, zone),
        ticks=_ticks(plots, zone),
        bars=[
            Series(name=text("Filled with orders"), kind="full", values=full),
            Series(
                name=text("Empty places"),
                kind="rest",
                values=[max(0.0, round(one - part, 2)) for one, part in zip(plots.queries, full, strict=True)],
            ),
        ],
        told=[
            Series(name=text("Queries sent"), kind="full", values=plots.queries),
            Series(name=text("Orders in them"), kind="full", values=plots.query_orders),
        ],
        level=Level(name=text("Allowed"), kind="allowed", value=plots.allowed),
        note=text(
            "Queries: %(sent)s. Orders in them: %(orders)s, %(fill)s of the places.",
            sent=f"{sent:,}",
            orders=f"{orders:,}",
            fill=f"{fill:.0%}",
        ),
    )


def _queries(plots: Plots, zone: ZoneInfo, words: Words, query_link: Callable[[int], str]) -> Chart:
    sent = plots.last_queries
    labels = [f"{one.sent_at.astimezone(zone):%H:%M:%S} {words(one.outcome)}" for one in sent]
    return Chart(
        key="queries",
        title=text("The last queries"),
        description=text("A bar for each query: how many orders it held, coloured by how it ended."),
        across=text("Query"),
        labels=labels,
        ticks=(),
        bars=[Series(name=text("Orders"), kind="answered", values=[one.order_count for one in sent])],
        links=[query_link(one.id) for one in sent],
        kinds=[f"outcome {one.outcome}" for one in sent],
        kind_names=[(words(outcome), f"outcome {outcome}") for outcome in dict.fromkeys(one.outcome for one in sent)],
        note="" if sent else text("No query was sent yet."),
    )


def _times(starts: Sequence[datetime], zone: ZoneInfo) -> list[str]:
    return [f"{start.astimezone(zone):%H:%M}" for start in starts]


def _ticks(plots: Plots, zone: ZoneInfo) -> list[int]:
    """The bars at even hours or quarters of an hour; evenly spaced ones in a time zone that has none of these."""
    local = [start.astimezone(zone) for start in plots.starts]
    step = _TICK_MINUTES[plots.span]
    even = [bar for bar, time in enumerate(local) if (time.hour * 60 + time.minute) % step == 0]
    return even if len(even) >= _FEWEST_TICKS else list(range(0, len(local), max(1, len(local) // 4)))
