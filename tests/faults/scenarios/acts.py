"""Operators who settle, reopen and cancel orders while workers query for them."""

from collections.abc import Callable, Sequence

from tests.faults.catalogue import fault
from tests.faults.points import Point
from tests.faults.testbed import Scale, Testbed

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
