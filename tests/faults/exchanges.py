"""Queries as the platform saw them, beside their grants and outcomes in the database. For testbeds with one slot."""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.faults.testbed import Testbed, utc
from tests.support.waiting import eventually
from worker.adapters.clock import HostClock

_ROWS = "SELECT polled_ids, outcome, http_status, settled_count, sent_at, answered_at FROM platform_queries ORDER BY id"


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One query that arrived and has ended: as the platform recorded it, and as the database has it."""

    arrival: dict[str, Any]
    outcome: str
    http_status: int | None
    settled: int
    seconds: float | None
    """Seconds from the grant to the write-back, by the database's clock. None without an answer."""


def strike(testbed: Testbed, fault: str, *, queries: int = 1, orders: int = 5, **details: object) -> list[str]:
    """Let the platform answer its next queries by this fault; returns orders that were placed for them.

    Afterwards the platform is well again. `details` are further fields of `worker.simulator.faults.Faults`.
    """
    struck = _struck_by(testbed, fault) + queries
    testbed.trouble(shares={fault: 1.0}, queries=queries, **details)
    names = testbed.place(orders)
    eventually(lambda: _struck_by(testbed, fault) >= struck, f"{queries} queries answered by {fault}")
    testbed.injected(queries)
    return names


def _struck_by(testbed: Testbed, fault: str) -> int:
    return sum(arrival["detail"] == fault for arrival in testbed.arrivals())


def exchanges(testbed: Testbed, fault: str = "") -> list[Exchange]:
    """The exchanges so far whose answers were spoilt by this fault, in order; without a fault the good ones."""
    return [one for one in _paired(testbed) if one.arrival["detail"] == fault]


def _paired(testbed: Testbed) -> Iterator[Exchange]:
    """Arrivals in their order, each with the row of its query: the last one of its orders that was granted before."""
    arrivals = testbed.arrivals()
    # Read after the arrivals: each one's grant was committed by then.
    rows = [(utc(row[-2]), *row) for row in testbed.rows(_ROWS)]
    for arrival in arrivals:
        if not arrival["ids"]:
            # Its body never came: it does not show what it polled.
            continue
        came_at = datetime.fromisoformat(arrival["wall"])
        # A late arrival may be recorded after the next grant, of other orders.
        own = [row for row in rows if row[0] <= came_at and set(row[1].split(",")) == set(arrival["ids"])]
        assert own, f"arrival {arrival['number']} has no grant"
        granted, _, outcome, http_status, settled, _, answered_at = own[-1]
        if outcome != "in_flight":
            yield Exchange(
                arrival=arrival,
                outcome=outcome,
                http_status=http_status,
                settled=settled or 0,
                seconds=(utc(answered_at) - granted).total_seconds() if answered_at else None,
            )


def newest_query(testbed: Testbed) -> int:
    """The id of the last committed grant; 0 where there is none."""
    return int(testbed.rows("SELECT coalesce(max(id), 0) FROM platform_queries")[0][0])


def outcome_of(testbed: Testbed, query_id: int) -> str:
    """The outcome of a query in its row."""
    return str(testbed.rows(f"SELECT outcome FROM platform_queries WHERE id = {query_id}")[0][0])


def slot_opens_at(testbed: Testbed) -> float:
    """When the slot may be taken again, in seconds of the monotonic clock, by which the platform records arrivals."""
    boot_due = float(testbed.rows("SELECT boot_due_us FROM query_budgets")[0][0]) / 1_000_000
    return time.monotonic() + boot_due - HostClock().boot()


def check_each_is_sent_once(testbed: Testbed, *, unsent: Collection[int] = ()) -> None:
    """Raise AssertionError where an arrival has no grant of its own. The queries `unsent` may have led to none.

    The grants of one slot follow one another, in the order of their ids: so the arrivals are a part of that sequence.
    """
    # Read before the rows: each arrival's grant was committed by then.
    arrivals = testbed.arrivals()
    rows = testbed.rows("SELECT id, polled_ids FROM platform_queries ORDER BY id")
    grants = iter([set(polled.split(",")) for query_id, polled in rows if query_id not in unsent])
    for arrival in arrivals:
        # An arrival whose body never came does not show what it polled.
        if arrival["ids"]:
            polled = set(arrival["ids"])
            assert any(grant == polled for grant in grants), f"arrival {arrival['number']} has no grant of its own"
