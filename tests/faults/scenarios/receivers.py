"""Receivers that hang, drip, redirect, refuse for a while or for ever, and want no more."""

import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from tests.faults.catalogue import fault
from tests.faults.endpoints import (
    Rest,
    count_notifications,
    is_in_doubt,
    repeats,
    rest_of,
    seconds_to_tell,
    step_to,
    wait_for_rest,
    wait_until_told_after_waits,
)
from tests.faults.notification_recorder import CLOSE, DRIP_BODY, DRIP_HEADERS, GARBAGE, HANG, Answer
from tests.faults.recorder import Recorder
from tests.faults.testbed import Testbed
from tests.support.waiting import eventually

_A_YEAR = "31536000"
_HOUR = 3600.0
_QUARTER_OF_AN_HOUR = 900.0
_AT_ONCE = 16
"""Deliveries that two processes have under way to one endpoint."""
_OWN_WAITS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""How long an event waits after each failure of its own."""
_LEASE_SECONDS = 20.0
_TRIES = len(_OWN_WAITS) + 1
_NEVER_TRIED = "tries = 0 AND state = 'pending'"
_IN_A_SECOND = 20
"""Deliveries to an endpoint in doubt."""
_PROCESSES = 4
"""Each may have one delivery under way to an endpoint in doubt."""
_MOST_BEFORE = 15 * _IN_A_SECOND
"""Deliveries between a good result and its own, however many others are refused."""


@fault(
    36,
    "a receiver that hangs, drips, breaks off, answers garbage or a redirect, and `Retry-After` of a year",
    times=6,
    times_in_ci=1,
    seconds=90.0,
)
def fault_36_the_receiver_misbehaves(testbed: Testbed) -> None:
    recorder = testbed.record_notifications()
    testbed.start()

    def be_well_again() -> None:
        recorder.answers()
        wait_until_told_after_waits(testbed)

    misdeeds = (_answer_never_or_for_ever, _drip_bodies, _fail_single_events)
    testbed.inject([partial(misdeed, testbed, recorder) for misdeed in misdeeds], then=be_well_again)
    # Last, since it steps a clock by an hour.
    _ask_for_a_year(testbed, recorder)
    testbed.injected()
    testbed.observed(f"{repeats(recorder)} deliveries repeated what had been accepted")


def _answer_never_or_for_ever(testbed: Testbed, recorder: Recorder) -> None:
    names = testbed.place(6, enqueue=False)
    hanging, dripping = Answer(how=HANG), Answer(how=DRIP_HEADERS)
    recorder.answers(orders={name: (hanging, dripping)[number % 2] for number, name in enumerate(names)})
    _enqueue(testbed, names)
    rest = wait_for_rest(testbed)
    # The others' timeouts belong to the same rest.
    assert rest.level == 1, f"deliveries that began together lengthened the rest {rest.level} times"


def _drip_bodies(testbed: Testbed, recorder: Recorder) -> None:
    """Complete headers decide: the body that never ends is not waited for, and nothing is sent twice."""
    names = testbed.place(6, enqueue=False)
    recorder.answers(Answer(how=DRIP_BODY))
    _enqueue(testbed, names)
    testbed.wait_until_settled(names)
    testbed.wait_until_told()
    told = [one for one in recorder.deliveries() if any(name in one["body"] for name in names)]
    assert len(told) == len(names), f"{len(names)} accepted notifications were sent {len(told)} times"


def _fail_single_events(testbed: Testbed, recorder: Recorder) -> None:
    """Four, among others that are accepted: each waits for itself, and no redirect is followed."""
    names = testbed.place(12, enqueue=False)
    answers = [
        Answer(how=CLOSE),
        Answer(how=GARBAGE),
        Answer(status=testbed.rng.choice((301, 302, 307, 308)), headers={"Location": "/elsewhere"}),
        Answer(status=testbed.rng.choice((400, 403, 404, 500, 501))),
    ]
    recorder.answers(orders=dict(zip(names, answers, strict=False)))
    _enqueue(testbed, names)
    eventually(lambda: count_notifications(testbed, "tries >= 1 AND state = 'pending'") == 4, "four delayed events")
    assert rest_of(testbed) is None, "the endpoint rests for what four events alone have done"


def _ask_for_a_year(testbed: Testbed, recorder: Recorder) -> None:
    recorder.answers(Answer(status=testbed.rng.choice((429, 503)), headers={"Retry-After": _A_YEAR}))
    testbed.wait_until_settled(testbed.place(5))
    rest = wait_for_rest(testbed)
    assert 0.99 * _HOUR <= rest.ends - rest.begins <= _HOUR, f"it rests for {rest.ends - rest.begins:.0f} s"
    recorder.answers()
    step_to(testbed, rest.ends)
    testbed.wait_until_told()


@fault(
    37,
    "503 for an hour; 404 for all, then recovered; 410; 500 for one order for ever",
    times=6,
    times_in_ci=1,
    seconds=120.0,
)
def fault_37_the_receiver_refuses_for_long(testbed: Testbed) -> None:
    recorder = testbed.record_notifications()
    testbed.start()
    refusals = (_refuse_for_an_hour, _refuse_all, _want_no_more)
    testbed.inject([partial(refusal, testbed, recorder) for refusal in refusals], then=testbed.wait_until_told)
    assert count_notifications(testbed, "state = 'gave_up'") == 0, "given up, and the endpoint was at fault"
    _refuse_one_for_ever(testbed, recorder)
    testbed.injected()


def _refuse_for_an_hour(testbed: Testbed, recorder: Recorder) -> None:
    """It rests for longer and longer, up to a quarter of an hour, and one probe ends each rest."""
    recorder.answers(Answer(status=testbed.rng.choice((429, 502, 503, 504))))
    seen = len(recorder.deliveries())
    testbed.wait_until_settled(testbed.place(10))
    rests: list[Rest] = [wait_for_rest(testbed)]
    while rests[-1].ends - rests[0].begins < _HOUR:
        step_to(testbed, rests[-1].ends)
        rests.append(_next_rest(testbed, rests[-1]))
    tried = len(recorder.deliveries()) - seen
    assert tried <= _AT_ONCE + len(rests), f"{tried} deliveries in an hour of {len(rests)} rests"
    longest = max(rest.ends - rest.begins for rest in rests)
    assert 0.9 * _QUARTER_OF_AN_HOUR <= longest <= _QUARTER_OF_AN_HOUR, f"the longest rest lasted {longest:.0f} s"
    testbed.observed(f"503 for an hour: {tried} deliveries")
    recorder.answers()
    step_to(testbed, rests[-1].ends)


def _next_rest(testbed: Testbed, last: Rest) -> Rest:
    """The next rest after a probe that failed. While a probe is under way, the endpoint rests for the probe's lease."""

    def began() -> Rest | None:
        rest = rest_of(testbed)
        if rest is None or rest.ends - rest.begins == _LEASE_SECONDS:
            return None
        return rest if rest.begins > last.begins else None

    rest = eventually(began, "another rest")
    assert rest is not None
    return rest


