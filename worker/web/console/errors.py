"""Errors as pages, in the reader's language. None shows what a database said: it may name hosts, or hold a phone
number."""

from collections.abc import Mapping
from types import MappingProxyType

import structlog
from flask import Blueprint, Response, g, render_template, request
from werkzeug.exceptions import HTTPException

from worker.adapters.error_text import first_words
from worker.database.error_kinds import kind_of
from worker.web.access import Access
from worker.web.console.languages import N_

log = structlog.stdlib.get_logger(__name__)

_WORDS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        400: (N_("This request cannot be read"), N_("Go back and try again.")),
        403: (
            N_("You may not do this"),
            N_("Your user may only read, or the page was open for too long: reload it."),
        ),
        404: (N_("There is nothing here"), N_("It may have been deleted. Search for the order by its number.")),
        405: (N_("This request cannot be read"), N_("Go back and try again.")),
        500: (N_("Something went wrong here"), N_("Tell the administrator: the log of this program says more.")),
        503: (N_("The database does not answer at present"), N_("Nothing was changed. Try again in a minute.")),
    }
)


def add_errors(routes: Blueprint, access: Access) -> None:
    """Answer errors of the console's own pages with a page; so a path that is no route of ours, to who may look."""

    @routes.app_errorhandler(404)
    def of_no_route(error: HTTPException) -> tuple[str, int] | Response:
        is_page = request.blueprint is None and request.accept_mimetypes.accept_html and request.method == "GET"
        # A path below it holds a token, and its own part answers.
        if is_page and not request.path.startswith("/callbacks/"):
            g.viewer = access.viewer()
            if g.viewer is not None:
                return error_page(404)
        return Response(f"{error.name}\n", 404, mimetype="text/plain")

    routes.register_error_handler(Exception, _of_any)
    # The application has handlers of its own for these, which would come before that of any exception.
    for status in _WORDS:
        routes.register_error_handler(status, _of_status)


def _of_any(error: Exception) -> tuple[str, int]:
    if isinstance(error, HTTPException):
        return _of_status(error)
    kind = kind_of(error)
    if kind is None:
        # Flask logs it, and asks for the page of a mistake of ours.
        raise error
    log.warning("a page was not shown", action=kind.action, error=first_words(error))
    return error_page(503)


def _of_status(error: HTTPException) -> tuple[str, int]:
    return error_page(error.code or 500)


def error_page(status: int) -> tuple[str, int]:
    """The page of a status, and the status; another one's words are those of 400."""
    title, advice = _WORDS.get(status, _WORDS[400])
    return render_template("console/error.html", title=title, advice=advice), status
