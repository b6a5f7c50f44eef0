from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmarks.schedule.comparison import Finding, Table, findings, table_of
from benchmarks.schedule.measure import Measured
from benchmarks.schedule.plot import plot
from benchmarks.schedule.runs import Case, Run
from benchmarks.schedule.table import as_json, finding_lines, table_lines

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
    assert (row.mean, row.p99, row.seeds) == (100, 1000, 2)


def test_runs_in_which_no_order_counts_have_no_row() -> None:
    assert not table_of([Run(QUICK, 1, "adaptive", replace(MEASURED, mean_delay_seconds=None))])


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


def test_oldest_first_is_to_be_beaten_everywhere_but_in_the_outage() -> None:
    oldest = found("oldest first")
    assert oldest.value == pytest.approx(20)
    assert oldest.is_reached is True


def test_nothing_is_compared_without_the_policies_to_compare_with() -> None:
    only_ours = {key: row for key, row in a_table().items() if key[1] == "adaptive"}
    assert findings(only_ours, "adaptive") == []
    assert "Nothing is compared" in finding_lines({"adaptive": []})[0]


def test_the_table_shows_minutes_and_whether_a_target_is_reached() -> None:
    lines = table_lines(a_table())
    assert lines[1].split() == ["quick", "100", "0.500", "1.000", "2.000", "10.0", "0.500"]
    shown = finding_lines({"adaptive": findings(a_table(), "adaptive")})
    assert any(line.split()[-3:] == ["0.500", "0.55", "yes"] or line.endswith("yes") for line in shown)
    assert any(line.endswith("NO") for line in shown)


def test_the_json_holds_every_row_and_every_finding() -> None:
    value = as_json(a_table(), {"adaptive": findings(a_table(), "adaptive")})
    rows, all_found = value["rows"], value["findings"]
    assert isinstance(rows, list)
    assert isinstance(all_found, list)
    assert len(rows) == 10
    assert {"mean_delay_seconds", "p99_delay_seconds", "never_learned_share", "queries", "ids"} <= rows[0].keys()
    assert {"policy", "what", "value", "target", "reached"} <= all_found[0].keys()


def test_the_plot_is_an_svg_with_a_mark_for_each_row_and_all_that_a_reader_needs() -> None:
    text = plot(a_table())
    root = ElementTree.fromstring(text)
    marks = [element for element in root.iter("{http://www.w3.org/2000/svg}path") if len(element)]
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert len(marks) == 10
    assert {"adaptive", "round-robin", "quick 100", "outage 700", "mean delay in minutes (logarithmic)"} <= texts
