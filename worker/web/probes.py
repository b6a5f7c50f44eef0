"""What an orchestrator asks: `/livez`, whether the process answers; `/readyz`, whether it can take callbacks in."""

import threading
import time
from collections.abc import Callable

from flask import Blueprint, Response

_NO_ANSWER = "the database has not answered yet"


class SharedReading:
    """A reading of a server that all who ask within a second share.

    Anybody may ask for a probe, and each reading holds a thread and a connection, for seconds where the server keeps
    silent.
    """

    def __init__(
        self,
        read: Callable[[], str | None],
        *,
        kept_seconds: float = 1.0,
        no_answer: str = _NO_ANSWER,
        first_wait_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` says what is wrong, or None; `no_answer` is said while that is not known yet.

        Who asks during the very first reading waits so long for its end.
        """
        self._read = read
        self._kept_seconds = kept_seconds
        self._no_answer = no_answer
        self._first_wait_seconds = first_wait_seconds
        self._clock = clock
        self._ended = threading.Condition()
        self._is_known = False
        self._began_at: float | None = None
        self._is_under_way = False
        self._fault: str | None = no_answer

    def fault(self) -> str | None:
        """What is wrong, or None. While another thread reads: what it was before. Raises what `read` raises."""
        with self._ended:
            is_first = self._is_under_way and not self._is_known
            # Two probes at the start of a process would otherwise be told different things.
            if is_first and self._ended.wait_for(lambda: self._is_known, self._first_wait_seconds):
                return self._fault
            now = self._clock()
            if self._began_at is not None and now - self._began_at < self._kept_seconds:
                return self._fault
            if self._is_under_way:
                return self._no_answer
            self._began_at, self._is_under_way = now, True
        fault: str | None = self._no_answer
        try:
            fault = self._read()
        finally:
            with self._ended:
                self._fault, self._is_under_way, self._is_known = fault, False, True
                self._ended.notify_all()
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
