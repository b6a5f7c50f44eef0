"""The Flask application of `reconciler serve`, and the other objects that each of its processes needs. Each process
makes its own objects after the fork."""

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from flask import Blueprint, Flask, Response, g, request

from worker.adapters.safe_text import first_words
from worker.database.transactions import Database, is_locked, is_unavailable
from worker.domain.callbacks.bodies import Callback
from worker.domain.orders.check_fields import refused_texts
from worker.domain.records.incoming import Rejection
from worker.domain.records.operators import Part
from worker.domain.records.orders import OrderKey
from worker.process.intake import Intake
from worker.settings import Settings
from worker.settings.rules import app_ids_of, rules_of
from worker.web.access import Access
from worker.web.callbacks import PATIENCE_SECONDS, callback_routes
from worker.web.console.blueprint import Console, console_routes
from worker.web.console.files import Downloads
from worker.web.health import Readiness, health_routes, probe_routes
from worker.web.metrics import MetricSource, metric_routes
from worker.web.shared_commits import SharedCommits

log = structlog.stdlib.get_logger(__name__)

_ANSWER_SECONDS = 3.5
_PAGE_SECONDS = 20.0
# This limit is short. If one callback waits for a locked order, the callbacks that arrived together with it still have
# time to be committed without it.
_LOCK_SECONDS = 0.5
_PAGE_LOCK_SECONDS = 5.0
# A pool opens up to twice this number of connections. Callbacks have one pool: one connection commits, one matches, and
# the others answer probes. Pages have a second pool of the same size.
_CONNECTIONS = 2
# The most matches that may wait. Without this limit, many callbacks of unknown orders would let the queue grow without
# end.
_MOST_MATCHES = 32
# These errors are answered in plain text: Flask's own pages are HTML.
_ERRORS = (400, 404, 405, 500)


class OperatorPages:
    """The pages for people and monitoring: metrics, health and the console. They have database connections of their
    own, so that no page keeps a callback waiting."""

    def __init__(self, settings: Settings, downloads: Downloads, console_key: str | None = None) -> None:
        self._settings = settings
        self._database = Database(
            settings.database_dsn, answer_seconds=_PAGE_SECONDS, lock_seconds=_PAGE_LOCK_SECONDS, pool_size=_CONNECTIONS
        )
        self._access = Access(settings, self._database, console_key)
        self._metrics = MetricSource(self._database, settings.accounts)
        self._console = Console(settings=settings, database=self._database, access=self._access, downloads=downloads)

    def blueprints(self) -> Iterator[Blueprint]:
        """The routes."""
        yield metric_routes(self._access, self._metrics)
        yield health_routes(self._access, self._settings)
        yield console_routes(self._console)

    def close(self) -> None:
        """Close every connection."""
        self._metrics.close()
        self._console.close()
        self._database.close()


class WebProcess:
    """The objects that one process of `reconciler serve` works with."""

    def __init__(
        self,
        settings: Settings,
        parts: Collection[Part] = frozenset(Part),
        *,
        console_key: str | None = None,
        downloads: Downloads | None = None,
        intake: type[Intake] = Intake,
    ) -> None:
        """`parts` are the parts to serve. `console_key` opens the console if there is no file of users. All processes
        of a server share `downloads`. `intake` is the class that stores callbacks; another entry point may give a
        subclass."""
        self._parts = parts
        self._pages = OperatorPages(settings, downloads or Downloads(), console_key) if Part.OPERATE in parts else None
        rules = rules_of(settings)
        self._database = Database(
            settings.database_dsn,
            idle_transaction_seconds=rules.deadline_seconds,
            answer_seconds=_ANSWER_SECONDS,
            lock_seconds=_LOCK_SECONDS,
            pool_size=_CONNECTIONS,
        )
        self._intake = intake(self._database, rules, app_ids_of(settings))
        self._commits: SharedCommits[Callback | Rejection, Sequence[OrderKey]] = SharedCommits(
            self._intake.receive_callbacks,
            self._match_later,
            is_hopeless=self._is_hopeless,
            is_locked=is_locked,
            key=order_of,
        )
        # Callbacks are matched in a thread of their own, because matching must not keep the commits waiting.
        self._matching = ThreadPoolExecutor(1, thread_name_prefix="matching")
        self._places = threading.BoundedSemaphore(_MOST_MATCHES)
        self._readiness = Readiness(self._database)
        self._settings = settings

    def app(self) -> Flask:
        """The application: a blueprint for each part."""
        app = Flask(__name__, static_folder=None)
        # With `merge_slashes`, Flask would answer a path with double slashes by a redirect, which repeats the path and
        # so the token in it.
        app.url_map.merge_slashes = False
        log_requests(app)
        for status in _ERRORS:
            app.register_error_handler(status, _in_plain_text)
        app.register_blueprint(probe_routes(self._readiness_fault))
        if Part.CALLBACKS in self._parts:
            app.register_blueprint(callback_routes(self._settings, self._submit))
        if self._pages is not None:
            for blueprint in self._pages.blueprints():
                app.register_blueprint(blueprint)
        return app

    def close(self) -> None:
        """Commit the waiting callbacks, then close every connection. A worker's tick matches the callbacks that are
        still unmatched then."""
        self._commits.close()
        self._matching.shutdown(cancel_futures=True)
        if self._pages is not None:
            self._pages.close()
        self._database.close()

    def _submit(self, callback: Callback | Rejection) -> None:
        self._commits.submit(callback, patience_seconds=PATIENCE_SECONDS)

    def _is_hopeless(self, error: Exception) -> bool:
        # SQLite has one lock for the whole file. If a callback cannot get this lock, no other callback can.
        return is_unavailable(error) or (self._database.kind == "sqlite" and is_locked(error))

    def _match_later(self, keys: Sequence[OrderKey]) -> None:
        # If the queue is full, a worker's tick matches these callbacks.
        if keys and self._places.acquire(blocking=False):
            self._matching.submit(self._match, keys).add_done_callback(lambda _: self._places.release())

    def _match(self, keys: Sequence[OrderKey]) -> None:
        try:
            self._intake.match_callbacks(keys)
        except Exception as error:  # every error has to be logged: no caller waits for this
            log.warning(
                "kept callbacks were not matched; a worker's tick will", action="match_failed", error=first_words(error)
            )

    def _readiness_fault(self) -> str | None:
        if not self._commits.is_running:
            return "this process commits nothing any more"
        return self._readiness.fault()


def order_of(received: Callback | Rejection) -> object:
    """A hashable key for the row whose lock may hold up this callback but not others: the order that the callback
    names, or its row of refused input."""
    if isinstance(received, Rejection):
        return refused_texts([received])[0]
    return (received.account, received.report.request_id, received.report.custom_parm)


def _in_plain_text(error: Any) -> tuple[str, int, dict[str, str]]:
    return f"{error.name}\n", error.code, {"Content-Type": "text/plain; charset=utf-8"}


def log_requests(app: Flask) -> None:
    """Have the app log each answered request. The log has the route, not the path, because a path may have the token of
    callbacks."""

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
            route="none" if rule is None else rule.rule,
            status=response.status_code,
            account=g.get("account"),
            client=g.get("client", request.remote_addr),
            milliseconds=round((time.monotonic() - g.began) * 1000, 1),
        )
        return response
