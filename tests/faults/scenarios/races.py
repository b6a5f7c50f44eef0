"""A callback, an answer and an operator who say something about the same order, each before the other."""

import time
from collections.abc import Callable, Sequence
from functools import partial

from tests.faults.catalogue import fault
from tests.faults.points import Point, Strike
from tests.faults.testbed import Scale, Testbed
from tests.support.waiting import eventually

_SHORT_WINDOWS = Scale(window=0.5, deadline=3.0, tick=0.1)


@fault(19, "a callback races an older or contradicting answer, both ways", scale=_SHORT_WINDOWS, seconds=120)
def fault_19_a_callback_races_an_answer(testbed: Testbed) -> None:
    testbed.start()
    races: list[Callable[[Testbed], bool]] = [
        callback_overtakes_an_older_answer,
        partial(_callback_overtakes_a_false_answer, spoilt="wrong-amount"),
        partial(_callback_overtakes_a_false_answer, spoilt="wrong-status"),
        _both_are_written_at_once,
        _false_callbacks_follow_an_answer,
    ]
    testbed.rng.shuffle(races)
    for race in races:
        # On a slow machine an answer may be cut: then there was no race.
        eventually(partial(race, testbed), "a race with an answer that came whole")
        testbed.injected()
        testbed.rest(testbed.scale.window)


def callback_overtakes_an_older_answer(testbed: Testbed) -> bool:
    """The answer says 0, from before the order settled, and is written after the callback. False if it was cut."""
    # The slot is open by then, so the order is polled at once; and it settles before its lease has run out.
    time.sleep(testbed.scale.reservation)
    name = _hold_the_answer(testbed, settle_after=0.6 * testbed.scale.reservation)
    is_older = _statuses_answered(testbed, name) == ["0"]
    eventually(lambda: testbed.truth()[name]["settled"], "the order settled at the platform")
    is_whole = _call_back_before_the_answer(testbed, name) == ["answered"]
    assert _attention(testbed, name) is None
    return is_older and is_whole


def _callback_overtakes_a_false_answer(testbed: Testbed, *, spoilt: str) -> bool:
    """The answer contradicts the callback, which was first: that flags the order, and changes nothing else."""
    testbed.trouble(shares={spoilt: 1.0}, queries=1)
    name = _hold_the_answer(testbed)
    is_false = any([name, spoilt] in arrival["spoiled"] for arrival in testbed.arrivals())
    outcomes = _call_back_before_the_answer(testbed, name)
    if len(outcomes) > 1:
        return False
    happened = outcomes == ["answered"] and is_false
    assert _attention(testbed, name) == ("late_conflict" if happened else None)
    return happened


def _hold_the_answer(testbed: Testbed, *, outcome: str = "1", settle_after: float = 0.0) -> str:
    """Place an order whose query has ended and waits to be written; returns the order's id."""
    [name] = testbed.hold(Point.WRITE_BACK_BEGINS, 1, wait=True, outcome=outcome, settle_after=settle_after)
    return name


def _call_back_before_the_answer(testbed: Testbed, name: str) -> list[str]:
    """Settle the order by a callback, and then let the answer be written; returns how the order's queries ended."""
    testbed.call_back(name)
    testbed.wait_until_settled([name])
    # Within the answer's reservation, or after its lease has run out.
    testbed.rest(2 * testbed.scale.reservation)
    testbed.points.let_go(Point.WRITE_BACK_BEGINS)
    return _outcomes(testbed, name)


def _outcomes(testbed: Testbed, name: str) -> list[str]:
    """How each query about an order ended. There are two where the first one's lease ran out before the callback."""

    def ended() -> list[str]:
        rows = testbed.rows(f"SELECT outcome FROM platform_queries WHERE polled_ids = '{name}' ORDER BY id")
        return [] if ("in_flight",) in rows else [row[0] for row in rows]

    return eventually(ended, "the end of an order's queries in the database")


def _both_are_written_at_once(testbed: Testbed) -> bool:
    """The callback waits before its commit while the answer is written; one settles, the other finds it settled."""
    name = _hold_the_answer(testbed, outcome=testbed.rng.choice(("1", "-1")))
    testbed.points.arm(Point.INTAKE_BEFORE_COMMIT, Strike.WAIT)
    testbed.call_back(name, status=testbed.truth()[name]["outcome"])
    testbed.wait_until_struck(Point.INTAKE_BEFORE_COMMIT)
    # The callback holds the row: the answer waits for it.
    testbed.points.let_go(Point.WRITE_BACK_BEGINS)
    testbed.rest(0.5)
    testbed.points.let_go(Point.INTAKE_BEFORE_COMMIT)
    testbed.wait_until_settled([name])
    is_whole = _outcomes(testbed, name) == ["answered"]
    assert _attention(testbed, name) is None
    return is_whole


