"""Faults of an exchange with the platform: late, dripping, cut, redirected, refused, at an address that is dead."""

import time
from contextlib import ExitStack
from functools import partial

from tests.contract.platform.raw_server import RawServer, http
from tests.faults.addresses import write_addresses
from tests.faults.catalogue import fault
from tests.faults.endpoints import count_notifications, rest_of
from tests.faults.exchanges import check_each_is_sent_once, exchanges, newest_query, outcome_of, strike
from tests.faults.testbed import Scale, Testbed
from tests.support.dead_address import DEAD_HOST, dead_address
from tests.support.proxy import Proxy
from tests.support.server_process import free_port
from tests.support.waiting import eventually

_LONG_DEADLINE = Scale(window=1.0, deadline=4.0, tick=0.1)
"""A tenth of it is enough for the grant, the connection and the answer's transfer, on most machines."""
_SHORT = Scale(window=1.0, deadline=0.6, tick=0.1)
_SHORTEST = Scale(window=0.5, deadline=0.6, tick=0.1)

_NO_WHOLE_ANSWER = {
    "drip-headers": "timeout",
    "drip-body": "timeout",
    "silent": "timeout",
    "reset": "malformed",
    "reset-midway": "malformed",
}
_STATUSES = (301, 307, 500, 503, 401)
_BATCH_WITH_POISON = 5


@fault(14, "latency that alternates between nothing and 0.9 of the deadline", scale=_LONG_DEADLINE, seconds=90)
def fault_14_latency_alternates(testbed: Testbed) -> None:
    testbed.start()
    longest = 0.9 * testbed.scale.deadline
    testbed.trouble(latency=f"alternate:0,{longest:g}")
    _wait_for_queries(testbed, queries=4)
    slow = sum((one.seconds or 0.0) >= longest for one in exchanges(testbed))
    cut = _timeouts(testbed)
    assert slow + cut, "no answer was late"
    testbed.injected(slow + cut)
    testbed.trouble()
    _delay_every_second_request(testbed)
    testbed.observed(
        f"{slow} answers came at 0.9 of the deadline, {cut} more were cut by it; of requests that were late"
        f" {_timeouts(testbed) - cut} were cut"
    )
    # The last one may have been cut, and have begun a back-off.
    testbed.heal(bound=testbed.bound(backoff_windows=1))


def _delay_every_second_request(testbed: Testbed) -> None:
    """Requests arrive late: a window counted from one send to the next would be broken by each pair.

    Delays are most of a window. No deadline ends near the end of a delay: the platform could then see a query that was
    cut, but later than it came.
    """
    delays: list[float] = []

    def next_delay() -> float:
        delays.append(testbed.rng.uniform(0.2, 0.45) * testbed.scale.deadline if len(delays) % 2 else 0.0)
        return delays[-1]

    testbed.platform_proxy.delay_requests(next_delay)
    _wait_for_queries(testbed, queries=4)
    testbed.platform_proxy.delay_requests(lambda: 0.0)
    assert any(delays), "no request was late"
    testbed.injected(sum(delay > 0 for delay in delays))


def _timeouts(testbed: Testbed) -> int:
    return int(testbed.rows("SELECT count(*) FROM platform_queries WHERE outcome = 'timeout'")[0][0])


def _wait_for_queries(testbed: Testbed, *, queries: int) -> None:
    """Wait for at least so many queries, each as early as allowed: a batch always waits."""
    testbed.wait_until_settled(testbed.place(100 * queries - 50))


@fault(15, "header drip, body drip, no answer, reset before and in mid-answer", scale=_SHORT, seconds=90)
def fault_15_no_whole_answer_comes(testbed: Testbed) -> None:
    testbed.start()
    kinds = list(_NO_WHOLE_ANSWER)
    testbed.rng.shuffle(kinds)
    # The second failure in a row makes suspects of the orders: this must happen, too, without any loss.
    twice = testbed.rng.choice(kinds)
    for kind in kinds:
        names = strike(testbed, kind, queries=2 if kind == twice else 1)
        _wait_for_its_end(testbed, kind)
        testbed.wait_until_settled(names)
        testbed.rest(testbed.scale.window)
    for kind, outcome in _NO_WHOLE_ANSWER.items():
        for one in exchanges(testbed, kind):
            # Where the machine is slow, the deadline may come before the reset. One that was cut after its reservation
            # would be lost.
            assert one.outcome in (outcome, "timeout"), f"{kind} ended as {one.outcome}"
            assert one.settled == 0, f"{kind} settled {one.settled} orders"


