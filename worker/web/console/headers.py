"""What every answer of the console says to the browser: what a page may load, and that nobody frames or keeps it."""

from flask import Blueprint, Response, request

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
