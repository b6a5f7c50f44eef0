"""Rights that the database's role lacks for a while."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.faults.catalogue import SERVERS, fault
from tests.faults.outages import Outage, go_through
from tests.faults.posting import body_of, post, post_until_accepted
from tests.faults.strangers import use_least_role, without_right
from tests.faults.testbed import UNHURRIED, Testbed
from tests.support.plain_role import PlainRole
from tests.support.waiting import eventually

_ALL = "SELECT, INSERT, UPDATE, DELETE"
# Without one of these no grant can be committed.
_OF_GRANTS = (
    (_ALL, "recharge_orders"),
    ("UPDATE", "recharge_orders"),
    ("SELECT", "query_budgets"),
    ("UPDATE", "query_budgets"),
    ("INSERT", "platform_queries"),
)
_OF_RESULTS = (
    ("INSERT", "order_events"),
    ("UPDATE", "platform_queries"),
    ("UPDATE", "account_states"),
    ("INSERT", "unmatched_callbacks"),
    ("SELECT, INSERT, DELETE", "settlement_observations"),
)


@fault(
    48,
    "rights to tables revoked while everything runs, and granted again",
    times=8,
    times_in_ci=2,
    databases=SERVERS,
    scale=UNHURRIED,
    seconds=150,
)
def fault_48_rights_are_missing_for_a_while(testbed: Testbed) -> None:
    role = use_least_role(testbed)
    testbed.serve()
    worker = testbed.start()
    testbed.wait_until_settled(testbed.place(10))
    for kinds, without_queries in ((_OF_GRANTS, True), (_OF_RESULTS, False)):
        some = testbed.rng.sample(kinds, k=1 if testbed.is_brief else 2)
        outages: dict[str, Outage] = {
            f"{rights} on {table} revoked": partial(_revoked, testbed, role, rights, table) for rights, table in some
        }
        go_through(testbed, outages, without_queries=without_queries)
    assert "database_rights" in worker.output
    for action in ("task_failed", "pass_failed", "tick_failed"):
        assert f'"action": "{action}"' not in worker.output, f"a missing right was logged as a defect: {action}"


@contextmanager
def _revoked(testbed: Testbed, role: PlainRole, rights: str, table: str) -> Iterator[None]:
    (name,) = testbed.place(1, enqueue=False, outcome="1")
    body = body_of(testbed, name)
    with without_right(role, rights, table):
        yield
        eventually(lambda: _readiness(testbed) == 503, "a receiver that is not ready")
        status = post(testbed.serve_port, json.dumps(body).encode())
        assert status in (200, 503), f"a callback was answered {status}"
    eventually(lambda: _readiness(testbed) == 200, "a receiver that is ready again")
    post_until_accepted(testbed, body)
    testbed.enqueue([name])


def _readiness(testbed: Testbed) -> int | None:
    return post(testbed.serve_port, b"", path="/readyz", method="GET")
