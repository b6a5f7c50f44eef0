"""A real Prometheus scrapes a running `serve`: an alert fires without a worker, and the dashboard can be evaluated."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import worker
from tests.support.needed import needed
from tests.support.processes import environment, running_serve, running_worker
from tests.support.prometheus import Prometheus
from tests.support.servers import EmbeddedPostgres, EmbeddedValkey
from tests.support.waiting import eventually
from worker.database.migrations import upgrade

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DEPLOY = Path(worker.__file__).parents[1] / "deploy"
TOKEN = "a-token-of-24-characters"
NO_WORKER, NOT_SCRAPED = "ReconcilerNoWorker", "ReconcilerNotScraped"
# A worker's row is written, and gauges are read again, every few seconds only.
PATIENCE_SECONDS = 90.0


@dataclass
class Watched:
    """A deployment that Prometheus watches."""

    env: dict[str, str]
    folder: Path
    prometheus: Prometheus


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    needed("prometheus")
    rules = (DEPLOY / "prometheus" / "reconciler.rules.yml").read_text("utf-8")
    # As it stands an alert waits for minutes.
    hasty = re.sub(r"for: \d+m$", "for: 1s", rules, flags=re.MULTILINE)
    with EmbeddedPostgres() as database, EmbeddedValkey() as broker:
        upgrade(database.url)
        env = environment(
            database_url=database.url,
            broker_url=broker.url,
            platform_url="http://127.0.0.1:9",
            metrics_token=TOKEN,
            tick_seconds=0.2,
        )
        with running_serve(env, tmp_path, "--only", "operate") as (_, url):
            target = urlsplit(url).netloc
            with Prometheus(target, token=TOKEN, rules=hasty) as prometheus:
                yield Watched(env=env, folder=tmp_path, prometheus=prometheus)


def test_an_alert_fires_while_no_worker_runs_and_the_dashboard_can_be_evaluated(watched: Watched) -> None:
    prometheus = watched.prometheus

    def fires(name: str) -> None:
        eventually(lambda: name in prometheus.firing(), f"{name} fires", seconds=PATIENCE_SECONDS, every=0.3)

    def is_clear(name: str) -> None:
        is_up = 'up{job="reconciler"} == 1'
        eventually(
            lambda: prometheus.query(is_up) and name not in prometheus.firing(),
            f"{name} is clear",
            seconds=PATIENCE_SECONDS,
            every=0.3,
        )

    fires(NO_WORKER)
    is_clear(NOT_SCRAPED)
    with running_worker(watched.env, watched.folder) as first:
        is_clear(NO_WORKER)
        has_values(prometheus, "reconciler_worker_last_tick_timestamp_seconds")
        assert first.stop() == 0
    fires(NO_WORKER)
    with running_worker(watched.env, watched.folder, name="second"):
        is_clear(NO_WORKER)
        evaluate_dashboard(prometheus)


def has_values(prometheus: Prometheus, expression: str) -> None:
    """The expression has a value, if not at once: a scrape that comes too late ends every series until the next."""
    eventually(lambda: prometheus.query(expression), expression, seconds=PATIENCE_SECONDS, every=0.3)


def evaluate_dashboard(prometheus: Prometheus) -> None:
    """Every expression of the dashboard is one that Prometheus can evaluate; those about workers have a value."""
    dashboard = json.loads((DEPLOY / "grafana" / "reconciler.json").read_text("utf-8"))
    targets = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(targets) > 20
    first: dict[str, str] = {}
    for title, expression in targets:
        plain = expression.replace("$account", ".*").replace("$__rate_interval", "1m")
        assert "$" not in plain
        prometheus.query(plain)
        first.setdefault(title, plain)
    hearing = "Since the last tick, the broker's last answer and beat's last tick"
    for title in ("Workers that tick", "Pending and due", "Queries a minute, by outcome", hearing):
        has_values(prometheus, first[title])
