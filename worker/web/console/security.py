"""What keeps others out of the console.

Each form that changes something proves that it is ours, and that its sender may act. Each answer says to the browser
what a page may load, and that nobody frames or keeps it.
"""

import structlog
from flask import Blueprint, Response, g, render_template, request
from markupsafe import Markup

from worker.domain.tokens_and_sign_ins import form_token, is_foreign, is_form_token
from worker.web.access import Access
from worker.words import N_

log = structlog.stdlib.get_logger(__name__)

FIELD = "csrf"
"""The hidden field of each form."""
_PURPOSE = "console"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# They change nothing of ours; the first has a token of its own.
_OPEN = frozenset({"console.sign_in", "console.choose_language"})
# Of whoever has signed in.
_FOR_READERS = frozenset({"console.sign_out"})

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
# Not Strict-Transport-Security: the proxy that has the certificate knows whether the whole host is https.

FROM_ELSEWHERE = N_("This was sent by another site, or by a page that was opened before you signed in.")
MAY_NOT_ACT = N_("You may look at everything here, and change nothing.")


def guard(access: Access) -> Response | None:
    """Why the request is refused, as a page; None where it may go on. `g.viewer` is known."""
    if request.method in _SAFE:
        return None
    origin, fetch_site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if is_foreign(fetch_site=fetch_site, origin=origin, host=request.headers.get("Host", "")):
        return _refused(FROM_ELSEWHERE)
    if request.endpoint in _OPEN:
        return None
    if request.endpoint not in _FOR_READERS and not g.viewer.may_act:
        return _refused(MAY_NOT_ACT)
    token = access.token()
    if g.viewer.name is None or token is None or not is_form_token(request.form.get(FIELD, ""), token, _PURPOSE):
        return _refused(FROM_ELSEWHERE)
    return None


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


def add_fields(routes: Blueprint, access: Access) -> None:
    """Make `csrf_field()` known to every template."""

    @routes.app_template_global("csrf_field")
    def csrf_field() -> Markup:
        """The hidden field for a form; nothing for who has not signed in."""
        token = access.token()
        viewer = g.get("viewer")
        if token is None or viewer is None or viewer.name is None:
            return Markup()
        return hidden_field(form_token(token, _PURPOSE))


def hidden_field(value: str) -> Markup:
    """A hidden field that proves that a form is ours."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, value)


def add_headers(routes: Blueprint) -> None:
    """Set them on each answer of these routes, and on every other page."""

    @routes.after_app_request
    def set_headers(response: Response) -> Response:
        if request.blueprint != routes.name and response.mimetype != "text/html":
            return response
        response.headers.update(_HEADERS)
        # Style and script are the same for everybody.
        if request.endpoint != f"{routes.name}.static" or response.status_code >= 400:
            response.headers["Cache-Control"] = "no-store"
        return response