def _wait_for_its_end(testbed: Testbed, kind: str) -> None:
    """The newest query has arrived and is answered by this fault. Its deadline ends it: the answer lasts longer."""
    query_id, arrived = newest_query(testbed), float(testbed.arrivals()[-1]["monotonic"])
    eventually(lambda: outcome_of(testbed, query_id) != "in_flight", f"the end of a query with {kind}")
    testbed.observed(f"{kind}: ended at most {time.monotonic() - arrived:.2f} s after its arrival")


@fault(
    16, "301, 307, 429 with Retry-After, 500, 503, 401; an id that makes a batch a 500", scale=_SHORTEST, seconds=120
)
def fault_16_http_errors(testbed: Testbed) -> None:
    testbed.start()
    statuses = list(_STATUSES)
    testbed.rng.shuffle(statuses)
    for status in statuses:
        testbed.wait_until_settled(strike(testbed, f"http-{status}"))
    wait = testbed.rng.uniform(3, 5) * testbed.scale.window
    number = eventually(partial(_refuse_for, testbed, wait), "a 429 that the worker read before its deadline")
    # 0 must not shorten the usual wait: S1 checks that.
    testbed.wait_until_settled(strike(testbed, "http-429", retry_after=0.0))
    _check_each_arrived_once(testbed)
    waited = _gap_after(testbed, number)
    assert waited >= wait, f"queried {waited:.2f} s after a 429 that said {wait:.2f} s"
    testbed.observed(f"queried again {waited:.2f} s after Retry-After: {wait:.2f}")
    _isolate_one(testbed)
    _check_each_arrived_once(testbed)
    testbed.heal(bound=testbed.bound(queries=2, backoff_windows=15))


def _refuse_for(testbed: Testbed, wait: float) -> int | None:
    """Answer a query by a 429; returns its arrival's number, None where the worker cut the answer off, unread."""
    testbed.wait_until_settled(strike(testbed, "http-429", retry_after=wait))
    last = exchanges(testbed, "http-429")[-1]
    return last.arrival["number"] if last.http_status == 429 else None


def _check_each_arrived_once(testbed: Testbed) -> None:
    """No redirect was followed, and nothing sent again: each arrival is a POST with a grant of its own."""
    check_each_is_sent_once(testbed)
    assert {arrival["method"] for arrival in testbed.arrivals()} == {"POST"}
    # Of one that was cut off the body may not have come.
    assert all(arrival["ids"] or arrival["outcome"] in ("open", "broken") for arrival in testbed.arrivals())


def _gap_after(testbed: Testbed, number: int) -> float:
    earlier, later = testbed.arrivals()[number - 1 : number + 1]
    return float(later["monotonic"] - earlier["monotonic"])


def _isolate_one(testbed: Testbed) -> None:
    """One id makes every batch a 500: the others settle, and this one is isolated and not settled."""
    # Known to the platform before the worker polls them: they come in one batch.
    names = testbed.place(_BATCH_WITH_POISON, enqueue=False)
    poison = testbed.rng.choice(names)
    testbed.trouble(poison_ids=[poison], poison_effect="http-500")
    testbed.enqueue(names)
    others = set(names) - {poison}

    def are_settled() -> bool:
        # Answers to others end the back-off, as in production: a few orders come every now and then.
        testbed.wait_until_settled(testbed.place(2), seconds=90)
        states = testbed.states()
        return all(states.get(name) in ("succeeded", "failed") for name in others)

    eventually(are_settled, "all settled but the one that spoils each batch", seconds=90)
    assert testbed.states()[poison] in ("pending", "unresolved"), "an order was settled by answers with HTTP 500"
    spoilt = [one.arrival for one in exchanges(testbed, "http-500") if poison in one.arrival["ids"]]
    testbed.injected(len(spoilt))
    testbed.observed(f"isolated one of {len(names)} by {len(spoilt)} answers with HTTP 500")
    testbed.trouble()


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


