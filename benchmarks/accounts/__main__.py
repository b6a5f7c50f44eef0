"""`python -m benchmarks.accounts [--accounts N] [--hanging N] [--workers N] [--limit] [--json]`."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace

from benchmarks import servers
from benchmarks.about import about
from benchmarks.accounts.outcome import ENOUGH, Outcome
from benchmarks.accounts.plan import REAL_WINDOW, Plan
from benchmarks.accounts.run import measure
from benchmarks.bench import Bench

_LIMIT_WINDOW = 20.0
_LIMIT_STEP = 500


def main() -> None:
    """Measure, and print one table. A missed target is shown, not an error: targets are set for one machine."""
    arguments = _arguments()
    plan = Plan(
        accounts=arguments.accounts,
        hanging=arguments.hanging,
        idle=arguments.idle,
        workers=arguments.workers,
        processes=arguments.concurrency,
        window_seconds=arguments.window,
    )
    # SIGTERM must stop the servers and workers that are started here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    load_before = os.getloadavg()[0]
    with Bench() as bench:
        outcomes = _limit(bench, plan) if arguments.limit else [measure(bench, plan)]
        described = about(bench, load_before=load_before)
    if arguments.json:
        first = outcomes[0].as_json()
        runs = {"runs": [one.as_json() for one in outcomes]} if arguments.limit else first
        print(json.dumps({**runs, "about": described}, ensure_ascii=False))
    else:
        print("\n".join([*_table(outcomes), "", *(f"{name}: {value}" for name, value in described.items())]))


def _limit(bench: Bench, plan: Plan) -> list[Outcome]:
    """More and more accounts, until one does not get its share."""
    outcomes: list[Outcome] = []
    stands_for = plan.accounts
    while not outcomes or outcomes[-1].is_enough:
        accounts = round(stands_for * _LIMIT_WINDOW / REAL_WINDOW)
        outcomes.append(measure(bench, replace(plan, accounts=accounts, window_seconds=_LIMIT_WINDOW)))
        print(json.dumps(outcomes[-1].as_json()), file=sys.stderr, flush=True)
        stands_for += _LIMIT_STEP
    return outcomes


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accounts",
        description="Many accounts, each with a backlog, each queried once a window: the share of its budget that each"
        f" gets. With the servers that {servers.POSTGRES} and {servers.REDIS} name, else from wheels.",
    )
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--hanging", type=int, default=0, help="so many of them get no answer, ever")
    parser.add_argument("--idle", type=int, default=0, help="so many of them have no order")
    parser.add_argument("--workers", type=int, default=1, help="celery workers, each a process group of its own (1)")
    parser.add_argument("--concurrency", type=int, default=2, help="processes of each worker (2)")
    parser.add_argument(
        "--window", type=float, default=REAL_WINDOW, help="seconds (60); another value scales every duration with it"
    )
    parser.add_argument(
        "--limit",
        action="store_true",
        help=f"add {_LIMIT_STEP} accounts each time, until one gets less than {ENOUGH:g}%% of its budget; scaled"
        f" to windows of {_LIMIT_WINDOW:g} s and a third of the accounts",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args()


def _table(outcomes: Sequence[Outcome]) -> list[str]:
    lines: list[str] = []
    for outcome in outcomes:
        values = outcome.as_json()
        width = max(map(len, values))
        lines += ["", *(f"{name:<{width}}  {_shown(value)}" for name, value in values.items())]
    return lines[1:]


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    main()
