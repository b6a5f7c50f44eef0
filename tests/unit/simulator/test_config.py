import inspect
from dataclasses import fields
from typing import Any

import pytest

from worker.simulator.command import platform
from worker.simulator.config import Account, SimulatorConfig, parse_account
from worker.simulator.faults import Faults
from worker.simulator.platform import Platform

ACCOUNT = Account(sid="sid", auth_token="token", app_id="app")


def test_every_option_fills_a_field_or_is_the_commands_own() -> None:
    filled = {one.name for kind in (SimulatorConfig, Faults) for one in fields(kind)}
    assert set(inspect.signature(platform).parameters) - filled == {"as_json", "callback_url"}


def test_an_account_is_read_from_an_argument_and_its_token_is_not_shown() -> None:
    assert parse_account("sid:token:app") == ACCOUNT
    assert "token'" not in repr(ACCOUNT)
    with pytest.raises(ValueError, match="SID:TOKEN:APPID"):
        parse_account("sid:token")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_seconds": 0}, "must be"),
        ({"window_seconds": float("nan")}, "must be"),
        ({"queries_per_window": 0}, "must be"),
        ({"failed_share": 0.7, "stuck_share": 0.7}, "must be"),
        ({"lost_share": 1.1}, "must be"),
        ({"callback_tries": 0}, "at least once"),
        ({"accounts": (ACCOUNT, Account(sid="sid", auth_token="another", app_id="b"))}, "two different tokens"),
        ({"accounts": (ACCOUNT, Account(sid="s2", auth_token="t2", app_id="app"))}, "given twice"),
    ],
)
def test_what_is_out_of_range_or_contradicts_itself_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Platform(SimulatorConfig(**{"accounts": (), **options}))
