"""The routes of the console, and what every page of it needs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, make_response, redirect, request, url_for

from worker.database.transactions import Database
from worker.domain.records.access import Viewer
from worker.settings import Settings
from worker.web.access import Access
from worker.web.console import (
    account_acts,
    attention,
    endpoint_acts,
    notifications,
    order,
    order_acts,
    orders,
    overview,
    queries,
    recorded_acts,
    rejected,
    sign_in,
)
from worker.web.console.acting import add_acting
from worker.web.console.errors import add_errors
from worker.web.console.formats import add_formats
from worker.web.console.forms import add_fields, guard
from worker.web.console.headers import add_headers
from worker.web.console.languages import LANGUAGES, add_languages
from worker.web.console.listing import add_links
from worker.web.console.stored_texts import add_stored_texts
from worker.web.console.words import add_words

_PAGES = (
    *(orders, order, attention, notifications, queries, rejected, recorded_acts),
    *(order_acts, account_acts, endpoint_acts),
)
# The only pages that are shown to somebody who has not signed in.
_OPEN = frozenset({"console.static", "console.sign_in", "console.choose_language"})

_LONGEST_FORM = 256 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Console:
    """What the pages work with."""

    settings: Settings
    database: Database
    access: Access
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="overview"))
    """Reads what takes long. One thread: however many look, one connection is enough for that."""

    def close(self) -> None:
        """End what is being read; before the database is closed."""
        self.threads.shutdown(cancel_futures=True)


def console_routes(console: Console) -> Blueprint:
    """All pages."""
    routes = Blueprint(
        "console", __name__, static_folder="static", static_url_path="/static", template_folder="templates"
    )

    @routes.before_request
    def require_viewer() -> Response | None:
        if request.endpoint == f"{routes.name}.static":
            return None
        g.client = str(console.access.client())
        request.max_content_length = _LONGEST_FORM
        g.viewer = console.access.viewer()
        if g.viewer is None and request.endpoint not in _OPEN:
            return _to_sign_in()
        return guard(console.access)

    @routes.app_context_processor
    def of_every_page() -> dict[str, object]:
        viewer: Viewer | None = g.get("viewer")
        return {"viewer": viewer, "languages": LANGUAGES}

    add_formats(routes, console.settings.zone)
    add_languages(routes)
    add_fields(routes, console.access)
    add_headers(routes)
    add_words(routes)
    add_stored_texts(routes)
    add_links(routes)
    add_errors(routes, console.access)
    sign_in.add_routes(routes, console.access)
    add_acting(routes, console.access)
    overview.add_routes(routes, console.settings, console.database, console.threads)
    for page in _PAGES:
        page.add_routes(routes, console.settings, console.database)
    return routes


def _to_sign_in() -> Response:
    """Have the browser go to the sign-in, and from there to the page that was asked for."""
    is_page = request.method in ("GET", "HEAD") and "HX-Request" not in request.headers
    target = url_for("console.sign_in", next=request.full_path if is_page else _page_that_asks())
    if "HX-Request" in request.headers:
        # A part of a page: the sign-in is not to be shown inside of it.
        return Response(status=401, headers={"HX-Redirect": target})
    return make_response(redirect(target, 303))


def _page_that_asks() -> str:
    try:
        page = urlsplit(request.headers.get("HX-Current-URL") or request.referrer or "/")
    except ValueError:
        return "/"
    return f"{page.path}?{page.query}" if page.query else page.path