def _refuse_all(testbed: Testbed, recorder: Recorder) -> None:
    """A wrong route or secret: once it is right, nothing has been given up, and each event comes with its next try."""
    recorder.answers(Answer(status=testbed.rng.choice((401, 404, 500))))
    testbed.wait_until_settled(testbed.place(30))
    eventually(lambda: is_in_doubt(testbed), "an endpoint in doubt")
    eventually(lambda: count_notifications(testbed, "tries > 1"), "a second refusal of the same event")
    recorder.answers()
    wait_until_told_after_waits(testbed)
    assert not is_in_doubt(testbed), "it has accepted events and is in doubt"


def _want_no_more(testbed: Testbed, recorder: Recorder) -> None:
    """410 stops the endpoint, until an operator resumes it."""
    recorder.answers(Answer(status=410))
    testbed.wait_until_settled(testbed.place(3))
    stopped = "SELECT 1 FROM notify_endpoints WHERE stopped_at IS NOT NULL"
    eventually(lambda: testbed.rows(stopped), "a stopped endpoint")
    recorder.answers()
    # What was under way at that moment has ended.
    leased = "lease_token IS NOT NULL"
    eventually(lambda: count_notifications(testbed, leased) == 0, "no delivery under way")
    seen = len(recorder.deliveries())
    testbed.wait_until_settled(testbed.place(5))
    testbed.rest(2.0, least=1.5)
    assert len(recorder.deliveries()) == seen, "sent to an endpoint that wants no more"
    testbed.command("notifications", "resume", "default", "--reason", "it is back")


