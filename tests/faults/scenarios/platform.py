"""What befalls an exchange with the platform: late, dripping, cut, redirected, refused."""

import time

from tests.faults.catalogue import fault
from tests.faults.exchanges import exchanges, strike
from tests.faults.grants import check_each_is_sent_once, newest_query, outcome_of
from tests.faults.house import House, Scale
from tests.support.waiting import eventually

_WRITE_BACK = 1.0
"""Seconds that a busy machine may take from the cut of an exchange to the row that tells of it."""

_LONG_DEADLINE = Scale(window=1.0, deadline=2.0, tick=0.1)
"""A tenth of it is enough for the grant, the connection and the answer's way back, on most machines."""
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
def fault_14_latency_alternates(house: House) -> None:
    house.worker()
    house.beat()
    longest = 0.9 * house.scale.deadline
    house.trouble(latency=f"alternate:0,{longest:g}")
    _ask(house, queries=4)
    slow = sum((one.seconds or 0.0) >= longest for one in exchanges(house))
    cut = _timeouts(house)
    assert slow + cut, "no answer was late"
    house.injected(slow + cut)
    house.trouble()
    _delay_every_second_request(house)
    house.observed(
        f"{slow} answers came at 0.9 of the deadline, {cut} more were cut by it; of requests that were late on their"
        f" way, {_timeouts(house) - cut} were cut"
    )
    # The last one may have been cut, and have begun a back-off.
    house.heal(bound=house.bound(backoff_windows=1))


def _delay_every_second_request(house: House) -> None:
    """Late on the way there: a window counted from one send to the next would be broken by each pair.

    The grant and the connection leave most of the deadline. A query that it cuts all the same has gone when its delay
    ends, and then the proxy passes on nothing of it.
    """
    delays: list[float] = []

    def next_delay() -> float:
        delays.append(house.rng.uniform(0.4, 0.8) * house.scale.deadline if len(delays) % 2 else 0.0)
        return delays[-1]

    house.platform_proxy.delay_requests(next_delay)
    _ask(house, queries=4)
    house.platform_proxy.delay_requests(lambda: 0.0)
    assert any(delays), "no request was late"
    house.injected(sum(delay > 0 for delay in delays))


def _timeouts(house: House) -> int:
    return int(house.rows("SELECT count(*) FROM platform_queries WHERE outcome = 'timeout'")[0][0])


def _ask(house: House, *, queries: int) -> None:
    """Let so many queries be made, or a few more, each as early as it may be: there is always a batch that waits."""
    house.wait_until_settled(house.place(100 * queries - 50))


@fault(15, "header drip, body drip, no answer, reset before and in mid-answer", scale=_SHORT, seconds=90)
def fault_15_no_whole_answer_comes(house: House) -> None:
    house.worker()
    house.beat()
    kinds = list(_NO_WHOLE_ANSWER)
    house.rng.shuffle(kinds)
    # The second time in a row makes suspects of the orders: that is to happen, too, and to cost nobody anything.
    twice = house.rng.choice(kinds)
    for kind in kinds:
        names = strike(house, kind, queries=2 if kind == twice else 1, drip_seconds=house.rng.uniform(0.05, 0.3))
        _check_it_ends_in_time(house, kind)
        house.wait_until_settled(names)
        house.rest(house.scale.window)
    for kind, outcome in _NO_WHOLE_ANSWER.items():
        for one in exchanges(house, kind):
            # Where the machine is slow, the deadline may come before the reset.
            assert one.outcome in (outcome, "timeout"), f"{kind} ended as {one.outcome}"
            assert one.settled == 0, f"{kind} settled {one.settled} orders"


def _check_it_ends_in_time(house: House, kind: str) -> None:
    """The newest query has arrived and is answered by this fault: its end is written soon after its deadline."""
    query_id, arrived = newest_query(house), float(house.arrivals()[-1]["monotonic"])
    limit = house.scale.deadline + _WRITE_BACK
    eventually(lambda: outcome_of(house, query_id) != "in_flight", f"the end of a query with {kind}")
    seconds = time.monotonic() - arrived
    assert seconds < limit, f"{kind} ended {seconds:.2f} s after its arrival"
    house.observed(f"{kind}: ended at most {seconds:.2f} s after its arrival")


@fault(
    16, "301, 307, 429 with Retry-After, 500, 503, 401; an id that makes a batch a 500", scale=_SHORTEST, seconds=120
)
def fault_16_http_errors(house: House) -> None:
    house.worker()
    house.beat()
    statuses = list(_STATUSES)
    house.rng.shuffle(statuses)
    for status in statuses:
        house.wait_until_settled(strike(house, f"http-{status}"))
    # 0 must not shorten what is waited anyway: that is for S1 to tell.
    wait = house.rng.uniform(3, 5) * house.scale.window
    for retry_after in (wait, 0.0):
        house.wait_until_settled(strike(house, "http-429", retry_after=retry_after))
    _check_each_arrived_once(house)
    waited = _gap_after(house, exchanges(house, "http-429")[-2].arrival["number"])
    assert waited >= wait, f"asked {waited:.2f} s after a 429 that said {wait:.2f} s"
    house.observed(f"asked again {waited:.2f} s after Retry-After: {wait:.2f}")
    _isolate_one(house)
    _check_each_arrived_once(house)
    house.heal(bound=house.bound(queries=2, backoff_windows=15))


def _check_each_arrived_once(house: House) -> None:
    """No redirect was followed, and nothing sent again: each arrival is a POST with a grant of its own."""
    check_each_is_sent_once(house)
    assert {arrival["method"] for arrival in house.arrivals()} == {"POST"}
    assert all(arrival["ids"] for arrival in house.arrivals())


def _gap_after(house: House, number: int) -> float:
    earlier, later = house.arrivals()[number - 1 : number + 1]
    return float(later["monotonic"] - earlier["monotonic"])


def _isolate_one(house: House) -> None:
    """One id makes every batch a 500: its companions settle all the same, and it is left alone, not settled."""
    # Known to the platform before the worker asks: they come in one batch.
    names = house.place(_BATCH_WITH_POISON, enqueue=False)
    poison = house.rng.choice(names)
    house.trouble(poison_ids=[poison], poison_effect="http-500")
    house.enqueue(names)
    others = set(names) - {poison}

    def are_settled() -> bool:
        # Answers to others end the back-off, as they would in life: a few orders come every now and then.
        house.wait_until_settled(house.place(2), seconds=90)
        states = house.states()
        return all(states.get(name) in ("succeeded", "failed") for name in others)

    eventually(are_settled, "all settled but the one that spoils each batch", seconds=90)
    assert house.states()[poison] in ("pending", "unresolved"), "an order was settled by answers with HTTP 500"
    spoilt = [one.arrival for one in exchanges(house, "http-500") if poison in one.arrival["ids"]]
    house.injected(len(spoilt))
    house.observed(f"isolated one of {len(names)} by {len(spoilt)} answers with HTTP 500")
    house.trouble()
