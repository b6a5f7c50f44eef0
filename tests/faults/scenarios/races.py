"""A callback and an answer about the same order, each before the other, that agree or contradict each other."""

import time
from collections.abc import Callable
from functools import partial

from tests.faults.catalogue import fault
from tests.faults.grants import newest_query, outcome_of
from tests.faults.house import House, Scale
from tests.faults.points import Point, Strike
from tests.support.waiting import eventually

_SHORT_WINDOWS = Scale(window=0.5, deadline=1.5, tick=0.1)


@fault(19, "a callback races an older or contradicting answer, both ways", scale=_SHORT_WINDOWS, seconds=120)
def fault_19_a_callback_races_an_answer(house: House) -> None:
    house.worker()
    house.beat()
    races: list[Callable[[House], bool]] = [
        _callback_overtakes_an_older_answer,
        partial(_callback_overtakes_a_false_answer, spoilt="wrong-amount"),
        partial(_callback_overtakes_a_false_answer, spoilt="wrong-status"),
        _both_are_written_at_once,
        _false_callbacks_follow_an_answer,
    ]
    house.rng.shuffle(races)
    for race in races:
        # On a slow machine an answer may be cut: then there was no race.
        eventually(partial(race, house), "a race with an answer that came whole", seconds=60)
        house.injected()
        house.rest(house.scale.window)


def _callback_overtakes_an_older_answer(house: House) -> bool:
    """The answer says 0, from before the order settled, and is written after the callback."""
    # The slot is open by then, so the order is asked about at once; and it settles before its lease has run out.
    time.sleep(house.scale.reservation)
    name = _hold_the_answer(house, settle_after=0.6 * house.scale.reservation)
    is_older = _said(house, name) == ["0"]
    eventually(lambda: house.truth()[name]["settled"], "the order settled at the platform")
    is_whole = _call_back_before_the_answer(house, name)
    assert _attention(house, name) is None
    return is_older and is_whole


def _callback_overtakes_a_false_answer(house: House, *, spoilt: str) -> bool:
    """The answer contradicts the callback, which was first: that is shown, and changes nothing."""
    house.trouble(shares={spoilt: 1.0}, queries=1)
    name = _hold_the_answer(house)
    is_false = any([name, spoilt] in arrival["spoiled"] for arrival in house.arrivals())
    happened = _call_back_before_the_answer(house, name) and is_false
    assert _attention(house, name) == ("late_conflict" if happened else None)
    return happened


def _hold_the_answer(house: House, *, outcome: str = "1", settle_after: float = 0.0) -> str:
    """Place an order whose query has ended and waits to be written; returns the order's id."""
    house.points.arm(Point.WRITE_BACK_BEGINS, Strike.WAIT)
    [name] = house.place(1, outcome=outcome, settle_after=settle_after)
    house.wait_until_struck(Point.WRITE_BACK_BEGINS)
    return name


def _call_back_before_the_answer(house: House, name: str) -> bool:
    """Settle the order by a callback, and have the answer written then; returns whether it was a whole one."""
    house.call_back(name)
    house.wait_until_settled([name])
    # Within the answer's reservation, or after its lease has run out.
    house.rest(2 * house.scale.reservation)
    house.points.let_go(Point.WRITE_BACK_BEGINS)
    return _is_written_whole(house)


def _is_written_whole(house: House) -> bool:
    query_id = newest_query(house)
    eventually(lambda: outcome_of(house, query_id) != "in_flight", "the end of a query in the database")
    return outcome_of(house, query_id) == "answered"


def _both_are_written_at_once(house: House) -> bool:
    """The callback stands before its commit while the answer is written; one settles, the other finds it done."""
    name = _hold_the_answer(house, outcome=house.rng.choice(("1", "-1")))
    house.points.arm(Point.INTAKE_BEFORE_COMMIT, Strike.WAIT)
    house.call_back(name, status=house.truth()[name]["outcome"])
    house.wait_until_struck(Point.INTAKE_BEFORE_COMMIT)
    # The callback holds the row: the answer waits for it.
    house.points.let_go(Point.WRITE_BACK_BEGINS)
    house.rest(0.5)
    house.points.let_go(Point.INTAKE_BEFORE_COMMIT)
    house.wait_until_settled([name])
    is_whole = _is_written_whole(house)
    assert _attention(house, name) is None
    return is_whole


def _false_callbacks_follow_an_answer(house: House) -> bool:
    """Callbacks that contradict what an answer has settled are shown, and change nothing."""
    names = house.place(2, outcome="1")
    house.wait_until_settled(names)
    house.call_back(names[0], status="-1", amount="0.00")
    house.call_back(names[1], amount="99.99")
    for name in names:
        eventually(partial(_is_in_conflict, house, name), f"a late conflict shown at order {name}")
    return True


def _said(house: House, name: str) -> list[str]:
    """What the platform has answered about an order."""
    return [status for arrival in house.arrivals() for one, status in arrival["answered"] if one == name]


def _attention(house: House, name: str) -> str | None:
    [(attention,)] = house.rows(f"SELECT attention FROM recharge_orders WHERE request_id = '{name}'")
    return attention if attention is None else str(attention)


def _is_in_conflict(house: House, name: str) -> bool:
    return _attention(house, name) == "late_conflict"
