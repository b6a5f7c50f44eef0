from random import Random

import pytest

from worker.simulator.faults import Faults


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
