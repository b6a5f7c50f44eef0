"""The forms of the console: each that changes something proves that it is ours, and that its sender may act."""

import structlog
from flask import Blueprint, Response, g, render_template, request
from markupsafe import Markup

from worker.domain.access import form_token, is_foreign, is_form_token
from worker.web.access import Access
from worker.web.console.languages import N_

log = structlog.stdlib.get_logger(__name__)

FIELD = "csrf"
"""The hidden field of each form."""
PURPOSE = "console"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# They change nothing of ours; the first has a token of its own.
_OPEN = frozenset({"console.sign_in", "console.choose_language"})
# Of whoever has signed in.
_FOR_READERS = frozenset({"console.sign_out"})

FROM_ELSEWHERE = N_("This was sent by another site, or by a page that was opened before you signed in.")
MAY_NOT_ACT = N_("You may look at everything here, and change nothing.")


def guard(access: Access) -> Response | None:
    """Why the request is refused, as a page; None where it may go on. `g.viewer` is known."""
    if request.method in _SAFE:
        return None
    origin, fetch_site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if is_foreign(fetch_site=fetch_site, origin=origin, host=request.headers.get("Host", "")):
        return refused(FROM_ELSEWHERE)
    if request.endpoint in _OPEN:
        return None
    if request.endpoint not in _FOR_READERS and not g.viewer.may_act:
        return refused(MAY_NOT_ACT)
    token = access.token()
    if g.viewer.name is None or token is None or not is_form_token(request.form.get(FIELD, ""), token, PURPOSE):
        return refused(FROM_ELSEWHERE)
    return None


def refused(why: str) -> Response:
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


def add_fields(routes: Blueprint, access: Access) -> None:
    """Make `csrf_field()` known to every template."""

    @routes.app_template_global("csrf_field")
    def csrf_field() -> Markup:
        """The hidden field for a form; nothing for who has not signed in."""
        token = access.token()
        viewer = g.get("viewer")
        if token is None or viewer is None or viewer.name is None:
            return Markup()
        return hidden_field(form_token(token, PURPOSE))


def hidden_field(value: str) -> Markup:
    """A hidden field that proves that a form is ours."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, value)
