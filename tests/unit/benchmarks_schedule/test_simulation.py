import pytest

from benchmarks.schedule.simulation import PolicyError, simulate
from tests.unit.benchmarks_schedule.builders import Script, make_scenario


def test_a_policy_receives_all_that_happens_in_the_order_of_time() -> None:
    scenario = make_scenario([(70, 130, 190.0), (10, 65, None), (20, None, None)], windows=5)
    script = Script({2: (1, 2)})
    simulate(scenario, script)
    assert script.calls == [
        ("submitted", 1, 10),
        ("submitted", 2, 20),
        ("submitted", 0, 70),
        ("answered", ((1, 2), (1,)), 120),
        ("called back", 0, 190),
    ]


def test_there_is_a_query_at_each_whole_window_before_the_horizon() -> None:
    script = Script({})
    assert simulate(make_scenario([], windows=4), script).queries == 0
    assert script.windows == [0, 60, 120, 180]


def test_what_happens_at_the_moment_of_a_query_happens_before_it() -> None:
    scenario = make_scenario([(60, 120, None), (0, 120, 120)], windows=5)
    script = Script({1: (0,), 2: (0,)})
    outcome = simulate(scenario, script)
    assert outcome.learned_at == [120, 120]
    assert script.calls.index(("called back", 1, 120)) < script.calls.index(("answered", ((0,), (0,)), 120))


def test_queries_and_the_orders_polled_are_counted() -> None:
    scenario = make_scenario([(0, None, None), (0, 30, None), (0, None, None)], windows=5)
    outcome = simulate(scenario, Script({1: (0, 1), 3: (2,)}))
    assert (outcome.queries, outcome.ids, outcome.learned_at) == (2, 3, [None, 60, None])


def test_a_callback_that_comes_after_the_answer_changes_nothing() -> None:
    script = Script({1: (0,)})
    outcome = simulate(make_scenario([(0, 30, 100)], windows=5), script)
    assert outcome.learned_at == [60]
    assert not [what for what, *_ in script.calls if what == "called back"]


@pytest.mark.parametrize(
    ("batches", "complaint"),
    [
        ({1: (0, 1, 2)}, "a batch holds 2"),
        ({1: (0, 0)}, "twice"),
        ({1: (3,)}, "not pending"),  # not submitted yet
        ({3: (1,)}, "not pending"),  # settled by its callback
        ({2: (0,), 3: (0,)}, "not pending"),  # settled by an answer
    ],
)
def test_a_policy_that_breaks_the_rules_is_refused(batches: dict[int, tuple[int, ...]], complaint: str) -> None:
    scenario = make_scenario([(0, 100, None), (0, 150, 180), (0, None, None), (100, None, None)], windows=5)
    with pytest.raises(PolicyError, match=complaint):
        simulate(scenario, Script(batches))
