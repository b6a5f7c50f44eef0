"""A host with several addresses, of which the first is dead."""

from contextlib import ExitStack

from tests.faults.addresses import write_addresses
from tests.faults.catalogue import fault
from tests.faults.endpoints import count_notifications, rest_of
from tests.faults.testbed import Scale, Testbed
from tests.support.dead_address import DEAD_HOST, dead_address

_LIVE_HOST = "127.0.0.1"
_DEAD_HOSTS = ([DEAD_HOST], ["::1"], ["::1", DEAD_HOST])
# A busy machine may be late, and each query must be sent all the same.
_UNHURRIED = Scale(deadline=6.0, connect=3.0)


@fault(
    49,
    "a dead first address of the platform and of a receiver",
    times=6,
    times_in_ci=2,
    scale=_UNHURRIED,
    seconds=60.0,
)
def fault_49_the_first_address_is_dead(testbed: Testbed) -> None:
    recorder = testbed.record_notifications()
    ports = (testbed.platform_proxy.port, int(recorder.url.rpartition(":")[2].partition("/")[0]))
    testbed.extra_settings = {
        "platform_url": f"http://localhost:{ports[0]}",
        "notify_url": recorder.url.replace(_LIVE_HOST, "localhost"),
    }
    write_addresses(testbed.folder, [*_DEAD_HOSTS[0], _LIVE_HOST])
    with ExitStack() as stack:
        for host in (DEAD_HOST, "::1"):
            for port in ports:
                stack.enter_context(dead_address(port, host))
        testbed.start()
        for hosts in testbed.rng.sample(_DEAD_HOSTS, len(_DEAD_HOSTS)):
            write_addresses(testbed.folder, [*hosts, _LIVE_HOST])
            testbed.wait_until_settled(testbed.place(5))
            testbed.wait_until_told()
            testbed.injected()
        _check_that_nothing_failed(testbed)
        testbed.heal()


def _check_that_nothing_failed(testbed: Testbed) -> None:
    """No slot was lost by it, and no delivery."""
    ends = testbed.rows("SELECT outcome, count(*) FROM platform_queries GROUP BY outcome")
    assert {outcome for outcome, _ in ends} <= {"answered", "in_flight"}, f"queries ended otherwise: {ends}"
    assert rest_of(testbed) is None, "the endpoint rests"
    failed = count_notifications(testbed, "tries > 1")
    assert failed == 0, f"{failed} notifications were sent more than once"
