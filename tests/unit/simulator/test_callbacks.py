"""When the simulated platform pushes callbacks, and how often one that is not accepted."""

from typing import Any

import pytest

from worker.simulator.callbacks import Push, http_push
from worker.simulator.orders import Delay, NewOrder, Outcome
from worker.simulator.platform import Platform, SimulatorConfig
from worker.simulator.protocol import Account

ACCOUNT = Account(sid="sid", auth_token="token", app_id="app")
ORDER = NewOrder(request_id="1", custom_parm="c-1", mobile="18812340804", amount="2.94")


class Pushed:
    """A platform whose orders settle after 10 s, and what it pushed until a time."""

    def __init__(self, push: Push | None = None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.now = 0.0
        config = SimulatorConfig(accounts=(ACCOUNT,), delay=Delay.parse("10"), failed_share=0)
        self.platform = Platform(config, push=push or self.take, clock=lambda: self.now)

    def take(self, body: dict[str, Any]) -> bool:
        self.bodies.append(body)
        return True

    def at(self, now: float) -> int:
        self.now = now
        return self.platform.callbacks.deliver_due()

    def until_none_waits(self) -> dict[str, int]:
        while self.at(self.now + 0.5) or self.platform.callbacks.counts().get("waiting"):
            pass
        return self.platform.callbacks.counts()


def test_a_callback_follows_the_settling_of_its_order() -> None:
    pushed = Pushed()
    pushed.platform.register([ORDER])
    assert (pushed.at(9.9), pushed.at(10)) == (0, 1)
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


def test_only_what_was_not_accepted_is_pushed_again_and_three_times_at_most() -> None:
    accepted_at = {"a": 1, "b": 2, "c": 9}
    times: list[object] = []

    def receive(body: dict[str, Any]) -> bool:
        times.append(body["requestId"])
        return times.count(body["requestId"]) >= accepted_at[body["requestId"]]

    pushed = Pushed(receive)
    pushed.platform.register([NewOrder(request_id=one) for one in accepted_at])
    assert pushed.until_none_waits() == {"sent": 2, "failed": 1}
    assert [times.count(one) for one in accepted_at] == [1, 2, 3]
    assert pushed.now >= 10 + 2 * 2


def test_callbacks_need_a_url_that_can_be_posted_to() -> None:
    with pytest.raises(ValueError, match="no http:// or https:// URL"):
        http_push("ftp://127.0.0.1/")
