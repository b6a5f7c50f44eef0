"""The counts of `status` are ranges of indexes: no plan reads the whole table of orders."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from tests.integration.test_schema import ANALYZE, NOON, add, row, steps_of
from worker.database.transactions import Database
from worker.domain.records.orders import Attention, OrderState, Source
from worker.domain.watching.plots import Span, bucket_starts
from worker.views import counts, plots, watching

WHOLE_TABLE = ("Seq Scan on recharge_orders", "SCAN recharge_orders\n", "recharge_orders ALL")


@pytest.fixture(scope="module")
def database(migrated_module_url: str) -> Iterator[Database]:
    opened = Database(migrated_module_url)
    settled = {"state": OrderState.SUCCEEDED, "settled_by": Source.CALLBACK}
    add(opened, *(row(str(n), **settled, settled_at=NOON - timedelta(minutes=n)) for n in range(20_000)))
    add(opened, *(row(f"p{n}", due_at=NOON + timedelta(seconds=n - 50)) for n in range(100)))
    add(opened, *(row(f"a{n}", **settled, settled_at=NOON, attention=Attention.TOO_OLD) for n in range(20)))
    add(opened, *(row(f"u{n}", state=OrderState.UNRESOLVED) for n in range(20)))
    with opened.write() as connection:
        connection.execute(text(ANALYZE[opened.kind])).close()
    yield opened
    opened.close()


STARTS = bucket_starts(NOON, Span.HOUR)
Read = Callable[[Connection], Any]
READS: dict[str, tuple[Read, str]] = {
    "pending": (lambda connection: counts.pending(connection, ["default"], NOON), "_due"),
    "settled": (lambda connection: watching.count_settled(connection, NOON), "_settled"),
    "attention": (
        lambda connection: counts.attention(connection, 100_000),
        "_attention",
    ),
    "unresolved": (
        lambda connection: counts.unresolved(connection, 100_000, with_reason=True),
        "",
    ),
    "plots: oldest": (plots.oldest_submitted, "_submitted"),
    "plots: submitted": (lambda connection: list(plots.count_submitted(connection, STARTS)), "_submitted"),
    "plots: final": (lambda connection: plots.count_final(connection, STARTS), "_settled"),
    "plots: stopped": (lambda connection: plots.stopped_since(connection, NOON), "_changed"),
    "plots: delays": (plots.last_settled, "_settled"),
}


@pytest.mark.parametrize("name", READS)
def test_no_count_reads_the_whole_table(database: Database, name: str) -> None:
    read, index = READS[name]
    steps = steps_of(database, read) + "\n"
    assert f"ix_recharge_orders{index}" in steps, steps
    for whole_table in WHOLE_TABLE:
        assert whole_table not in steps, steps


def test_the_counts_are_right(database: Database) -> None:
    with database.read() as connection:
        (count,) = counts.pending(connection, ["default"], NOON)["default"]
        hours, days = watching.count_settled(connection, NOON)
        attention = counts.attention(connection, 10)
        unresolved = counts.unresolved(connection, 100, with_reason=True)
    assert (count.pending, count.due, count.never_polled) == (100, 51, 100)
    assert count.oldest_due_at == NOON - timedelta(seconds=50)
    assert (hours["default"]["callback"], days["default"]["callback"]) == (81, 1461)
    assert attention == {("default", "too_old"): 10}
    assert unresolved == {("default", None): 20}
