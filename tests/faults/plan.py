"""The plan of a whole run: every fault several times, spread over databases and brokers, each with its own seed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.faults.catalogue import Scenario


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one fault."""

    fault: int
    time: int
    """Counts from 1."""
    database: str
    broker: str
    seed: str
    """Draws the timing: from the whole run's seed, the fault and the time."""
    is_brief: bool
    """Whether a scenario of any length is to be short."""

    @property
    def name(self) -> str:
        """Its name within a whole run."""
        return f"{self.fault:02d}-{self.time:02d}"


def plan(
    scenarios: Iterable[Scenario],
    *,
    seed: int,
    in_ci: bool,
    databases: Mapping[str, bool],
    brokers: Mapping[str, bool],
) -> list[Run]:
    """The runs of a plan, the long ones first. `databases` and `brokers` say which of them this machine has.

    Consecutive times differ in database and broker, and faults and seeds begin at different ones: a few runs of each
    fault still cover every pair.
    """
    runs = []
    for scenario in sorted(scenarios, key=lambda one: (-one.seconds, one.number)):
        pairs = _pairs(scenario, databases, brokers)
        # None where this machine lacks the only server that a fault is of.
        times = (scenario.times_in_ci if in_ci else scenario.times) if pairs else 0
        for time in range(1, times + 1):
            database, broker = pairs[(seed + scenario.number + time) % len(pairs)]
            runs.append(
                Run(
                    fault=scenario.number,
                    time=time,
                    database=database,
                    broker=broker,
                    seed=f"{seed}:{scenario.number}:{time}",
                    is_brief=in_ci,
                )
            )
    return runs


def _pairs(scenario: Scenario, databases: Mapping[str, bool], brokers: Mapping[str, bool]) -> list[tuple[str, str]]:
    """Every possible pair of a database and a broker; consecutive pairs differ in both where possible."""
    some = [name for name in scenario.databases if databases[name]]
    kinds = [name for name in scenario.brokers if brokers[name]]
    return [
        (database, kinds[(first + turn) % len(kinds)])
        for turn in range(len(kinds))
        for first, database in enumerate(some)
    ]