@fault(
    52,
    "a host that does not reach the platform, beside one that does",
    times=6,
    times_in_ci=2,
    scale=_SHORTEST,
    seconds=90.0,
)
def fault_52_one_of_two_hosts_does_not_reach_the_platform(testbed: Testbed) -> None:
    testbed.worker("well", processes=1)
    cut_off = testbed.worker("cut-off", boot_id="cut-off", processes=1, platform_url=f"http://127.0.0.1:{free_port()}")
    testbed.beat()
    outcomes: dict[str, int] = {}
    # With one slot: the host that is cut off must not keep it.
    for number in range(30):
        # As long as some fifteen failures in a row take, with their back-offs.
        testbed.wait_until_settled(testbed.place(5), seconds=120)
        testbed.injected()
        outcomes = dict(testbed.rows("SELECT outcome, count(*) FROM platform_queries GROUP BY outcome"))
        if number >= 5 and "unreachable" in outcomes:
            break
    testbed.observed(f"how queries ended: {outcomes}")
    assert "unreachable" in outcomes, "the host that is cut off has not queried"
    cut_off.kill()
    testbed.heal(bound=testbed.bound(backoff_windows=15))


# A host that is refused takes a slot that the other one leaves open for half a window: the other one must be quicker.
_LONG_WINDOW = Scale(deadline=3.0, tick=0.1)


@fault(
    58,
    "a host that is cut off for long: without a network, then refused as for an old token",
    times=6,
    times_in_ci=2,
    scale=_LONG_WINDOW,
    seconds=240.0,
)
def fault_58_a_host_is_cut_off_for_long(testbed: Testbed) -> None:
    testbed.worker("well", processes=1)
    port = free_port()
    far = testbed.worker("far", boot_id="far", processes=2, platform_url=f"http://127.0.0.1:{port}")
    testbed.beat()
    _check_that_few_queries_fail(testbed, "unreachable", most=5)
    upstream = ("127.0.0.1", testbed.platform_proxy.port)
    with Proxy(upstream, port=port, delivers_late=False):
        eventually(lambda: not _is_cut_off(testbed), "the host's connection")
        far.kill()
    with RawServer(http(b'{"statusCode":"-9005","statusMsg":"signature"}')) as refusing:
        old = testbed.worker("old", boot_id="far", processes=2, platform_url=refusing.url)
        # Three refusals until it counts, and its probes.
        _check_that_few_queries_fail(testbed, "refused", most=8)
        old.kill()
    testbed.heal(bound=testbed.bound(backoff_windows=15))


def _check_that_few_queries_fail(testbed: Testbed, outcome: str, *, most: int) -> None:
    """With one of two hosts cut off for 20 windows and more, the other one has the budget."""
    windows = 0
    for _ in range(120):
        testbed.wait_until_settled(testbed.place(5))
        windows += _is_cut_off(testbed)
        if windows >= 20:
            break
    testbed.injected()
    failed = int(testbed.rows(f"SELECT count(*) FROM platform_queries WHERE outcome = '{outcome}'")[0][0])
    testbed.observed(f"{failed} queries ended {outcome}")
    assert windows >= 20, "the host was not cut off for long"
    assert 1 <= failed <= most, f"{failed} queries ended {outcome}"


def _is_cut_off(testbed: Testbed) -> bool:
    return bool(testbed.rows("SELECT 1 FROM cut_off_hosts WHERE host = 'far' AND since IS NOT NULL"))


def _check_that_nothing_failed(testbed: Testbed) -> None:
    """No slot was lost by it, and no delivery."""
    ends = testbed.rows("SELECT outcome, count(*) FROM platform_queries GROUP BY outcome")
    assert {outcome for outcome, _ in ends} <= {"answered", "in_flight"}, f"queries ended otherwise: {ends}"
    assert rest_of(testbed) is None, "the endpoint rests"
    failed = count_notifications(testbed, "tries > 1")
    assert failed == 0, f"{failed} notifications were sent more than once"
