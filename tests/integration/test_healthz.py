"""`/healthz`: what is missing where orders are not reconciled."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.support.reconciling import Workbench
from tests.support.servers import EmbeddedValkey
from tests.support.visitors import Visitor, console_process
from tests.support.waiting import eventually
from worker.domain.records.monitoring import WorkerRow
from worker.stores.accounts import save_worker

# Quick tests of the commands run the same statements on PostgreSQL.
pytestmark = pytest.mark.quick_on("sqlite")

OK = {"worker": "ok", "broker": "ok", "database": "ok"}


@contextmanager
def asking(database_url: str, broker_url: str, **settings: Any) -> Iterator[Visitor]:
    with console_process(database_url, None, broker_url=broker_url, **settings) as process:
        yield process.local()


def tick(
    bench: Workbench,
    *,
    seconds_ago: float,
    answered_seconds_ago: float | None = None,
    hangs: bool = False,
    orders_waiting: int | None = None,
    started_seconds_ago: float = 0.0,
) -> None:
    """A worker process's row with such a tick, and such an answer of the broker."""
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        ticked = now - timedelta(seconds=seconds_ago)
        row = WorkerRow(
            name="host:1",
            host="host",
            pid=1,
            started_at=now - timedelta(seconds=started_seconds_ago or seconds_ago),
            orders_waiting=orders_waiting,
            last_tick_at=ticked,
            written_at=now,
            clock_offset_seconds=0.0,
            accounts=("default",),
            hanging_since=ticked if hangs else None,
            broker_asked_at=None if answered_seconds_ago is None else now,
            broker_answered_at=None if answered_seconds_ago is None else now - timedelta(seconds=answered_seconds_ago),
        )
        save_worker(connection, row)


def said(visitor: Visitor) -> tuple[int, dict[str, str]]:
    answer = visitor.get("/healthz")
    return answer.status_code, answer.json or {}


@pytest.mark.parametrize(
    ("ticked", "settings", "missing"),
    [
        ({"seconds_ago": 10}, {}, {}),
        ({"seconds_ago": 35}, {}, {"worker": "no tick for 30 s"}),
        ({"seconds_ago": 90}, {"check_tick_seconds": 120}, {}),
        (None, {}, {"worker": "no tick for 30 s"}),
        ({"seconds_ago": 1, "hangs": True}, {}, {"worker": "what it does hangs"}),
        ({"seconds_ago": 1, "answered_seconds_ago": 10}, {}, {}),
        # It answers this process.
        ({"seconds_ago": 1, "answered_seconds_ago": 35}, {}, {"broker": "answers no worker"}),
        ({"seconds_ago": 1, "orders_waiting": 5, "started_seconds_ago": 50}, {}, {}),
        (
            {"seconds_ago": 1, "orders_waiting": 5, "started_seconds_ago": 65},
            {},
            {"worker": "takes nothing in, and messages wait"},
        ),
    ],
)
def test_a_worker_has_to_tick_to_hear_the_broker_and_to_take_in_what_waits(
    ticked: dict[str, Any] | None,
    settings: dict[str, Any],
    missing: dict[str, str],
    bench: Workbench,
    own_valkey: EmbeddedValkey,
) -> None:
    if ticked is not None:
        tick(bench, **ticked)
    with asking(bench.url, own_valkey.url, **settings) as visitor:
        expected = (503 if missing else 200, {**OK, **missing})
        assert eventually(lambda: said(visitor) == expected, f"the answer {expected}")


@pytest.mark.databases("sqlite")
def test_what_it_says_names_no_host_and_no_password(migrated_database_url: str) -> None:
    away = "postgresql://reconciler:sesame-street@127.0.0.1:9/reconciler"
    with asking(away, "redis://:open-sesame@127.0.0.1:9/0") as visitor:
        status, found = said(visitor)
    assert status == 503
    assert found == {
        "worker": "unknown, as the database does not answer",
        "broker": "cannot be reached",
        "database": "the database is away",
    }


def test_a_database_that_is_not_migrated_is_said(database_url: str, own_valkey: EmbeddedValkey) -> None:
    with asking(database_url, own_valkey.url) as visitor:
        status, found = said(visitor)
    assert (status, found["broker"]) == (503, "ok")
    assert found["database"] in ("no answer", "not at a revision that this release can read")
