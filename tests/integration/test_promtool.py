"""promtool judges what `/metrics` shows."""

from datetime import timedelta

import pytest

from tests.support.prometheus import promtool
from tests.support.reconciling import Workbench, item
from tests.support.scraping import Scraper, count_totals


@pytest.mark.databases("sqlite")
def test_the_metrics_are_as_prometheus_wants_them(bench: Workbench) -> None:
    bench.add("r1", "r2")
    bench.reconcile([item("r1")])
    old = bench.now() - timedelta(minutes=9)
    for table, column in (("platform_queries", "sent_at"), ("order_events", "at")):
        bench.run(f"UPDATE {table} SET {column} = :old", old=f"{old:%Y-%m-%d %H:%M:%S.%f}")
    count_totals(bench.database)
    with Scraper(bench.url) as scraper:
        text = scraper.text()
    assert "reconciler_settlement_delay_seconds_bucket" in text
    # It says nothing where it finds no fault.
    assert promtool("check", "metrics", given=text) == ""
