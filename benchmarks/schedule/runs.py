"""Many runs at once: scenarios, seeds and policies, spread over the processors."""

import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.schedule.measure import Measured, measure
from benchmarks.schedule.policies import POLICIES
from benchmarks.schedule.scenario import Scenario
from benchmarks.schedule.simulation import simulate
from benchmarks.schedule.workloads import make_scenario


class Case(NamedTuple):
    """A made scenario, without its seed."""

    workload: str
    load: float
    """Orders per minute."""

    @property
    def title(self) -> str:
        """As it is shown."""
        return f"{self.workload} {self.load:g}"


@dataclass(frozen=True, slots=True)
class Run:
    """One policy on one scenario."""

    case: Case
    seed: int
    policy: str
    measured: Measured


def run_policy(scenario: Scenario, policy: str) -> Measured:
    """The result of a policy on a scenario."""
    return measure(scenario, simulate(scenario, POLICIES[policy](scenario)))


def run_all(cases: Iterable[Case], seeds: Sequence[int], policies: Sequence[str], processes: int) -> list[Run]:
    """Every policy on every case with every seed; progress on standard error."""
    # The largest first, so that the processes end at about the same time.
    tasks = sorted(((case, seed) for case in cases for seed in seeds), key=lambda task: -task[0].load)
    start = time.monotonic()
    runs: list[Run] = []
    with ProcessPoolExecutor(processes) as pool:
        waiting = [pool.submit(_run_scenario, case, seed, policies) for case, seed in tasks]
        for done, future in enumerate(as_completed(waiting), start=1):
            runs += future.result()
            print(f"{done} of {len(tasks)} scenarios, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return runs


def _run_scenario(case: Case, seed: int, policies: Sequence[str]) -> list[Run]:
    scenario = make_scenario(case.workload, case.load, seed)
    return [Run(case, seed, policy, run_policy(scenario, policy)) for policy in policies]
