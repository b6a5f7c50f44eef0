import pytest

from benchmarks.schedule.measure import measure
from benchmarks.schedule.simulation import Outcome
from tests.unit.benchmarks_schedule.builders import make_scenario

HORIZON = 300 * 60


def test_a_delay_runs_from_the_later_of_settlement_and_end_of_grace() -> None:
    scenario = make_scenario([(0, 60, None), (0, 1000, None)], grace_seconds=600)
    measured = measure(scenario, Outcome(learned_at=[660, 1200], queries=7, ids=9))
    assert (measured.mean_delay_seconds, measured.median_delay_seconds, measured.max_delay_seconds) == (130, 130, 200)
    assert (measured.queries, measured.ids, measured.never_learned_share) == (7, 9, 0)


def test_an_order_counts_when_its_callback_is_lost_and_it_settles_two_hours_before_the_horizon() -> None:
    last = HORIZON - 7200
    scenario = make_scenario([(0, last, None), (0, last + 1, None), (0, 60, 60), (0, 60, 9000), (0, None, None)])
    measured = measure(scenario, Outcome(learned_at=[last + 5, HORIZON - 1, 60, 900, None], queries=0, ids=0))
    assert measured.max_delay_seconds == 5


def test_what_is_never_learned_is_learned_at_the_horizon() -> None:
    scenario = make_scenario([(0, 1000, None), (0, 1000, None)])
    measured = measure(scenario, Outcome(learned_at=[None, 1060], queries=0, ids=0))
    assert measured.max_delay_seconds == HORIZON - 1000
    assert measured.never_learned_share == 0.5


def test_quantiles_lie_between_two_delays_in_proportion() -> None:
    scenario = make_scenario([(0, 1000, None)] * 11)
    measured = measure(scenario, Outcome(learned_at=[1000 + 10 * n for n in range(11)], queries=0, ids=0))
    assert measured.median_delay_seconds == 50
    assert measured.p90_delay_seconds == pytest.approx(90)
    assert measured.p99_delay_seconds == pytest.approx(99)


def test_a_scenario_in_which_no_order_counts_has_no_delays() -> None:
    measured = measure(make_scenario([(0, 60, 60)]), Outcome(learned_at=[60], queries=0, ids=0))
    assert measured.mean_delay_seconds is measured.p99_delay_seconds is measured.never_learned_share is None
