import inspect
from dataclasses import fields

from worker.simulator.answers import AnswerStyle
from worker.simulator.command import platform
from worker.simulator.config import SimulatorConfig
from worker.simulator.faults import Faults


def test_every_option_fills_a_field_or_is_the_commands_own() -> None:
    filled = {one.name for kind in (SimulatorConfig, AnswerStyle, Faults) for one in fields(kind)}
    assert set(inspect.signature(platform).parameters) - filled == {"as_json", "callback_url", "callback_broker"}