def _refuse_one_for_ever(testbed: Testbed, recorder: Recorder) -> None:
    """It is tried ten times in some 75 hours and given up then; the others are told meanwhile."""
    (refused,) = testbed.place(1, enqueue=False)
    testbed.refused.add(refused)
    recorder.answers(orders={refused: Answer(status=500)})
    _enqueue(testbed, [refused])
    row = f"order_id = (SELECT id FROM recharge_orders WHERE request_id = '{refused}')"
    for tried in range(1, _TRIES):
        eventually(partial(count_notifications, testbed, f"{row} AND tries >= {tried}"), f"try {tried}")
        if tried in (1, 5):
            testbed.wait_until_settled(testbed.place(3))
            testbed.wait_until_told()
        ahead = testbed.clock_step("database")
        testbed.step_clock("database", ahead + _OWN_WAITS[tried - 1])
    eventually(lambda: count_notifications(testbed, f"{row} AND state = 'gave_up'"), "an event that is given up")
    tries = [one["at"] for one in recorder.deliveries() if refused in one["body"]]
    assert len(tries) == _TRIES
    # By the stepped clock of the database. A wait is shortened by a tenth at most.
    waits = [later - earlier for earlier, later in pairwise(tries)]
    early = [pair for pair in zip(waits, _OWN_WAITS, strict=True) if pair[0] < 0.9 * pair[1]]
    assert not early, f"it was tried before its wait was over (waited, own wait): {early}"
    shown = testbed.command("notifications", "--gave-up", "--json")
    assert refused in shown, f"it was given up, and is not shown: {shown}"


@fault(
    45,
    "events that their receiver refuses for ever, beside good ones, for hours",
    times=6,
    times_in_ci=1,
    seconds=120.0,
)
def fault_45_events_starve(testbed: Testbed) -> None:
    """However many there are, a good result an hour is told at once, and the refused ones go one at a time."""
    recorder = testbed.record_notifications()
    for number in (1, 2):
        testbed.start(f"worker-{number}")
    refused = testbed.place(40 if testbed.is_brief else 200, enqueue=False)
    testbed.refused.update(refused)
    recorder.answers(orders=dict.fromkeys(refused, Answer(status=testbed.rng.choice((400, 404, 500)))))
    _enqueue(testbed, refused)
    testbed.wait_until_settled(refused, seconds=120)
    testbed.injected(len(refused))
    waits = []
    # Beyond the longest wait that an event has reached: an event waits 5 s, then 5 and 30 minutes, 2 and 5 hours.
    for hour in (1, 2, 5, 11):
        eventually(lambda: is_in_doubt(testbed), "an endpoint in doubt")
        _check_that_they_go_one_at_a_time(testbed, recorder)
        # It waits only for what was never tried either.
        eventually(lambda: count_notifications(testbed, _NEVER_TRIED) == 0, "a try of each", seconds=120)
        (good,) = testbed.place(1)
        testbed.wait_until_settled([good])
        seen = len(recorder.deliveries())
        testbed.wait_until_told()
        waits.append(seconds_to_tell(testbed, good))
        are_good = [good in one["body"] for one in recorder.deliveries()[seen:]]
        before = are_good.index(True) if any(are_good) else 0
        assert before <= _MOST_BEFORE, f"{before} others were sent before a good result"
        # Then the tries of all others are due.
        testbed.step_clock("database", hour * _HOUR)
    assert count_notifications(testbed, "state = 'gave_up'") == 0, "given up before its time"
    testbed.observed(f"good results beside {len(refused)} refused ones were told within {max(waits):.1f} s")


def _check_that_they_go_one_at_a_time(testbed: Testbed, recorder: Recorder) -> None:
    """For two seconds at most 20 come in one; those that were under way before may end first."""
    testbed.rest(1.0, least=0.5)
    # The time includes the count, however late this thread is.
    began = time.monotonic()
    seen = len(recorder.deliveries())
    testbed.rest(2.0, least=1.5)
    more = len(recorder.deliveries()) - seen
    most = _IN_A_SECOND * (time.monotonic() - began) + _PROCESSES
    assert more <= most, f"{more} deliveries to an endpoint in doubt, not {most:.0f}"


def _enqueue(testbed: Testbed, names: Sequence[str]) -> None:
    testbed.enqueue(names)
    testbed.wait_for_rows(names)
