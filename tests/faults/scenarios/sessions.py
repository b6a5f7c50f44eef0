"""Faults of sessions: locks of other programs."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tests.faults.catalogue import SERVERS, fault
from tests.faults.outages import go_through
from tests.faults.posting import body_of, post, post_until_accepted
from tests.faults.strangers import locked
from tests.faults.testbed import UNHURRIED, Testbed
from tests.support.waiting import eventually

_TABLES = ("recharge_orders", "account_states", "platform_queries")
_TABLES_OF_CALLBACKS = ("recharge_orders", "order_events")
_PER_SECOND = 12
_SENDERS = 8


@fault(
    29,
    "strangers' locks on rows and whole tables",
    times=8,
    times_in_ci=2,
    databases=SERVERS,
    scale=UNHURRIED,
    seconds=150,
)
def fault_29_strangers_hold_locks(testbed: Testbed) -> None:
    testbed.start()
    testbed.wait_until_settled(testbed.place(10))
    locks = [(table, whole) for table in _TABLES for whole in (False, True)]
    some = testbed.rng.sample(locks, k=2 if testbed.is_brief else 3)
    # The rows of ended queries are not needed: a lock on them delays nothing.
    go_through(
        testbed,
        {
            f"{'all' if whole else 'rows'} of {table} locked": partial(locked, testbed, table, whole=whole)
            for table, whole in some
        },
        without_queries=False,
    )


@fault(51, "a table locked while callbacks come, 12 a second", times=6, times_in_ci=2, databases=SERVERS, seconds=90)
def fault_51_a_table_is_locked_while_callbacks_come(testbed: Testbed) -> None:
    testbed.serve()
    testbed.start()
    count = _PER_SECOND * (8 if testbed.is_brief else 12)
    # Answered 0 for so long that no query settles them first.
    names = testbed.place(count, settle_after=30.0)
    bodies = [body_of(testbed, name) for name in names]
    table = testbed.rng.choice(_TABLES_OF_CALLBACKS)
    with locked(testbed, table, whole=True), ThreadPoolExecutor(count) as senders:
        began = time.monotonic()
        answers = senders.map(partial(_post_at, testbed, began), range(count), bodies)
        testbed.injected()
        # All come while the table is locked: none waits for the lock.
        answered = list(answers)
    statuses = Counter(status for status, _ in answered)
    assert {*statuses} == {503}, f"{table} was locked, and callbacks were answered: {statuses}"
    testbed.observed(f"{count} callbacks were put off within {max(seconds for _, seconds in answered):.1f} s")
    began = time.monotonic()
    with ThreadPoolExecutor(_SENDERS) as senders:
        list(senders.map(partial(post_until_accepted, testbed), bodies))
    testbed.observed(f"all were accepted {time.monotonic() - began:.1f} s after the lock was gone")
    testbed.wait_until_settled(names)
    # The checker compares with the platform's truth.
    eventually(lambda: all(testbed.truth()[name]["settled"] for name in names), "orders that the platform has settled")


def _post_at(testbed: Testbed, began: float, number: int, body: dict[str, Any]) -> tuple[int | None, float]:
    """Post a callback in its turn; returns the status and the seconds until it was answered."""
    time.sleep(max(0.0, began + number / _PER_SECOND - time.monotonic()))
    posted = time.monotonic()
    status = post(testbed.serve_port, json.dumps(body).encode())
    return status, time.monotonic() - posted
