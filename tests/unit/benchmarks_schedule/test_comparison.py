from dataclasses import replace

import pytest

from benchmarks.schedule.comparison import Finding, Table, findings, table_of
from benchmarks.schedule.measure import Measured
from benchmarks.schedule.runs import Case, Run

QUICK, OUTAGE = Case("quick", 100), Case("outage", 700)
MEASURED = Measured(
    mean_delay_seconds=60,
    median_delay_seconds=60,
    p90_delay_seconds=60,
    p99_delay_seconds=600,
    max_delay_seconds=600,
    never_learned_share=0,
    queries=1,
    ids=1,
)
MEANS = {
    QUICK: {"adaptive": 30, "exponential-backoff": 60, "round-robin": 120, "oldest-first": 600, "clairvoyant": 30},
    OUTAGE: {"adaptive": 120, "exponential-backoff": 240, "round-robin": 100, "oldest-first": 900, "clairvoyant": 90},
}


def a_table() -> Table:
    return table_of(
        Run(case, seed, policy, replace(MEASURED, mean_delay_seconds=mean + seed, p99_delay_seconds=10.0 * mean))
        for case, means in MEANS.items()
        for policy, mean in means.items()
        for seed in (-1, 1)
    )


def found(what: str) -> Finding:
    return next(finding for finding in findings(a_table(), "adaptive") if finding.what.startswith(what))


def test_a_row_is_the_mean_over_the_seeds() -> None:
    row = a_table()[OUTAGE, "round-robin"]
    assert (row.mean, row.means["p99_delay_seconds"], row.seeds) == (100, 1000, 2)


def test_a_policy_is_compared_by_geometric_means_over_the_cases() -> None:
    assert found("mean against backoff").value == pytest.approx(0.5)
    assert found("mean against round robin").value == pytest.approx((0.25 * 1.2) ** 0.5)
    assert found("mean against the better of the two, geometric").value == pytest.approx((0.5 * 1.2) ** 0.5)
    assert found("p99 against the better").value == pytest.approx((0.5 * 1.2) ** 0.5)


def test_the_worst_case_is_named_and_compared_with_its_target() -> None:
    worst = found("mean against the better of the two, worst")
    assert worst.value == pytest.approx(1.2)
    assert "outage 700" in worst.what
    assert worst.is_reached is False


def test_small_accounts_have_their_own_mean_and_the_smallest_their_own_bound() -> None:
    means = dict(MEANS[QUICK], adaptive=69)
    runs = [
        Run(Case("quick", load), 1, policy, replace(MEASURED, mean_delay_seconds=mean))
        for load in (5, 20, 100)
        for policy, mean in means.items()
    ]
    found = {one.group: one for one in findings(table_of(runs), "adaptive") if "better of the two" in one.what}
    assert (found["all above 5 a minute"].target, found["all above 5 a minute"].is_reached) == (1.10, False)
    assert (found["1 and 5 a minute"].target, found["1 and 5 a minute"].is_reached) == (1.20, True)
    assert "5 to 50 a minute" in found
