"""How often the simulated platform pushes a callback that is not accepted."""

from collections.abc import Sequence
from typing import Any

import pytest

from worker.simulator.callbacks import NotAccepted
from worker.simulator.config import Account, SimulatorConfig
from worker.simulator.orders import Delay, NewOrder
from worker.simulator.platform import Platform

ACCOUNT = Account(sid="sid", auth_token="token", app_id="app")


class Receiver:
    """Accepts no callback of an order before this push of it."""

    def __init__(self, **accepts_push: int) -> None:
        self._accepts = accepts_push
        self.pushed: list[str] = []

    def __call__(self, bodies: Sequence[dict[str, Any]]) -> None:
        ids = [str(body["requestId"]) for body in bodies]
        self.pushed += ids
        refused = [position for position, one in enumerate(ids) if self.pushed.count(one) < self._accepts[one]]
        if refused:
            raise NotAccepted(refused)


def pushed_by(receiver: Receiver, tries: int, *ids: str) -> tuple[dict[str, int], float]:
    """Let a platform push the callbacks of these orders; returns how many ended how, and the seconds that it took."""
    now = [0.0]
    config = SimulatorConfig(accounts=(ACCOUNT,), delay=Delay.parse("fixed:0"), callback_tries=tries)
    platform = Platform(config, on_callback=receiver, clock=lambda: now[0])
    platform.register([NewOrder(request_id=one, mobile="18812340804") for one in ids])
    while platform.callbacks.deliver_due() or platform.callbacks.counts().get("waiting"):
        now[0] += 0.5
    return platform.callbacks.counts(), now[0]


def test_only_what_was_not_accepted_is_pushed_again() -> None:
    receiver = Receiver(a=1, b=2, c=9)
    counts, seconds = pushed_by(receiver, 3, "a", "b", "c")
    assert counts == {"sent": 2, "failed": 1}
    assert [receiver.pushed.count(one) for one in "abc"] == [1, 2, 3]
    assert seconds >= 4


def test_by_default_a_callback_is_pushed_once() -> None:
    receiver = Receiver(a=2)
    assert pushed_by(receiver, SimulatorConfig(accounts=(ACCOUNT,)).callback_tries, "a")[0] == {"failed": 1}
    assert receiver.pushed == ["a"]


def test_a_callback_is_pushed_at_least_once() -> None:
    with pytest.raises(ValueError, match="at least once"):
        SimulatorConfig(accounts=(ACCOUNT,), callback_tries=0)
