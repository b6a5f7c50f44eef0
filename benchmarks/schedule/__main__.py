"""`python -m benchmarks.schedule`: policies on one workload, or on the whole table."""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.schedule.comparison import COMPARED_WITH, findings, table_of
from benchmarks.schedule.measure import Measured
from benchmarks.schedule.plot import write_plot
from benchmarks.schedule.policies import POLICIES
from benchmarks.schedule.runs import Case, run_all, run_policy
from benchmarks.schedule.scenario import Scenario
from benchmarks.schedule.table import as_json, finding_lines, table_lines
from benchmarks.schedule.workloads import WORKLOADS, make_scenario

EPILOG = f"""\
one workload:    --workload NAME --load N [--seed N]; then --policy is adaptive unless named
the whole table: none of these, or several --workload without --load; adaptive and the usual policies unless named

workloads: {", ".join(WORKLOADS)}
policies:  {", ".join(POLICIES)}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the arguments name. A missed target is shown, not an error."""
    parser = _parser()
    options = parser.parse_args(arguments)
    scenario = _one_scenario(parser, options)
    if scenario is None:
        _whole_table(parser, options)
    else:
        policies = options.policy or ["adaptive"]
        _show({policy: run_policy(scenario, policy) for policy in policies}, is_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.schedule",
        description="Run policies that choose the batch, in virtual time, and measure how late each result is learned.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("--workload", metavar="NAME", action="append", choices=WORKLOADS, help="which workload")
    parser.add_argument("--load", metavar="N", type=_load, help="its orders per minute")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="which day of that workload (1)")
    parser.add_argument("--policy", metavar="NAME", action="append", choices=POLICIES, help="can be repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--seeds", metavar="N", type=int, default=3, help="days of each scenario of the table (3)")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="write the table as a plot, too (SVG)")
    return parser


def _load(text: str) -> float:
    load = float(text)
    if not 0 < load <= 100_000:
        raise argparse.ArgumentTypeError("a load is more than 0 and at most 100000 orders per minute")
    return load


def _one_scenario(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Scenario | None:
    """The one scenario that the options name; None for the whole table."""
    if options.load:
        if not options.workload or len(options.workload) > 1:
            parser.error("--load needs one --workload")
        return make_scenario(options.workload[0], options.load, options.seed)
    return None


def _show(measured: Mapping[str, Measured], *, is_json: bool) -> None:
    if is_json:
        values = {policy: asdict(one) for policy, one in measured.items()}
        print(json.dumps(values if len(values) > 1 else next(iter(values.values()))))
        return
    for policy, one in measured.items():
        print(f"{policy}:")
        for key, value in asdict(one).items():
            print(f"  {key:22} {'-' if value is None else f'{value:,.6g}'}")


def _whole_table(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.seeds < 1:
        parser.error("--seeds must be 1 or more")
    if options.plot and not options.plot.parent.is_dir():
        parser.error(f"no folder {options.plot.parent} to write the plot to")
    cases = [Case(name, load) for name in options.workload or WORKLOADS for load in WORKLOADS[name].loads]
    policies = list(dict.fromkeys(options.policy or ("adaptive", *COMPARED_WITH)))
    table = table_of(run_all(cases, range(1, options.seeds + 1), policies, os.cpu_count() or 1))
    table = {(case, policy): table[case, policy] for case in cases for policy in policies if (case, policy) in table}
    found = {policy: findings(table, policy) for policy in policies if policy not in COMPARED_WITH}
    if options.plot:
        write_plot(table, options.plot)
    if options.json:
        print(json.dumps(as_json(table, found)))
    else:
        print("\n".join([*table_lines(table), "", *finding_lines(found)]))


if __name__ == "__main__":
    main()
