"""A log line for each request. It names the route and never the path, which holds the token of callbacks."""

import time

import structlog
from flask import Flask, Response, g, request

log = structlog.stdlib.get_logger(__name__)

_NO_ROUTE = "none"


def log_requests(app: Flask) -> None:
    """Have the app log each request that it has answered."""

    @app.before_request
    def begin() -> None:
        g.began = time.monotonic()

    @app.after_request
    def end(response: Response) -> Response:
        rule = request.url_rule
        log.info(
            "request answered",
            action="http_request",
            method=request.method,
            route=_NO_ROUTE if rule is None else rule.rule,
            status=response.status_code,
            account=g.get("account"),
            client=g.get("client", request.remote_addr),
            milliseconds=round((time.monotonic() - g.began) * 1000, 1),
        )
        return response
