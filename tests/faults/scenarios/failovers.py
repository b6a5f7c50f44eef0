"""A failover to a replica that lacks the last query, while the worker runs."""

from tests.faults.catalogue import SERVERS, fault
from tests.faults.lanes import replicated_database, upstream_of
from tests.faults.testbed import Scale, Testbed


@fault(
    53,
    "a failover that loses the last query, to a replica on which the worker's sessions are open",
    databases=SERVERS,
    # The failover must be over within a window, on a busy machine too.
    scale=Scale(window=12.0, deadline=2.0, connect=1.0),
    times=6,
    times_in_ci=2,
    seconds=160.0,
)
def fault_53_the_last_query_is_lost_by_a_failover(testbed: Testbed) -> None:
    testbed.database, servers = testbed.enter(replicated_database(testbed.database.kind))
    proxy = testbed.database.proxy
    assert proxy is not None
    testbed.start()
    names = testbed.place(30, outcome="1")
    testbed.wait_until_settled(names)
    # So long that the slot is open in the replica's row.
    testbed.rest(1.2 * testbed.scale.reservation, least=testbed.scale.reservation)
    servers.replica.catch_up()
    servers.replica.detach()
    seen = len(testbed.arrivals())
    lost = testbed.place(20, outcome="1", wait=False)
    testbed.wait_for_arrivals(since=seen)
    testbed.rest(1.0, least=0.3)
    # The address moves first: the worker opens its sessions while the replica still is one.
    proxy.lead_to(upstream_of(servers.replica_url))
    testbed.rest(2.0, least=1.0)
    servers.fail_over()
    testbed.injected()
    testbed.enqueue(lost)
    testbed.heal(bound=testbed.bound(queries=3, extra=testbed.scale.reservation))
    testbed.wait_until_settled([*names, *lost])
    is_logged = "database_changed" in (testbed.folder / "worker.log").read_text()
    testbed.observed("another database was noticed" if is_logged else "nothing was noticed")
