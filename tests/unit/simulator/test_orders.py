from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from worker.simulator.orders import Delay, NewOrder, Outcome
from worker.simulator.platform import Platform, SimulatorConfig
from worker.simulator.protocol import Account

ACCOUNT = Account(sid="sid", auth_token="token", app_id="app")


@pytest.mark.parametrize(
    ("text", "turns"),
    [("0.3", [0.3, 0.3]), ("alternate:0,1.8", [0, 1.8, 0, 1.8]), ("uniform:2,2", [2, 2])],
)
def test_a_bare_number_is_fixed_and_alternating_delays_take_turns(text: str, turns: list[float]) -> None:
    assert [Delay.parse(text).draw(Random(1), turn=turn) for turn in range(len(turns))] == turns


@pytest.mark.parametrize(
    "text", ["", "fixed", "fixed:", "uniform:1", "uniform:1,2,3", "gauss:1,2", "fixed:-1", "fixed:nan"]
)
def test_another_text_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="uniform:LEAST,MOST"):
        Delay.parse(text)


def platform(clock: Callable[[], float] = lambda: 0.0, **options: Any) -> Platform:
    defaults: dict[str, Any] = {"accounts": (ACCOUNT,), "delay": Delay.parse("fixed:10"), "failed_share": 0.0}
    return Platform(SimulatorConfig(**defaults | options), clock=clock)


def test_an_order_settles_after_its_delay_and_one_that_is_stuck_or_unknown_never() -> None:
    now = 0.0
    tested = platform(lambda: now)
    stuck, unknown = NewOrder(request_id="2", outcome=Outcome.STUCK), NewOrder(request_id="3", unknown=True)
    tested.register([NewOrder(request_id="1", outcome=Outcome.FAILED, settle_after=5), stuck, unknown])
    assert [order["status"] for order in tested.truth()] == ["0", "0", "0"]
    now = 5.0
    assert tested.truth()[0]["status"] == "-1"
    now = 1e9
    assert [order["settled"] for order in tested.truth()] == [True, False, False]


def test_what_is_not_given_is_drawn_from_seed_and_id() -> None:
    drawn = [NewOrder(request_id=str(number)) for number in range(200)]
    shares: dict[str, Any] = {"failed_share": 0.3, "stuck_share": 0.1, "lost_share": 0.5}
    first, again, other = (platform(**shares, delay=Delay.parse("uniform:0,9"), seed=seed) for seed in (1, 1, 2))
    registered = first.register(drawn)
    assert registered == again.register(reversed(drawn))[::-1]
    assert registered != other.register(drawn)
    failed = sum(order["outcome"] == "-1" for order in first.truth())
    assert 40 < failed < 80


def test_an_order_without_a_request_id_is_given_one() -> None:
    (placed,) = platform().register([NewOrder(custom_parm="c-1")])
    assert len(placed.request_id) == 16


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (NewOrder(request_id="1"), "requestId 1 is already taken"),
        (NewOrder(request_id="2", app_id="another"), "app_id must be one of app"),
        (NewOrder(mobile="18800000804"), "request_id or custom_parm"),
    ],
)
def test_a_list_with_an_order_that_cannot_be_placed_adds_none(order: NewOrder, message: str) -> None:
    tested = platform()
    with pytest.raises(ValueError, match=message):
        tested.register([NewOrder(request_id="1"), order])
    assert tested.truth() == []
