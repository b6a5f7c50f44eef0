"""The first page: whether orders are being reconciled, and what happened lately."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from flask import Blueprint, render_template, request, url_for

from worker.database.transactions import Database, is_transient
from worker.domain.back_off import may_query_at
from worker.domain.monitoring import Finding, check, drain_seconds
from worker.domain.plots import Plots, Span
from worker.domain.records.orders import Source
from worker.domain.records.overview import AccountOverview, Overview
from worker.domain.workers import is_served, is_ticking
from worker.runtime import accounts_by_sid, rules_of, sids_of, thresholds_of
from worker.settings import Settings
from worker.views.plots import read_plots
from worker.views.watching import Status, read_status
from worker.web.console.charts import charts_of
from worker.web.console.findings import page_of, sentence_of
from worker.web.console.formats import duration
from worker.web.console.languages import text
from worker.web.console.plots import draw, figure_text
from worker.web.console.words import outcome_word, word
from worker.web.shared_readings import KeptReading

_STATUS_SECONDS = 1.0
_PLOTS_SECONDS = 60.0
_PATIENCE_SECONDS = 0.03
"""Each part of the page waits so long for figures that are just being read; then it shows what there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Readings:
    status: KeptReading[Status]
    plots: dict[Span | None, KeptReading[Plots]]


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountLine:
    """What the overview shows of an account, beside its counts."""

    account: AccountOverview
    is_configured: bool
    is_served: bool | None
    """None where no worker runs: nobody can tell."""
    is_paused: bool
    is_backed_off: bool
    drain_seconds: float
    last_query: dict[str, object] = field(default_factory=dict)


def add_routes(routes: Blueprint, settings: Settings, database: Database, threads: Executor) -> None:
    """`/`, and its two parts, which refresh themselves. `threads` read their figures."""
    readings = _readings_of(settings, database, threads)

    def now_part() -> dict[str, object]:
        status = readings.status.latest(_PATIENCE_SECONDS)
        return {"status": status} if status is None else _shown(status, settings)

    def plots_part() -> dict[str, object]:
        wanted = _wanted_span()
        plots = readings.plots[wanted].latest(_PATIENCE_SECONDS)
        if plots is None:
            return {"plots": None, "span": wanted}
        charts = charts_of(plots, settings.zone, outcome_word, _query_path)
        drawn = [(chart, draw(chart)) for chart in charts]
        return {"plots": plots, "span": plots.span, "drawn": drawn, "figure": figure_text}

    @routes.get("/")
    def overview() -> str:
        return render_template("console/overview.html", spans=list(Span), **now_part(), **plots_part())

    @routes.get("/overview/now")
    def overview_now() -> str:
        return _render_part("console/overview_now.html", now_part)

    @routes.get("/overview/plots")
    def overview_plots() -> str:
        return _render_part("console/overview_plots.html", plots_part)


def _render_part(template: str, read: Callable[[], Mapping[str, object]]) -> str:
    """A part of the page by itself. A browser that refreshes it shows no answer but a good one: it says so, too, that
    nothing could be read."""
    try:
        part = read()
    except Exception as error:
        if not is_transient(error):
            raise
        return render_template("console/overview_away.html")
    return render_template(template, spans=list(Span), **part)


def _readings_of(settings: Settings, database: Database, threads: Executor) -> _Readings:
    sids, rules = sids_of(settings), rules_of(settings)
    return _Readings(
        status=KeptReading(partial(read_status, database, sids, rules), threads, least_seconds=_STATUS_SECONDS),
        plots={
            span: KeptReading(partial(read_plots, database, sids, rules, span), threads, least_seconds=_PLOTS_SECONDS)
            for span in (None, *Span)
        },
    )


def _query_path(query_id: int) -> str:
    return f"{url_for('console.overview')}queries/{query_id}"


def _wanted_span() -> Span | None:
    wanted = request.args.get("span")
    return next((span for span in Span if span == wanted), None)


def _shown(status: Status, settings: Settings) -> dict[str, object]:
    overview, thresholds = status.overview, thresholds_of(settings)
    found = check(overview, thresholds, rules_of(settings))
    names = accounts_by_sid(settings)
    return {
        "status": status,
        "now": overview.now,
        "findings": [(finding, sentence_of(finding), page_of(finding)) for finding in found],
        "accounts": _lines(status, settings, is_alive=not _has_no_tick(found)),
        "workers": [
            (row, is_ticking([row], overview.now, thresholds.tick_seconds), _ago(row.last_tick_at, overview.now))
            for row in overview.workers
        ],
        "by_source": _by_source,
        "slots": [
            (names.get(slot["account_sid"], []), slot, _next_query(slot, names, overview)) for slot in status.slots
        ],
    }


def _next_query(slot: Mapping[str, Any], names: Mapping[str, Sequence[str]], overview: Overview) -> float | None:
    """In how many seconds a slot may carry a query; None while all of its accounts are paused."""
    own = names.get(slot["account_sid"], ())
    at = may_query_at(slot["due_at"], [one.state for one in overview.accounts if one.account in own], overview.now)
    return None if at is None else max(0.0, (at - overview.now).total_seconds())


def _lines(status: Status, settings: Settings, *, is_alive: bool) -> list[AccountLine]:
    overview, rules, tick_seconds = status.overview, rules_of(settings), thresholds_of(settings).tick_seconds
    return [
        AccountLine(
            account=one,
            is_configured=one.account_sid is not None,
            is_served=is_served(overview.workers, one.account, overview.now, tick_seconds) if is_alive else None,
            is_paused=one.state.is_paused(overview.now),
            is_backed_off=one.state.is_backed_off(overview.now),
            drain_seconds=drain_seconds(overview.accounts, one, overview.now, rules) if one.due else 0.0,
            last_query=status.last_queries[one.account] or {},
        )
        for one in overview.accounts
    ]


def _has_no_tick(found: Sequence[Finding]) -> bool:
    return any(finding.name == "no_tick" for finding in found)


def _ago(time: datetime | None, now: datetime) -> str | None:
    return None if time is None else duration(max(0.0, (now - time).total_seconds()))


def _by_source(counts: Mapping[str, int]) -> str:
    by = [
        text("%(count)s by %(source)s", count=f"{count:,}", source=_source_word(source))
        for source, count in sorted(counts.items())
    ]
    return text(", ").join(by) or text("none")


def _source_word(source: str) -> str:
    return word(Source(source)) if source in list(Source) else source
