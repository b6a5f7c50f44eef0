"""What an orchestrator asks: `/livez`, whether the process answers; `/readyz`, whether it can take callbacks in."""

from collections.abc import Callable

from flask import Blueprint, Response


def probe_routes(readiness_fault: Callable[[], str | None]) -> Blueprint:
    """The routes of the probes. `readiness_fault` says why this process cannot do its work, or None where it can.

    Neither depends on a worker: while no worker runs, callbacks have to be taken in all the same.
    """
    routes = Blueprint("probes", __name__)

    @routes.get("/livez")
    def livez() -> Response:
        return _said(200, "alive")

    @routes.get("/readyz")
    def readyz() -> Response:
        fault = readiness_fault()
        return _said(200, "ready") if fault is None else _said(503, fault)

    return routes


def _said(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain", headers={"Cache-Control": "no-store"})
