import json
from pathlib import Path

import pytest

from benchmarks.schedule.scenario import Order, ScenarioError, read_scenario, write_scenario
from tests.unit.benchmarks_schedule.builders import make_scenario

VALID: dict[str, object] = {
    "horizon_seconds": 86400,
    "grace_seconds": 600,
    "window_seconds": 60,
    "batch_size": 100,
    "orders": [[0, 12.5, None], [1, None, None], [2, 3, 4]],
}


def test_a_scenario_is_read_as_it_is_described(tmp_path: Path) -> None:
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(VALID))
    scenario = read_scenario(file)
    assert (scenario.horizon_seconds, scenario.grace_seconds, scenario.window_seconds) == (86400, 600, 60)
    assert scenario.batch_size == 100
    assert scenario.orders == [Order(0, 12.5, None), Order(1, None, None), Order(2, 3, 4)]


def test_a_scenario_that_is_written_can_be_read(tmp_path: Path) -> None:
    scenario = make_scenario([(0.5, 2.25, 3), (1, None, None)])
    write_scenario(scenario, tmp_path / "scenario.json")
    assert read_scenario(tmp_path / "scenario.json") == scenario


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"horizon_seconds": None}, "horizon_seconds"),
        ({"grace_seconds": -1}, "grace_seconds"),
        ({"window_seconds": float("nan")}, "window_seconds"),
        ({"batch_size": True}, "batch_size"),
        ({"orders": [[0, 1, None], [0, 1]]}, r"orders\[1\] must be"),
        ({"orders": [[0, "soon", None]]}, r"orders\[0\]: settled"),
        ({"orders": [[5, 4, None]]}, r"orders\[0\] is settled before"),
        ({"orders": [[5, 7, 6]]}, r"orders\[0\] has a callback before"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_says_where(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(VALID | change))
    with pytest.raises(ScenarioError, match=complaint) as caught:
        read_scenario(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
