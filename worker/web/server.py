"""Run gunicorn in this process. Gunicorn forks the processes that serve requests, each with several threads, and
restarts processes that end."""

import gc
import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import structlog
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from worker.domain.records.operators import Part
from worker.settings import Settings
from worker.web.app import WebProcess

log = structlog.stdlib.get_logger(__name__)

THREADS = 16
# When the server stops, a request under way gets enough time for its commit, and no more.
_STOP_SECONDS = 10
_LONGEST_REQUEST_LINE = 2048
_LINGER_SECONDS, _MOST_READS, _READ_SIZE = 0.2, 16, 64 * 1024


class _ProjectLogger(Logger):  # type: ignore[misc]  # gunicorn publishes no types
    """Writes gunicorn's messages to our own log. There is no access log, because the path of a callback has a token."""

    def setup(self, cfg: Any) -> None:
        """Leave levels and handlers to the root logger."""
        self.cfg = cfg
        self.error_log.propagate = True

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Log nothing: `worker.web.app.log_requests` logs requests."""


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn publishes no types
    """The program `reconciler serve`; `run` does not return."""

    def __init__(
        self,
        settings: Settings,
        *,
        host: str,
        port: int,
        workers: int,
        parts: Collection[Part] = frozenset(Part),
        make_process: Callable[[Settings, Collection[Part]], WebProcess] = WebProcess,
        when_listening: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`when_listening` is called once, with the URL of the server, when it listens."""
        self._settings = settings
        self._parts = parts
        self._make_process = make_process
        self._when_listening = when_listening
        self._bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._workers = workers
        self._process: WebProcess | None = None
        super().__init__()

    def load_config(self) -> None:
        """Set the settings of gunicorn. Neither a file nor GUNICORN_CMD_ARGS is read."""
        settings: dict[str, Any] = {
            "bind": self._bind,
            "workers": self._workers,
            "worker_class": "gthread",
            "threads": THREADS,
            # Each connection serves only one request, so that an unknown sender cannot keep a connection open. The
            # proxy is nearby and opens a new connection quickly.
            "keepalive": 0,
            "graceful_timeout": _STOP_SECONDS,
            "limit_request_line": _LONGEST_REQUEST_LINE,
            "logger_class": _ProjectLogger,
            # These two turn off gunicorn's control socket, and headers by which a client could change the path or the
            # scheme.
            "control_socket_disable": True,
            "forwarded_allow_ips": "",
            "when_ready": self._started,
            "post_request": _end_connection,
            "proc_name": "reconciler-serve",
            "worker_exit": self._close,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the application, once in each process, after the fork."""
        self._process = self._make_process(self._settings, self._parts)
        return self._process.app()

    def _started(self, arbiter: Any) -> None:
        listening = [str(listener) for listener in arbiter.LISTENERS]
        log.info("serving", action="serve_started", listening=listening)
        self._when_listening(listening[0])
        # The processes that are forked next share the memory of this process, until they write to it. Garbage
        # collection writes to each object that it visits. So the present objects are excluded from garbage collection.
        gc.freeze()

    def _close(self, _arbiter: Any, _worker: Any) -> None:
        if self._process is not None:
            self._process.close()


def _end_connection(_worker: Any, _request: Any, environ: Mapping[str, Any], response: Any) -> None:
    """End the connection in the thread that served it.

    Otherwise gunicorn would end the connection in its only thread that accepts connections. That thread would wait up
    to 2 seconds for each client to close: a client that keeps a few connections open would stop the process.
    """
    if response is None or not response.headers_sent:
        return
    connection: socket.socket = environ["gunicorn.socket"]
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        # Read and drop what the sender of a very long body still sends. If the connection were closed before the sender
        # has read the answer, the connection would be reset and the answer lost.
        connection.settimeout(_LINGER_SECONDS)
        for _ in range(_MOST_READS):
            if not connection.recv(_READ_SIZE):
                break
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