def _false_callbacks_follow_an_answer(testbed: Testbed) -> bool:
    """Callbacks that contradict what an answer has settled flag the order, and change nothing else."""
    names = testbed.place(2, outcome="1")
    testbed.wait_until_settled(names)
    testbed.call_back(names[0], status="-1", amount="0.00")
    testbed.call_back(names[1], amount="99.99")
    for name in names:
        eventually(partial(_is_in_conflict, testbed, name), f"a late conflict shown at order {name}")
    return True


def _statuses_answered(testbed: Testbed, name: str) -> list[str]:
    """What the platform has answered about an order."""
    return [status for arrival in testbed.arrivals() for one, status, *_ in arrival["items"] if one == name]


def _attention(testbed: Testbed, name: str) -> str | None:
    [(attention,)] = testbed.rows(f"SELECT attention FROM recharge_orders WHERE request_id = '{name}'")
    return attention if attention is None else str(attention)


def _is_in_conflict(testbed: Testbed, name: str) -> bool:
    return _attention(testbed, name) == "late_conflict"


_REASON = ("--reason", "by the fault suite")


@fault(
    42,
    "an operator resolves, reopens and cancels orders beside running workers",
    scale=Scale(deadline=3.0),
    times=6,
    times_in_ci=2,
    seconds=90.0,
)
def fault_42_an_operator_acts_beside_workers(testbed: Testbed) -> None:
    testbed.record_notifications()
    testbed.worker("worker-1")
    testbed.start("worker-2")
    settled, stuck = testbed.place(20), testbed.place(8, outcome="stuck")
    testbed.wait_until_settled(settled)
    acts: list[Callable[[], None]] = [
        lambda: _resolve(testbed, stuck[:2], "succeeded", "3.50"),
        lambda: _resolve(testbed, stuck[2:3], "failed"),
        lambda: _cancel(testbed, stuck[3:5]),
        lambda: _reopen(testbed, testbed.rng.sample(settled, 3)),
        lambda: _act_before_the_write_back(testbed),
    ]
    testbed.rng.shuffle(acts)
    for act in acts:
        testbed.place(10, wait=False)
        testbed.rest(1.0)
        act()
        testbed.injected()
    # What was done by hand is done otherwise by hand.
    _reopen(testbed, [*stuck[:1], *stuck[3:4]])
    _resolve(testbed, stuck[4:5], "succeeded", "1.00")
    _cancel(testbed, stuck[:1])
    testbed.wait_until_settled(settled)


def _act_before_the_write_back(testbed: Testbed) -> None:
    """The platform has answered about these orders, and an operator is quicker than the answer's write-back."""
    names = testbed.hold(Point.WRITE_BACK_BEGINS, 4, outcome="1")
    testbed.wait_for_rows(names)
    _resolve(testbed, names[:1], "failed", may_be_late=True)
    _cancel(testbed, names[1:2], may_be_late=True)
    testbed.points.let_go(Point.WRITE_BACK_BEGINS)
    testbed.wait_until_settled(names[2:])


def _resolve(
    testbed: Testbed, names: Sequence[str], state: str, amount: str = "0", *, may_be_late: bool = False
) -> None:
    charged = ("--amount", amount) if state == "succeeded" else ()
    done = _act(testbed, "resolve", *names, "--state", state, *charged, may_be_late=may_be_late)
    if done:
        testbed.sent.resolved.update(dict.fromkeys(names, (state, amount)))


def _cancel(testbed: Testbed, names: Sequence[str], *, may_be_late: bool = False) -> None:
    if _act(testbed, "cancel", *names, may_be_late=may_be_late):
        testbed.sent.cancelled.update(names)


def _reopen(testbed: Testbed, names: Sequence[str]) -> None:
    # Before it is done: a worker may settle it at once.
    testbed.sent.reopened.extend(names)
    for name in names:
        testbed.sent.resolved.pop(name, None)
    _act(testbed, "reopen", *names, "--force")


def _act(testbed: Testbed, *arguments: str, may_be_late: bool = False) -> bool:
    """Whether it was done. `may_be_late`: a worker may have settled the order before."""
    try:
        testbed.command(*arguments, *_REASON)
    except AssertionError as error:
        if may_be_late and "already; reopen it first" in str(error):
            testbed.observed(f"{arguments[0]} came too late")
            return False
        raise
    return True
