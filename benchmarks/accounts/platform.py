"""The simulated platform in a process of its own, so that its processor time is not counted as the worker's.

`python -m benchmarks.accounts.platform PLAN`, the plan as JSON. It prints its address as one line of JSON, and what it
has seen so far as another one after each line on standard input.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from benchmarks.accounts.plan import Plan
from worker.adapters.child_processes import Child
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the platform saw."""

    arrivals: dict[str, list[tuple[float, int]]]
    """By SID: the seconds of its clock, and how many ids were polled."""
    violations: int
    smallest_spacing: float | None
    """Seconds between two queries of one SID."""


class PlatformProcess:
    """A running platform."""

    def __init__(self, process: Child) -> None:
        self._questions, self._answers = process.pipes
        self.url: str = json.loads(self._line())["url"]
        self.pid = process.pid

    def seen(self) -> Seen:
        """What it has seen so far."""
        print(file=self._questions, flush=True)
        seen = json.loads(self._line())
        arrivals = {sid: [(at, count) for at, count in one] for sid, one in seen.pop("arrivals").items()}
        return Seen(arrivals=arrivals, **seen)

    def _line(self) -> str:
        line = self._answers.readline()
        if not line:
            raise RuntimeError("the simulated platform has ended")
        return line


@contextmanager
def running_platform(plan: Plan) -> Iterator[PlatformProcess]:
    """Start it, and end it afterwards."""
    command = [sys.executable, "-m", "benchmarks.accounts.platform", json.dumps(asdict(plan))]
    with Child(command, name="platform", is_piped=True) as process:
        yield PlatformProcess(process)


def _config(plan: Plan) -> SimulatorConfig:
    silent = frozenset(account.sid for account in plan.hanging_accounts())
    shares = {"silent": 1.0} if silent else {}
    accounts = plan.all_accounts()
    return SimulatorConfig(
        accounts=tuple(Account(sid=one.sid, auth_token=one.token, app_id=one.app_id) for one in accounts),
        window_seconds=plan.window_seconds,
        adopt=True,
        delay=Delay.parse("fixed:0"),
        stuck_share=0.2,
        faults=Faults(latency=Delay.parse(f"fixed:{plan.latency}"), shares=shares, sids=silent),
    )


def _seen_as_json(simulator: Simulator) -> str:
    record = simulator.record
    arrivals: dict[str, list[tuple[float, int]]] = {}
    for one in record.arrivals():
        arrivals.setdefault(one.sid, []).append((one.monotonic, len(one.ids)))
    smallest = min((spacing for spacing in record.smallest_spacings().values() if spacing is not None), default=None)
    return json.dumps({"arrivals": arrivals, "violations": len(record.violations()), "smallest_spacing": smallest})


def _serve(plan: Plan) -> None:
    with Simulator(_config(plan)) as simulator:
        print(json.dumps({"url": simulator.url}), flush=True)
        for _ in sys.stdin:
            print(_seen_as_json(simulator), flush=True)


if __name__ == "__main__":
    _serve(Plan(**json.loads(sys.argv[1])))
