from random import Random

import pytest

from worker.simulator.draws import Delay


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
