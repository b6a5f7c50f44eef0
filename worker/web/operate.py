"""The part of `reconciler serve` that people and monitoring look at: metrics, health and the console."""

from collections.abc import Iterator

from flask import Blueprint

from worker.database.transactions import Database
from worker.runtime import rules_of
from worker.settings import Settings
from worker.web.access import Access
from worker.web.console.blueprint import Console, console_routes
from worker.web.health import health_routes
from worker.web.metric_source import MetricSource
from worker.web.metrics import metric_routes

_ANSWER_SECONDS = 20.0
_LOCK_SECONDS = 5.0
_CONNECTIONS = 2


class OperatePart:
    """What these pages work with: connections of their own, so that no page keeps a callback waiting."""

    def __init__(self, settings: Settings, console_key: str | None = None) -> None:
        self._settings = settings
        self._database = Database(
            settings.database_dsn, answer_seconds=_ANSWER_SECONDS, lock_seconds=_LOCK_SECONDS, pool_size=_CONNECTIONS
        )
        self._access = Access(settings, self._database, console_key)
        self._metrics = MetricSource(self._database, settings.accounts, rules_of(settings))
        self._console = Console(settings=settings, database=self._database, access=self._access)

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
