"""Grants, as the database keeps them, beside arrivals, as the platform saw them. For houses with one slot."""

import time
from collections.abc import Collection

from tests.faults.testbed import Testbed
from worker.adapters.clock import HostClock


def newest_query(testbed: Testbed) -> int:
    """The id of the last committed grant; 0 where there is none."""
    return int(testbed.rows("SELECT coalesce(max(id), 0) FROM platform_queries")[0][0])


def outcome_of(testbed: Testbed, query_id: int) -> str:
    """How a query ended, as its row has it."""
    return str(testbed.rows(f"SELECT outcome FROM platform_queries WHERE id = {query_id}")[0][0])


def slot_opens_at(testbed: Testbed) -> float:
    """When the slot may be taken again, in seconds of the monotonic clock, by which the platform notes arrivals."""
    boot_due = float(testbed.rows("SELECT boot_due_us FROM query_budgets")[0][0]) / 1_000_000
    return time.monotonic() + boot_due - HostClock().boot()


def check_each_is_sent_once(testbed: Testbed, *, unsent: Collection[int] = ()) -> None:
    """Raise AssertionError where an arrival has no grant of its own. The queries `unsent` may have led to none.

    The grants of one slot follow one another, in the order of their ids: so the arrivals are a part of that sequence.
    """
    # Read before the rows: each arrival's grant was committed by then.
    arrivals = testbed.arrivals()
    rows = testbed.rows("SELECT id, polled_ids FROM platform_queries ORDER BY id")
    grants = iter([set(asked.split(",")) for query_id, asked in rows if query_id not in unsent])
    for arrival in arrivals:
        # One whose body never came does not tell what it asked.
        if arrival["ids"]:
            asked = set(arrival["ids"])
            assert any(grant == asked for grant in grants), f"arrival {arrival['number']} has no grant of its own"
