"""promtool judges our rules, their tests, the example of a configuration, and what `/metrics` shows."""

from datetime import timedelta
from pathlib import Path

import pytest

import worker
from tests.support.prometheus import promtool
from tests.support.reconciling import Workbench, item
from tests.support.scraping import Scraper

FOLDER = Path(worker.__file__).parents[1] / "deploy" / "prometheus"


def test_the_rules_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", FOLDER / "reconciler.rules.yml")


@pytest.mark.slow
def test_each_alert_fires_and_does_not_as_its_tests_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", FOLDER / "reconciler.rules.test.yml")


def test_the_example_of_a_configuration_is_valid() -> None:
    assert "SUCCESS" in promtool("check", "config", "--lint-fatal", FOLDER / "prometheus.yml")


@pytest.mark.databases("sqlite")
def test_the_metrics_are_as_prometheus_wants_them(bench: Workbench) -> None:
    bench.add("r1", "r2")
    bench.reconcile([item("r1")])
    with bench.database.read() as connection:
        old = bench.database.now(connection) - timedelta(minutes=9)
    for table, column in (("platform_queries", "sent_at"), ("order_events", "at")):
        bench.run(f"UPDATE {table} SET {column} = :old", old=f"{old:%Y-%m-%d %H:%M:%S.%f}")
    with Scraper(bench.url) as scraper:
        text = scraper.text()
    assert "reconciler_settlement_delay_seconds_bucket" in text
    # It says nothing where it finds no fault.
    assert promtool("check", "metrics", given=text) == ""
