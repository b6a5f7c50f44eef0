"""The table of all runs, as text and as JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from benchmarks.figures import in_columns
from benchmarks.schedule.comparison import Finding, Table
from benchmarks.schedule.runs import Case


def table_lines(table: Table) -> list[str]:
    """For each case the mean delay in minutes and, where it is not zero, the share never learned, of each policy."""
    cases = dict.fromkeys(case for case, _ in table)
    policies = dict.fromkeys(policy for _, policy in table)
    head = ["mean delay in minutes (never learned)", *policies]
    rows = [[case.title, *(_cell(table, case, policy) for policy in policies)] for case in cases]
    return in_columns([head, *rows], left=1)


def finding_lines(found: Mapping[str, Sequence[Finding]]) -> list[str]:
    """The figures of each policy and their targets, by policy."""
    if not any(found.values()):
        return ["Nothing is compared: that needs a policy of ours and all those to compare with."]
    head = ["policy", "workloads", "what", "value", "target", "reached"]
    rows = [
        [policy, finding.group, finding.what, _value(finding.value), _target(finding), _reached(finding)]
        for policy, findings in found.items()
        for finding in findings
    ]
    return in_columns([head, *rows], left=3)


def as_json(table: Table, found: Mapping[str, Sequence[Finding]]) -> dict[str, object]:
    """All of it, for a program that compares two runs; delays in seconds, each the mean over the seeds."""
    return {
        "findings": [
            {"policy": policy, **asdict(finding), "reached": finding.is_reached}
            for policy, findings in found.items()
            for finding in findings
        ],
        "rows": [
            {**row.case._asdict(), "policy": row.policy, "seeds": row.seeds, **row.means} for row in table.values()
        ],
    }


def _cell(table: Table, case: Case, policy: str) -> str:
    row = table.get((case, policy))
    if row is None:
        return "-"
    share = row.means["never_learned_share"]
    return _value(row.mean / 60) + (f" ({100 * share:.1f}%)" if share >= 0.0005 else "")


def _value(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def _target(finding: Finding) -> str:
    return "" if finding.target is None else f"{'>' if finding.more_is_better else '≤'} {finding.target:g}"


def _reached(finding: Finding) -> str:
    return {None: "", True: "yes", False: "NO"}[finding.is_reached]
