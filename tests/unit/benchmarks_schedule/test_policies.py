from collections.abc import Collection, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.schedule.informed import true_curve
from benchmarks.schedule.policies import POLICIES
from benchmarks.schedule.scenario import Scenario
from benchmarks.schedule.simulation import Policy, simulate
from tests.unit.benchmarks_schedule.builders import WINDOW, make_scenario
from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import ages_of

pytestmark = pytest.mark.slow

COMPARED_WITH = [name for name in POLICIES if name not in ("adaptive", "informed")]
STUCK = (0.0, None, None)
AGES = ages_of(Rules())


class Recorded:
    """A policy, and the orders that it polled in each window."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.submitted = policy.submitted
        self.called_back = policy.called_back
        self.polled: dict[int, list[int]] = {}

    def choose(self, now: float, limit: int) -> Sequence[int]:
        return self._policy.choose(now, limit)

    def answered(self, now: float, asked: Sequence[int], settled: Collection[int]) -> None:
        self.polled[round(now / WINDOW)] = list(asked)
        self._policy.answered(now, asked, settled)


def polled_by(policy: str, scenario: Scenario) -> dict[int, list[int]]:
    observed = Recorded(POLICIES[policy](scenario))
    simulate(scenario, observed)
    return observed.polled


def windows_of(order: int, polled: dict[int, list[int]]) -> list[int]:
    return [window for window, orders in polled.items() if order in orders]


def test_oldest_first_polls_the_same_stuck_orders_for_good() -> None:
    scenario = make_scenario([STUCK, (1, None, None), (2, 3, None)], windows=100)
    polled = polled_by("oldest-first", scenario)
    # The youngest of them ends its grace within the eleventh window.
    assert polled == {10: [0]} | {window: [0, 1] for window in range(11, 100)}


def test_round_robin_takes_the_never_polled_by_age_then_the_longest_unpolled() -> None:
    scenario = make_scenario([STUCK, STUCK, STUCK, (60, None, None), (180, None, None)], windows=16)
    polled = polled_by("round-robin", scenario)
    assert polled == {10: [0, 1], 11: [2, 3], 12: [0, 1], 13: [4, 2], 14: [3, 0], 15: [1, 4]}


def test_backoff_polls_at_the_end_of_the_grace_then_after_5_minutes_doubling_to_6_hours() -> None:
    polls = windows_of(0, polled_by("exponential-backoff", make_scenario([STUCK], windows=1500)))
    assert polls[0] == 10
    waits = [later - earlier for earlier, later in pairwise(polls)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 360, 360]


def test_backoff_takes_the_first_due_first() -> None:
    # The third order is due for the first time at minute 15, as the first two are again; the fourth a minute earlier.
    scenario = make_scenario([STUCK, STUCK, (300, None, None), (240, None, None)], windows=17, batch_size=3)
    assert polled_by("exponential-backoff", scenario) == {10: [0, 1], 14: [3], 15: [0, 1, 2]}
    scenario = make_scenario([STUCK, STUCK, (300, None, None), (290, None, None)], windows=17, batch_size=1)
    assert polled_by("exponential-backoff", scenario) == {10: [0], 11: [1], 15: [3], 16: [0]}


def test_the_clairvoyant_polls_only_what_has_settled_oldest_first() -> None:
    scenario = make_scenario(
        [(30, 900, None), (10, 890, None), (20, 880, None), STUCK, (0, 600, 600), (1, 60, None)], windows=40
    )
    assert polled_by("clairvoyant", scenario) == {11: [5], 15: [1, 2], 16: [0]}


def test_the_informed_knows_what_share_settles_by_which_age_and_how_many_callbacks_are_lost() -> None:
    scenario = make_scenario([(50, 150, 160), (0, 100, None), (7, 5_007, 5_007), (9, 20, 30), STUCK])
    curve = true_curve(scenario.orders, AGES)
    assert [curve.settled_at(age) for age in (0, 300, 3_000, 9_000)] == pytest.approx([0, 0.6, 0.6, 0.8])
    assert curve.lost_share == 0.25


seconds = st.integers(0, 3000)
orders = st.tuples(seconds, st.none() | seconds, st.none() | seconds).map(
    lambda o: (
        float(o[0]),
        None if o[1] is None else float(o[0] + o[1]),
        None if o[1] is None or o[2] is None else float(o[0] + o[1] + o[2]),
    )
)


@pytest.mark.parametrize("policy", COMPARED_WITH)
@given(st.lists(orders, max_size=40), st.integers(1, 12))
def test_no_policy_polls_within_the_grace_or_after_a_callback_or_more_than_a_batch(
    policy: str, some: list[tuple[float, float | None, float | None]], batch_size: int
) -> None:
    scenario = make_scenario(some, windows=150, batch_size=batch_size)
    for window, polled in polled_by(policy, scenario).items():
        assert 0 < len(polled) <= batch_size
        assert len(polled) == len(set(polled))
        for order in polled:
            submitted, _, callback = scenario.orders[order]
            assert submitted + scenario.grace_seconds <= window * WINDOW
            assert callback is None or callback > window * WINDOW


@pytest.mark.parametrize("policy", [name for name in COMPARED_WITH if name != "oldest-first"])
@given(st.lists(orders, max_size=20))
def test_all_but_oldest_first_learn_every_result_where_there_is_time(
    policy: str, some: list[tuple[float, float | None, float | None]]
) -> None:
    scenario = make_scenario(some, windows=1000, batch_size=5)
    outcome = simulate(scenario, POLICIES[policy](scenario))
    assert [at is not None for at in outcome.learned_at] == [order.settled is not None for order in scenario.orders]
