"""`/metrics` as a scraper sees it, on a database of the test's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from worker.database.transactions import Database
from worker.domain.records.accounts import Rules
from worker.operations.upkeep import MetricCounting
from worker.settings import Settings
from worker.web.access import Access
from worker.web.metrics import MetricSource, metric_routes

ACCOUNT = {"account_sid": "s" * 32, "auth_token": "the-auth-token", "app_id": "app-1"}


def count_totals(database: Database) -> None:
    """Count as the tick of a worker process that has just started."""
    MetricCounting(database, Rules()).count_some()


class _Open(Access):
    """Every client may read."""

    def may_watch(self) -> bool:
        """Always."""
        return True


@dataclass
class Seconds:
    """A clock that the test moves."""

    seconds: float = 1_000.0

    def __call__(self) -> float:
        """The time."""
        return self.seconds


@dataclass
class Scraper:
    """One process of `reconciler serve`, as far as its metrics go. Its gauges stay as they are until `clock` moves."""

    url: str
    clock: Seconds = field(default_factory=Seconds)
    settings: Mapping[str, object] = field(default_factory=lambda: dict(ACCOUNT))

    def __post_init__(self) -> None:
        self.database = Database(self.url, answer_seconds=20.0, pool_size=2)
        settings = Settings(database_url=self.url, **self.settings)
        self.source = MetricSource(self.database, settings.accounts, clock=self.clock)
        app = Flask(__name__, static_folder=None)
        app.register_blueprint(metric_routes(_Open(settings, self.database), self.source))
        self.client: FlaskClient = app.test_client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self.source.close()
        self.database.close()

    def text(self) -> str:
        """The answer to a scrape."""
        answer = self.client.get("/metrics")
        assert answer.status_code == 200, answer.text
        return answer.text

    def samples(self) -> dict[str, float]:
        """Each sample, such as `reconciler_orders_due{account="default"}`."""
        return samples_of(self.text())


def samples_of(text: str) -> dict[str, float]:
    """Each sample of an answer, with its labels sorted."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found
