from random import Random

import pytest

from worker.simulator.answers import AnswerStyle
from worker.simulator.config import SimulatorConfig
from worker.simulator.control import read_object
from worker.simulator.faults import Faults
from worker.simulator.orders import NewOrder


@pytest.mark.parametrize("name", ["http-500", "http-429", "garbage-html", "silent", "absent", "refuse"])
def test_a_fault_is_known_by_name(name: str) -> None:
    assert Faults(shares={name: 0.5}).shares == {name: 0.5}


@pytest.mark.parametrize("name", ["http-99", "http-", "garbage-", "garbage", "slow", ""])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no fault; known are"):
        Faults(shares={name: 0.5})
    with pytest.raises(ValueError, match="is no fault; known are"):
        Faults(poison_effect=name)


@pytest.mark.parametrize("shares", [{"refuse": 0.7, "reset": 0.7}, {"refuse": -0.1}, {"absent": float("nan")}])
def test_shares_that_are_none_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at most"):
        Faults(shares=shares)


def test_shares_of_answers_and_of_items_are_counted_apart() -> None:
    faults = Faults(shares={"refuse": 1, "absent": 1})
    assert faults.of_answer(("1",), Random(1)) == "refuse"
    assert faults.of_item("1", Random(1)) == "absent"


def test_faults_occur_about_as_often_as_their_share_says() -> None:
    faults, rng = Faults(shares={"http-500": 0.2, "reset": 0.1}), Random(1)
    drawn = [faults.of_answer(("1",), rng) for _ in range(2000)]
    assert 350 < drawn.count("http-500") < 450
    assert 150 < drawn.count("reset") < 250


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "faults: expected an object"),
        ({"latencies": "1"}, "unknown field latencies"),
        ({"latency": "soon"}, "latency: 'soon' is not a duration"),
        ({"retry_after": -1}, "retry_after: expected a number of seconds"),
        ({"queries": True}, "queries: expected a whole number"),
        ({"absent_ids": "1"}, "absent_ids: expected a list"),
        ({"poison_ids": [1]}, "poison_ids: expected a text"),
        ({"shares": 1}, "shares: expected an object"),
    ],
)
def test_wrong_values_are_refused_with_the_name_of_their_field(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_object(Faults, value, what="faults")


def test_a_wrong_shape_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="shape: expected one of auto, array"):
        read_object(AnswerStyle, {"shape": "list"}, what="answers")
    with pytest.raises(ValueError, match="numbers: expected true or false"):
        read_object(AnswerStyle, {"numbers": 1}, what="answers")
    with pytest.raises(ValueError, match="outcome: expected one of 1, -1, stuck"):
        read_object(NewOrder, {"request_id": "1", "outcome": 1}, what="order")


@pytest.mark.parametrize(
    "options",
    [
        {"window_seconds": 0},
        {"window_seconds": float("nan")},
        {"queries_per_window": 0},
        {"failed_share": 0.7, "stuck_share": 0.7},
        {"lost_share": 1.1},
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SimulatorConfig(accounts=(), **options)  # type: ignore[arg-type]  # the point is their values
