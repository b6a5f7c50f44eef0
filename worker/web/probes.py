"""What an orchestrator asks: `/livez`, whether the process answers; `/readyz`, whether it can take callbacks in."""

import threading
import time
from collections.abc import Callable

from flask import Blueprint, Response

_KEPT_SECONDS = 1.0
_NO_ANSWER = "the database has not answered yet"


class SharedReading:
    """A reading of the database that all who ask within a second share.

    Anybody may ask for a probe, and each reading holds a thread and a connection, for seconds where the database keeps
    silent.
    """

    def __init__(self, read: Callable[[], str | None], *, clock: Callable[[], float] = time.monotonic) -> None:
        """`read` says what is wrong, or None."""
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._began_at: float | None = None
        self._is_under_way = False
        self._fault: str | None = _NO_ANSWER

    def fault(self) -> str | None:
        """What is wrong, or None. While another thread reads: what it was a second ago. Raises what `read` raises."""
        with self._lock:
            now = self._clock()
            if self._began_at is not None and now - self._began_at < _KEPT_SECONDS:
                return self._fault
            if self._is_under_way:
                return _NO_ANSWER
            self._began_at, self._is_under_way = now, True
        fault: str | None = _NO_ANSWER
        try:
            fault = self._read()
        finally:
            with self._lock:
                self._fault, self._is_under_way = fault, False
        return fault


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
