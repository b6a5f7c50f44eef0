"""Receivers that hang, drip, redirect, refuse for a while or for ever, and want no more."""

from collections.abc import Sequence

from tests.faults.catalogue import fault
from tests.faults.endpoints import Rest, count_notifications, repeats, rest_of, step_to, wait_for_rest
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


@fault(
    36,
    "a receiver that hangs, drips, breaks off, answers garbage or a redirect, and `Retry-After` of a year",
    times=6,
    times_in_ci=1,
    seconds=90.0,
)
def fault_36_the_receiver_misbehaves(testbed: Testbed) -> None:
    recorder = testbed.record_notifications()
    testbed.worker()
    testbed.beat()
    misdeeds = [_answer_never_or_for_ever, _drip_bodies, _fail_single_events]
    testbed.rng.shuffle(misdeeds)
    for misdeed in misdeeds:
        misdeed(testbed, recorder)
        testbed.injected()
        recorder.answers()
        testbed.wait_until_told()
    # Last, since it steps a clock.
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
    eventually(lambda: count_notifications(testbed, "tries = 1 AND state = 'pending'") == 4, "four delayed events")
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
    testbed.worker()
    testbed.beat()
    refusals = [_refuse_for_an_hour, _refuse_all, _want_no_more]
    testbed.rng.shuffle(refusals)
    for refusal in refusals:
        refusal(testbed, recorder)
        testbed.injected()
        testbed.wait_until_told()
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
    """A wrong route or secret: once it is right, nothing has been given up, and nothing waits for hours."""
    recorder.answers(Answer(status=testbed.rng.choice((401, 404, 500))))
    testbed.wait_until_settled(testbed.place(30))
    level = wait_for_rest(testbed).level
    wait_for_rest(testbed, level=level + 1)
    recorder.answers()
    step_to(testbed, wait_for_rest(testbed).ends)
    testbed.wait_until_told()
    blamed = count_notifications(testbed, "tries > 1")
    assert blamed == 0, f"{blamed} events were blamed for what the endpoint did"


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
    testbed.command("notifications", "--resume", "default", "--reason", "it is back", "--yes")


def _refuse_one_for_ever(testbed: Testbed, recorder: Recorder) -> None:
    """It is tried ten times in some 75 hours and given up then; the others are told meanwhile."""
    (refused,) = testbed.place(1, enqueue=False)
    testbed.refused.add(refused)
    recorder.answers(orders={refused: Answer(status=500)})
    _enqueue(testbed, [refused])
    row = f"order_id = (SELECT id FROM recharge_orders WHERE request_id = '{refused}')"
    for tried in range(1, _TRIES):
        eventually(lambda so_often=tried: count_notifications(testbed, f"{row} AND tries = {so_often}"), f"try {tried}")  # type: ignore[misc]  # mypy sees no default
        if tried in (1, 5):
            testbed.wait_until_settled(testbed.place(3))
            testbed.wait_until_told()
        assert len(_tries(recorder, refused)) == tried, "it was tried before its wait was over"
        ahead = testbed.clock_step("database")
        testbed.step_clock("database", ahead + _OWN_WAITS[tried - 1])
    eventually(lambda: count_notifications(testbed, f"{row} AND state = 'gave_up'"), "an event that is given up")
    assert len(_tries(recorder, refused)) == _TRIES
    shown = testbed.command("notifications", "--gave-up", "--json")
    assert refused in shown, f"it was given up, and is not shown: {shown}"


def _tries(recorder: Recorder, name: str) -> Sequence[object]:
    return [one for one in recorder.deliveries() if name in one["body"]]


def _enqueue(testbed: Testbed, names: Sequence[str]) -> None:
    testbed.enqueue(names)
    testbed.wait_for_rows(names)
