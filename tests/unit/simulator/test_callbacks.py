"""When the simulated platform pushes callbacks, and how often one that is not accepted."""

from collections.abc import Collection, Sequence
from typing import Any

import pytest

from worker.simulator.callbacks import CallbackSink
from worker.simulator.config import Account, SimulatorConfig
from worker.simulator.orders import Delay, NewOrder, Outcome
from worker.simulator.platform import Platform

ACCOUNT = Account(sid="sid", auth_token="token", app_id="app")
ORDER = NewOrder(request_id="1", custom_parm="c-1", mobile="18812340804", amount="2.94")


class Pushed:
    """A platform whose orders settle after 10 s, and what it pushed until a time."""

    def __init__(self, sink: CallbackSink | None = None, **options: Any) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.now = 0.0
        config = SimulatorConfig(accounts=(ACCOUNT,), delay=Delay.parse("10"), failed_share=0, **options)
        self.platform = Platform(config, on_callback=sink or self.bodies.extend, clock=lambda: self.now)

    def at(self, now: float) -> int:
        self.now = now
        return self.platform.callbacks.deliver_due()

    def until_none_waits(self) -> dict[str, int]:
        while self.at(self.now + 0.5) or self.platform.callbacks.counts().get("waiting"):
            pass
        return self.platform.callbacks.counts()


def test_a_callback_follows_the_settling_of_its_order() -> None:
    pushed = Pushed(callback_delay=Delay.parse("2"))
    pushed.platform.register([ORDER])
    assert (pushed.at(11.9), pushed.at(12)) == (0, 1)
    assert pushed.bodies == [
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
    assert pushed.platform.callbacks.counts() == {"sent": 1}


def test_a_lost_callback_is_never_pushed() -> None:
    pushed = Pushed()
    stuck = NewOrder(request_id="2", outcome=Outcome.STUCK)
    pushed.platform.register([NewOrder(request_id="1", callback_lost=True), stuck])
    assert pushed.at(1e9) == 0
    assert [order["callback"] for order in pushed.platform.truth()] == ["lost", "none"]


def test_a_callback_that_its_receiver_does_not_accept_is_counted() -> None:
    def fail(bodies: object) -> None:
        raise ConnectionError

    pushed = Pushed(fail)
    pushed.platform.register([ORDER])
    assert pushed.until_none_waits() == {"failed": 1}


@pytest.mark.parametrize(
    ("tries", "tried", "counts"),
    [({}, [1, 1, 1], {"sent": 1, "failed": 2}), ({"callback_tries": 3}, [1, 2, 3], {"sent": 2, "failed": 1})],
)
def test_only_what_was_not_accepted_is_pushed_again(
    tries: dict[str, int], tried: list[int], counts: dict[str, int]
) -> None:
    accepted_at = {"a": 1, "b": 2, "c": 9}
    times: list[str] = []

    def receive(bodies: Sequence[dict[str, Any]]) -> Collection[int]:
        ids = [body["requestId"] for body in bodies]
        times.extend(ids)
        return [position for position, one in enumerate(ids) if times.count(one) < accepted_at[one]]

    pushed = Pushed(receive, **tries)
    pushed.platform.register([NewOrder(request_id=one) for one in accepted_at])
    assert pushed.until_none_waits() == counts
    assert [times.count(one) for one in accepted_at] == tried
    assert pushed.now >= 10 + 2 * (max(tried) - 1)
