from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from worker.simulator.config import Account, SimulatorConfig
from worker.simulator.orders import Delay, NewOrder, Outcome
from worker.simulator.platform import Platform

ACCOUNT = Account(sid="sid", auth_token="token", app_id="app")


@pytest.mark.parametrize(
    "text", ["fixed:0.5", "uniform:1,2", "exponential:3", "lognormal:10,0.8", "bimodal:1,60,0.2", "alternate:0,1.8"]
)
def test_a_delay_is_read_back_from_its_own_text(text: str) -> None:
    assert str(Delay.parse(text)) == text
    assert Delay.parse(text).draw(Random(1)) >= 0


def test_a_bare_number_is_a_fixed_delay() -> None:
    assert Delay.parse("0.3").draw(Random(1)) == 0.3


@pytest.mark.parametrize(
    "text", ["", "fixed", "fixed:", "uniform:1", "uniform:1,2,3", "gauss:1,2", "fixed:-1", "fixed:nan"]
)
def test_another_text_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="lognormal:median,sigma"):
        Delay.parse(text)


def test_a_delay_is_the_same_for_the_same_seed() -> None:
    delay = Delay.parse("lognormal:10,0.8")
    assert delay.draw(Random("7:1000")) == delay.draw(Random("7:1000"))


def test_alternating_delays_take_turns() -> None:
    delay = Delay.parse("alternate:0,1.8")
    assert [delay.draw(Random(1), turn=turn) for turn in range(4)] == [0, 1.8, 0, 1.8]


def test_bimodal_delays_have_both_humps() -> None:
    rng = Random(1)
    drawn = [Delay.parse("bimodal:1,100,0.3").draw(rng) for _ in range(1000)]
    assert 0.25 < sum(delay > 20 for delay in drawn) / 1000 < 0.35


def test_a_delay_without_a_mean_is_none() -> None:
    assert Delay.parse("exponential:0").draw(Random(1)) == 0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def platform(clock: Clock, *, pushed: list[Any] | None = None, **options: Any) -> Platform:
    defaults: dict[str, Any] = {"accounts": (ACCOUNT,), "delay": Delay.parse("fixed:10"), "failed_share": 0.0}
    config = SimulatorConfig(**defaults | options)

    def push(bodies: Sequence[dict[str, object]]) -> None:
        if pushed is not None:
            pushed.extend(bodies)

    return Platform(config, on_callback=push, clock=clock)


def test_an_order_settles_after_its_delay() -> None:
    clock = Clock()
    tested = platform(clock)
    tested.register([NewOrder(request_id="1", outcome=Outcome.FAILED, settle_after=5)])
    assert [order["status"] for order in tested.truth()] == ["0"]
    clock.now = 5
    assert [order["status"] for order in tested.truth()] == ["-1"]


def test_an_order_that_is_stuck_or_unknown_never_settles() -> None:
    clock = Clock()
    tested = platform(clock)
    tested.register([NewOrder(request_id="1", outcome=Outcome.STUCK), NewOrder(request_id="2", unknown=True)])
    clock.now = 1e9
    assert [order["settled"] for order in tested.truth()] == [False, False]


def test_what_is_not_given_is_drawn_from_seed_and_id() -> None:
    drawn = [NewOrder(request_id=str(number)) for number in range(200)]
    options: dict[str, Any] = {
        "failed_share": 0.3,
        "stuck_share": 0.1,
        "lost_share": 0.5,
        "delay": Delay.parse("uniform:0,9"),
    }
    first, again = platform(Clock(), **options), platform(Clock(), **options)
    assert first.register(drawn) == again.register(reversed(drawn))[::-1]
    assert platform(Clock(), **options, seed=2).register(drawn) != platform(Clock(), **options).register(drawn)
    failed = sum(order["outcome"] == "-1" for order in first.truth())
    assert 40 < failed < 80


def test_an_order_without_a_request_id_is_given_one() -> None:
    tested = platform(Clock())
    (placed,) = tested.register([NewOrder(custom_parm="c-1")])
    assert len(placed.request_id) == 16


def test_a_list_with_a_taken_id_adds_no_order() -> None:
    tested = platform(Clock())
    with pytest.raises(ValueError, match="order 1: requestId 1 is already taken"):
        tested.register([NewOrder(request_id="1"), NewOrder(request_id="1")])
    assert tested.truth() == []


def test_an_order_of_an_application_that_is_not_served_is_refused() -> None:
    with pytest.raises(ValueError, match="app_id must be one of app"):
        platform(Clock()).register([NewOrder(request_id="1", app_id="another")])


def test_an_order_needs_an_id() -> None:
    with pytest.raises(ValueError, match="request_id or custom_parm"):
        platform(Clock()).register([NewOrder(mobile="18800000804")])


def test_a_callback_follows_the_settling_of_its_order() -> None:
    clock, pushed = Clock(), list[Any]()
    tested = platform(clock, pushed=pushed, callback_delay=Delay.parse("fixed:2"))
    tested.register([NewOrder(request_id="1", custom_parm="c-1", mobile="18812340804", amount="2.94")])
    clock.now = 11.9
    assert tested.callbacks.deliver_due() == 0
    clock.now = 12
    assert tested.callbacks.deliver_due() == 1
    assert pushed == [
        {
            "requestId": "1",
            "customParm": "c-1",
            "appid": "app",
            "trafficSts": "1",
            "remark": "成功",
            "mobile": "188****0804",
            "oriAmount": "2.94",
        }
    ]
    assert tested.callbacks.counts() == {"sent": 1}


def test_a_lost_callback_is_never_pushed() -> None:
    clock, pushed = Clock(), list[Any]()
    tested = platform(clock, pushed=pushed)
    tested.register([NewOrder(request_id="1", callback_lost=True), NewOrder(request_id="2", outcome=Outcome.STUCK)])
    clock.now = 1e9
    assert tested.callbacks.deliver_due() == 0
    assert [order["callback"] for order in tested.truth()] == ["lost", "none"]


def test_a_callback_that_its_receiver_does_not_accept_is_counted() -> None:
    def fail(bodies: object) -> None:
        raise ConnectionError

    clock = Clock()
    config = SimulatorConfig(accounts=(ACCOUNT,), delay=Delay.parse("0"))
    tested = Platform(config, on_callback=fail, clock=clock)
    tested.register([NewOrder(request_id="1")])
    tested.callbacks.deliver_due()
    assert tested.callbacks.counts() == {"failed": 1}
