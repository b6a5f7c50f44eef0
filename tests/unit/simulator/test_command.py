import inspect
from dataclasses import fields

from worker.simulator import AnswerStyle, Faults, SimulatorConfig
from worker.simulator.command import platform


def test_every_option_fills_a_field_or_is_the_commands_own() -> None:
    filled = {one.name for kind in (SimulatorConfig, AnswerStyle, Faults) for one in fields(kind)}
    assert set(inspect.signature(platform).parameters) - filled == {"as_json", "callback_url", "callback_broker"}
