"""The routes of the console, and the checks and headers of all its pages.

Every page except the sign-in needs a viewer. Every form that is sent is checked, and may be refused. Headers tell the
browser what a page may load, and that the browser must neither frame nor store the page. Errors are shown as pages in
the reader's language. These pages do not quote the database, because its words may include hosts or a phone number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, Response, abort, g, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from worker.adapters.log import VERSION
from worker.adapters.safe_text import first_words
from worker.database.error_kinds import kind_of
from worker.database.transactions import Database
from worker.domain.records.operators import Viewer
from worker.settings import Settings
from worker.views.orders import read_deleted_before
from worker.web.access import MAY_NOT_ACT, OPEN, Access
from worker.web.console import (
    bulk_acts,
    finance,
    maintenance,
    notifications,
    orders,
    overview_and_queries,
    rejected_and_unmatched,
    sign_in,
    todo,
)
from worker.web.console.acts import add_acting
from worker.web.console.files import Downloads
from worker.web.console.finance import LARGEST_STATEMENT
from worker.web.console.lists import add_links
from worker.web.console.static_files import add_static_files
from worker.web.console.translations import LANGUAGES, add_languages, shown_clock
from worker.web.shared_readings import Apart
from worker.words import N_

log = structlog.stdlib.get_logger(__name__)

_POLICY = "; ".join(
    [
        "default-src 'none'",
        *(
            f"{kind} 'self'"
            for kind in ("style-src", "script-src", "img-src", "connect-src", "font-src", "form-action")
        ),
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# The header Strict-Transport-Security is left to the proxy that has the certificate, because only the proxy knows
# whether the whole host uses https.

_WORDS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        400: (N_("This request cannot be read"), N_("Go back and try again.")),
        403: (
            N_("You may not do this"),
            N_("Your user may only read, or the page was open for too long: reload it."),
        ),
        404: (N_("There is nothing here"), N_("It may have been deleted. Search for the order by its number.")),
        405: (N_("This request cannot be read"), N_("Go back and try again.")),
        413: (
            N_("This is too large"),
            N_("A statement may have 16 MB: compare fewer days."),
        ),
        500: (N_("Something went wrong here"), N_("Tell the administrator: the log of this program says more.")),
        503: (N_("The database does not answer at present"), N_("Nothing was changed. Try again in a minute.")),
    }
)

_LONGEST_FORM = 256 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Console:
    """The objects that the pages work with."""

    settings: Settings
    database: Database
    access: Access
    downloads: Downloads = field(default_factory=Downloads)
    apart: Apart = field(default_factory=lambda: Apart("overview"))
    """Runs the readings that take long."""
    announcing: Apart = field(default_factory=lambda: Apart("announcements"))
    """Runs the readings that every page needs, so that they do not wait for the readings that take long."""

    def close(self) -> None:
        """End the readings under way. Must be called before the database is closed."""
        self.announcing.close()
        self.apart.close()
        self.downloads.close()


def console_routes(console: Console) -> Blueprint:
    """The routes of all pages."""
    routes = Blueprint("console", __name__, template_folder="templates")
    add_static_files(routes)

    @routes.before_request
    def require_viewer() -> Response | None:
        if request.endpoint == f"{routes.name}.static":
            return None
        g.client = str(console.access.client())
        is_upload = request.endpoint == f"{routes.name}.compare"
        request.max_content_length = LARGEST_STATEMENT if is_upload else _LONGEST_FORM
        if request.mimetype == "multipart/form-data" and not is_upload:
            abort(400)
        g.viewer, g.downloads = console.access.viewer(), console.downloads
        if g.viewer is None and request.endpoint not in OPEN:
            return _to_sign_in()
        why = console.access.refusal()
        return None if why is None else _refused(why)

    @routes.app_context_processor
    def of_every_page() -> dict[str, object]:
        viewer: Viewer | None = g.get("viewer")
        return {"viewer": viewer, "languages": LANGUAGES, "shown_at": shown_clock(), "version": VERSION}

    def deleted_before() -> datetime | None:
        with console.database.read() as connection:
            return read_deleted_before(connection)

    routes.add_app_template_global(deleted_before)
    add_languages(routes, console.settings.zone)
    routes.add_app_template_global(console.access.csrf_field, "csrf_field")
    _add_headers(routes)
    add_links(routes, console.settings.zone)
    _add_errors(routes)
    sign_in.add_routes(routes, console.access)
    add_acting(routes, console.access, console.settings, console.database)
    overview_and_queries.add_routes(routes, console.settings, console.database, console.apart)
    todo.add_routes(routes, console.settings, console.database, console.apart)
    maintenance.add_routes(routes, console.settings, console.database, console.announcing)
    for page in (orders, bulk_acts, notifications, rejected_and_unmatched, finance):
        page.add_routes(routes, console.settings, console.database)
    return routes


def _to_sign_in() -> Response:
    """Redirect the browser to the sign-in, which leads on to the requested page."""
    is_page = request.method in ("GET", "HEAD") and "HX-Request" not in request.headers
    target = url_for("console.sign_in", next=request.full_path if is_page else _page_that_asks())
    if "HX-Request" in request.headers:
        # The request is for a part of a page, and the sign-in must not be shown inside the page: the header makes the
        # browser load it instead. But a page that only refreshes its count of things to do is not replaced, because
        # people may be typing in it.
        is_count = request.endpoint == "console.todo_count"
        return Response(status=401, headers={} if is_count else {"HX-Redirect": target})
    return make_response(redirect(target, 303))


def _page_that_asks() -> str:
    try:
        page = urlsplit(request.headers.get("HX-Current-URL") or request.referrer or "/")
    except ValueError:
        return "/"
    return f"{page.path}?{page.query}" if page.query else page.path


def _refused(why: str) -> Response:
    """A page that says why nothing was done, and what to do."""
    log.warning(
        "a form was refused",
        action="console_form_refused",
        why=why,
        actor=None if g.viewer is None else g.viewer.name,
        client=g.client,
    )
    page = render_template("console/refused.html", why=why, may_not_act=why == MAY_NOT_ACT)
    return Response(page, 403, mimetype="text/html")


def _add_headers(routes: Blueprint) -> None:
    """Set the headers on every answer of these routes, and on HTML pages of other routes. One header has the time of
    the answer, which `console.js` shows."""

    @routes.after_app_request
    def set_headers(response: Response) -> Response:
        if request.blueprint != routes.name and response.mimetype != "text/html":
            return response
        response.headers.update(_HEADERS)
        response.headers["X-Shown-At"] = shown_clock()
        # A browser may store only the style and the scripts, which are the same for everybody.
        if request.endpoint != f"{routes.name}.static" or response.status_code >= 400:
            response.headers["Cache-Control"] = "no-store"
        return response


def _add_errors(routes: Blueprint) -> None:
    """Answer errors of the console's own pages with a page."""
    routes.register_error_handler(Exception, _of_any)
    # The application has its own handlers for some of these statuses. Without this loop, those handlers would be used
    # instead of `_of_any`.
    for status in _WORDS:
        routes.register_error_handler(status, _of_status)


def _of_any(error: Exception) -> tuple[str, int]:
    if isinstance(error, HTTPException):
        return _of_status(error)
    kind = kind_of(error)
    if kind is None:
        # The error is raised again: Flask then logs it, and shows the page of status 500.
        raise error
    log.warning("a page was not shown", action=kind.action, error=first_words(error))
    return _error_page(503)


def _of_status(error: HTTPException) -> tuple[str, int]:
    return _error_page(error.code or 500)


def _error_page(status: int) -> tuple[str, int]:
    """The error page for a status, and the status. A status without its own words in `_WORDS` has the words of 400."""
    title, advice = _WORDS.get(status, _WORDS[400])
    return render_template("console/error.html", title=title, advice=advice), status
