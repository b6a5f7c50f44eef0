"""What is observed of orders at their ages."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.domain.builders import NOW, RULES, make_order
from worker.domain.records.accounts import Rules
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Order, OrderState
from worker.domain.scheduling.ages_and_observations import (
    NEVER,
    Poll,
    ages_of,
    cohort_of,
    is_seen_from_the_start,
    observe_arrivals,
    observe_callbacks,
    observe_polls,
)

AGES = ages_of(RULES)
HOUR = timedelta(hours=1)
COHORT = cohort_of((NOW - HOUR).timestamp(), RULES)


def fresh(order_id: int = 1, **fields: object) -> Order:
    """An order of an hour's age that came in when it was submitted."""
    return make_order(order_id, **{"created_at": NOW - HOUR, **fields})


def settled(order: Order) -> Change:
    return Change(before=order, after=replace(order, state=OrderState.SUCCEEDED, settled_at=NOW))


@pytest.mark.parametrize(("grace", "age_at_arrival", "expected"), [(600, 599, True), (600, 600, False), (0, 59, True)])
def test_an_order_counts_that_came_in_within_its_grace_or_a_window(
    grace: float, age_at_arrival: float, expected: bool
) -> None:
    order = fresh(created_at=NOW - HOUR + timedelta(seconds=age_at_arrival))
    assert is_seen_from_the_start(order, Rules(grace_seconds=grace)) is expected


def test_an_order_whose_arrival_is_not_known_does_not_count() -> None:
    assert not is_seen_from_the_start(fresh(created_at=None), RULES)


def test_arrivals_are_observed_by_account_and_cohort() -> None:
    then = NOW - HOUR
    long_before = then - timedelta(seconds=RULES.grace_seconds)
    arrivals = [("default", then), ("default", then), ("other", then), ("other", long_before)]
    observations = observe_arrivals(arrivals, then, RULES)
    submitted = {account: dict(observed.submitted) for account, observed in observations.items()}
    assert submitted == {"default": {COHORT: 2}, "other": {COHORT: 1}}


def test_a_callback_that_settles_a_pending_order_is_observed_at_its_age() -> None:
    already, unchanged = fresh(2, state=OrderState.UNRESOLVED), Change(before=fresh(3), after=fresh(3))
    changes = [settled(fresh(1)), settled(already), unchanged, settled(fresh(4, created_at=NOW))]
    observations = observe_callbacks(changes, NOW, RULES)
    assert observations.keys() == {"default"}
    assert observations["default"].called_back == {(COHORT, AGES.bin_of(3600.0)): 1}


def test_a_poll_is_observed_between_the_ages_of_two_queries_with_what_it_found() -> None:
    again = fresh(1, queried_at=NOW - HOUR / 2)
    first, open_ = fresh(2), fresh(3)
    polls = observe_polls([settled(again), settled(first), Change(before=open_, after=open_)], NOW, RULES).polls
    now = AGES.bin_of(3600.0)
    assert polls == {
        Poll(COHORT, AGES.bin_of(1800.0), now, True): 1,
        Poll(COHORT, NEVER, now, True): 1,
        Poll(COHORT, NEVER, now, False): 1,
    }


def test_of_an_order_that_came_in_late_only_the_later_polls_are_observed() -> None:
    late = fresh(1, created_at=NOW)
    assert not observe_polls([settled(late)], NOW, RULES)
    assert observe_polls([settled(replace(late, queried_at=NOW - HOUR / 2))], NOW, RULES)
