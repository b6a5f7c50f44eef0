"""Grants as the database has them, compared with arrivals as the platform saw them. For testbeds with one slot."""

import time
from collections.abc import Collection

from tests.faults.testbed import Testbed
from worker.adapters.clock import HostClock


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
