"""The overview, which shows whether orders are being reconciled, and the list of queries."""

from collections.abc import Callable, Mapping
from functools import partial

from flask import Blueprint, abort, render_template

from worker.database.transactions import Database, is_transient
from worker.domain.monitoring.findings import check, shared_budgets
from worker.domain.monitoring.worker_processes import is_ticking, polled_accounts
from worker.domain.records import csv_columns
from worker.domain.records.orders import Source
from worker.domain.records.queries import OUTCOMES
from worker.settings import Settings
from worker.settings.rules import rules_of, sids_of, thresholds_of
from worker.views.plots import read_plots
from worker.views.queries import read_query, recent_queries
from worker.views.status import Status, read_status
from worker.web.console.lists import List, add_list, storable
from worker.web.console.plots import charts_of, frame
from worker.web.console.translations import SKIN, text, word_of
from worker.web.shared_readings import Apart
from worker.words.sentences import finding_in_sentences

_STATUS_SECONDS = 1.0
_PLOTS_SECONDS = 60.0
_SHARE = 20.0
"""Figures are kept for this many times as long as reading them took. So reading them takes at most a twentieth of one
connection's time."""
_PATIENCE_SECONDS = 0.03
"""How long each part of the page waits for figures that are being read. After that, it shows the last figures."""


_QUERIES = List(
    name="queries",
    columns=csv_columns.QUERIES,
    narrow=lambda filters: partial(
        recent_queries,
        account=filters.account(),
        outcomes=filters.one_of("outcome", OUTCOMES),
        since=filters.since(),
    ),
    shown=lambda _: {"outcomes": OUTCOMES},
)

# For each kind of finding, the page to continue with: its path, relative to the path of the overview.
_PAGES = {
    "attention": "attention",
    "backlog": "orders?state=pending",
    "polled_alone": "attention?tab=account",
    "outage": "queries",
    "back_off": "queries",
    "too_frequent": "queries",
    "nothing_asked": "queries",
    "endpoint_stopped": "notifications",
    "endpoint_failing": "notifications",
    "endpoint_missing": "notifications",
    "notifications_unsent": "notifications",
    "notifications_late": "notifications",
    "notifications_gave_up": "notifications",
}


class _Overview:
    """The data of the overview, part by part."""

    def __init__(self, settings: Settings, database: Database, apart: Apart) -> None:
        self._settings = settings
        status = partial(read_status, database, sids_of(settings), rules_of(settings))
        self._statuses = apart.shared(status, kept_seconds=_STATUS_SECONDS, share=_SHARE)
        self._plots = apart.shared(partial(read_plots, database), kept_seconds=_PLOTS_SECONDS, share=_SHARE)

    def now_part(self) -> dict[str, object]:
        status = self._statuses.latest(_PATIENCE_SECONDS)
        return {"status": status} if status is None else _shown(status, self._settings)

    def plots_part(self) -> dict[str, object]:
        plots = self._plots.latest(_PATIENCE_SECONDS)
        if plots is None:
            return {"plots": None}
        return {"plots": plots, "charts": charts_of(plots, self._settings.zone), **frame()}


def add_routes(routes: Blueprint, settings: Settings, database: Database, apart: Apart) -> None:
    """Add `/` (the overview), the routes of its two parts, which refresh themselves, and also `/queries` and
    `/queries/N`. `apart` runs the readings for the overview."""
    shown = _Overview(settings, database, apart)

    @routes.get("/")
    def overview() -> str:
        return render_template("console/overview.html", **shown.now_part(), **shown.plots_part())

    @routes.get("/overview/now")
    def overview_now() -> str:
        return _render_part("console/overview_now.html", shown.now_part)

    @routes.get("/overview/plots")
    def overview_plots() -> str:
        return _render_part("console/overview_plots.html", shown.plots_part)

    add_list(routes, settings, database, _QUERIES)

    @routes.get("/queries/<int:query_id>")
    def query(query_id: int) -> str:
        with database.snapshot() as connection:
            found = read_query(connection, storable(query_id))
        if found is None:
            abort(404)
        return render_template("console/query.html", query=found.query, orders=found.orders, added=found.added)


def _render_part(template: str, read: Callable[[], Mapping[str, object]]) -> str:
    """Render a part of the overview by itself. A browser that refreshes a part shows only answers with status 200. So
    the answer has status 200 even if it only says that the database could not be read."""
    try:
        part = read()
    except Exception as error:
        if not is_transient(error):
            raise
        return render_template("console/overview_away.html")
    return render_template(template, **part)


def _shown(status: Status, settings: Settings) -> dict[str, object]:
    overview, thresholds, rules = status.overview, thresholds_of(settings), rules_of(settings)
    found, tick_seconds = check(overview, thresholds, rules), thresholds.tick_seconds
    budgets = shared_budgets(overview.accounts, overview.now, rules)
    polled = polled_accounts(overview.workers, budgets, overview.now, tick_seconds)
    # If no worker runs, it is unknown which accounts are served.
    is_alive = all(finding.name != "no_tick" for finding in found)
    return {
        "status": status,
        "now": overview.now,
        "findings": [(finding, finding_in_sentences(finding, SKIN), _PAGES.get(finding.name)) for finding in found],
        "accounts": [
            {
                "account": one,
                "is_served": one.account in polled if is_alive else None,
                "drain_seconds": budgets[one.account].drain_seconds if one.due else 0.0,
                "last_query": status.last_queries[one.account] or {},
            }
            for one in overview.accounts
        ],
        "workers": [(row, is_ticking([row], overview.now, tick_seconds)) for row in overview.workers],
        "by_source": _by_source,
    }


def _by_source(counts: Mapping[str, int]) -> str:
    by = [text("%(count)s by %(source)s", count, word_of(Source, source)) for source, count in sorted(counts.items())]
    return text(", ").join(by) or text("none")
