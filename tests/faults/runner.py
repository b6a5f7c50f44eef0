"""Runs a plan: lanes side by side, each run in a testbed of its own, each result written as soon as it is known."""

import json
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.catalogue import ALL_BROKERS, ALL_DATABASES, Scenario
from tests.faults.checker.notifications import check_notifications
from tests.faults.checker.promise import check
from tests.faults.lanes import Lane
from tests.faults.plan import Run
from tests.faults.testbed import Testbed


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one run."""

    fault: int
    time: int
    database: str
    broker: str
    seconds: float
    injections: int
    observations: tuple[str, ...]
    violations: tuple[str, ...]
    smallest_spacing: float | None
    window: float
    recovery_seconds: float | None
    recovery_bound: float | None
    queries: int
    settled: int
    error: str | None = None
    """Why the scenario did not finish."""

    @property
    def name(self) -> str:
        """The name of the run within a whole run, and of its folder."""
        return f"{self.fault:02d}-{self.time:02d}"

    @property
    def is_good(self) -> bool:
        """Whether nothing was broken, and the fault was injected."""
        return not self.violations and self.error is None and self.injections > 0


class Results:
    """The results of a run, in a file of JSON lines: an interrupted run continues where it stopped."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def add(self, result: Result) -> None:
        """Keep a result."""
        with self._lock, self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")

    def all(self) -> list[Result]:
        """The results so far, in the order of faults and times."""
        if not self._file.exists():
            return []
        read = [json.loads(line) for line in self._file.read_text(encoding="utf-8").splitlines()]
        known = [Result(**one | {name: tuple(one[name]) for name in ("observations", "violations")}) for one in read]
        return sorted(known, key=lambda result: (result.fault, result.time))


def run(
    runs: Sequence[Run],
    scenarios: Mapping[int, Scenario],
    *,
    lanes: int,
    folder: Path,
    report: Callable[[Result], None],
) -> None:
    """Run everything, in so many lanes; `report` gets each result. The logs of bad runs stay in the folder.

    Each lane prefers the runs on one database and one broker, so that few lanes start the same servers.
    """
    waiting, lock = list(runs), threading.Lock()

    def taken(database: str, broker: str) -> Run | None:
        with lock:
            # The first one of those with the fewest differences.
            run = min(waiting, key=lambda one: (one.database != database) + (one.broker != broker), default=None)
            if run is not None:
                waiting.remove(run)
            return run

    def work(number: int) -> None:
        pairs = [(database, broker) for broker in ALL_BROKERS for database in ALL_DATABASES]
        with Lane(folder / f"lane-{number}") as lane:
            while run := taken(*pairs[number % len(pairs)]):
                report(_run(run, scenarios[run.fault], lane, folder / run.name))

    threads = [threading.Thread(target=work, args=(number,), name=f"lane-{number}") for number in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _run(run: Run, scenario: Scenario, lane: Lane, folder: Path) -> Result:
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    testbed: Testbed | None = None
    evidence = told = error = None
    try:
        with ExitStack() as stack:
            testbed = Testbed(
                stack=stack,
                folder=folder,
                database=stack.enter_context(lane.database(run.database)),
                broker=stack.enter_context(lane.broker(run.broker)),
                seed=run.seed,
                scale=scenario.scale,
                is_brief=run.is_brief,
            )
            scenario.run(testbed)
            evidence = testbed.finish()
            told = testbed.notifications()
    except Exception:  # Whatever it is, the other runs continue, and the report shows it.
        error = traceback.format_exc()
    verdict = check(evidence) if evidence else None
    return Result(
        fault=run.fault,
        time=run.time,
        database=run.database,
        broker=run.broker,
        seconds=round(time.monotonic() - began, 1),
        injections=testbed.injections if testbed else 0,
        observations=tuple(testbed.observations) if testbed else (),
        violations=(verdict.violations if verdict else ()) + (check_notifications(told) if told else ()),
        smallest_spacing=verdict.smallest_spacing if verdict else None,
        window=scenario.scale.window,
        recovery_seconds=verdict.recovery_seconds if verdict else None,
        recovery_bound=evidence.recovery.bound_seconds if evidence and evidence.recovery else None,
        queries=verdict.queries if verdict else 0,
        settled=verdict.settled if verdict else 0,
        error=error,
    )
