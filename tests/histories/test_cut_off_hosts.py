"""What a host that is cut off costs the accounts, in virtual time; one host of two, for an hour."""

import pytest

from tests.histories.cut_off import CONFIGURATION, HOUR, NO_ROUTE, OLD_TOKEN, CutOffSimulation, Meets, well
from tests.histories.world import VirtualDatabase
from tests.support.examples import examples, seconds
from worker.domain.records.incoming import QueryError

# An hour of ticks takes a minute of a processor: the limit, which ends what hangs, is three times the others'.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(seconds(1800))]

SIZES = [(1, 2), (4, 2)] if examples(1) == 1 else [(accounts, n) for accounts in (1, 10, 50) for n in (2, 8, 16)]
"""Accounts, and processes of each host; more of them with more examples."""


def on_host_two(error: QueryError, account: str | None = None) -> Meets:
    """The second host is cut off; for one account, or for all."""
    return lambda host, name: error if host == "two" and account in (None, name) else None


def everywhere(error: QueryError, account: str | None = None) -> Meets:
    return lambda _, name: error if account in (None, name) else None


@pytest.mark.parametrize("error", [NO_ROUTE, CONFIGURATION, OLD_TOKEN], ids=["unreachable", "-205", "old token"])
@pytest.mark.parametrize(("accounts", "processes"), SIZES)
def test_with_one_of_two_hosts_cut_off_for_an_hour_the_worst_account_keeps_its_budget(
    memory: VirtualDatabase, error: QueryError, accounts: int, processes: int
) -> None:
    run = CutOffSimulation(memory, accounts=accounts, processes=processes)
    run.meets = on_host_two(error)
    run.run(HOUR)
    assert min(run.shares().values()) >= 90, run.outcomes


@pytest.mark.parametrize(("accounts", "processes"), SIZES)
def test_an_account_that_one_host_is_refused_for_keeps_its_budget_and_so_do_the_others(
    memory: VirtualDatabase, accounts: int, processes: int
) -> None:
    run = CutOffSimulation(memory, accounts=accounts, processes=processes)
    run.meets = on_host_two(CONFIGURATION, "account-00")
    run.run(HOUR)
    assert min(run.shares().values()) >= 90, run.outcomes
    assert run.ended("refused") <= 4


@pytest.mark.parametrize(("accounts", "processes"), SIZES)
def test_an_account_that_is_misconfigured_everywhere_draws_few_refusals_and_costs_the_others_nothing(
    memory: VirtualDatabase, accounts: int, processes: int
) -> None:
    run = CutOffSimulation(memory, accounts=accounts, processes=processes)
    run.meets = everywhere(CONFIGURATION, "account-00")
    run.run(HOUR)
    assert 3 <= run.ended("refused") == run.ended("refused", "account-00") <= 6
    assert all(share >= 95 for name, share in run.shares().items() if name != "account-00"), run.shares()


def test_a_host_that_is_refused_costs_little_where_two_queries_may_be_under_way_together(
    memory: VirtualDatabase,
) -> None:
    run = CutOffSimulation(memory, slots=2)
    run.meets = on_host_two(CONFIGURATION)
    run.run(HOUR / 2)
    assert min(run.shares().values()) >= 90, run.outcomes


def test_an_account_that_is_refused_everywhere_does_not_hide_a_refused_host_from_those_of_its_sid(
    memory: VirtualDatabase,
) -> None:
    run = CutOffSimulation(memory, accounts=2, processes=1, has_one_sid=True)
    run.meets = lambda host, name: CONFIGURATION if name == "account-00" or host == "two" else None
    run.run(HOUR)
    assert run.shares()["account-01"] >= 80, run.outcomes


def test_a_host_that_queries_nothing_makes_a_misconfigured_account_draw_few_more_refusals(
    memory: VirtualDatabase,
) -> None:
    run = CutOffSimulation(memory, accounts=2, processes=2, has_idle_host=True)
    run.meets = everywhere(CONFIGURATION, "account-00")
    run.run(HOUR)
    assert 3 <= run.ended("refused") <= 8, run.outcomes


@pytest.mark.parametrize(
    ("meets", "most"), [(everywhere(NO_ROUTE), 17), (on_host_two(NO_ROUTE), 63)], ids=["both hosts", "one host"]
)
def test_once_the_network_is_back_all_accounts_are_polled_soon(
    memory: VirtualDatabase, meets: Meets, most: float
) -> None:
    run = CutOffSimulation(memory, accounts=4, processes=2)
    run.meets = meets
    run.run(HOUR / 2)
    run.meets = well
    # With one host, the last query of an account may have been answered just before.
    assert run.run_until_all_are_answered(HOUR) <= most


def test_once_a_refused_host_is_well_again_all_accounts_go_on(memory: VirtualDatabase) -> None:
    run = CutOffSimulation(memory, accounts=4, processes=2)
    run.meets = on_host_two(CONFIGURATION)
    run.run(HOUR / 2)
    run.meets = well
    assert run.run_until_all_are_answered(HOUR) <= 85
    run.run(HOUR / 2)
    # It takes part again.
    assert run.outcomes["two", "account-00", "answered"] > 0
