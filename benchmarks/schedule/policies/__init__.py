"""The policies by name."""

from collections.abc import Callable, Mapping

from benchmarks.schedule.adaptive import Adaptive
from benchmarks.schedule.informed import Informed
from benchmarks.schedule.policies.clairvoyant import Clairvoyant
from benchmarks.schedule.policies.due import ExponentialBackoff
from benchmarks.schedule.policies.queues import OldestFirst, RoundRobin
from benchmarks.schedule.scenario import Scenario
from benchmarks.schedule.simulation import Policy

POLICIES: Mapping[str, Callable[[Scenario], Policy]] = {
    "adaptive": Adaptive,
    "informed": Informed,
    "oldest-first": OldestFirst,
    "round-robin": RoundRobin,
    "exponential-backoff": ExponentialBackoff,
    "clairvoyant": Clairvoyant,
}
"""How each policy is made for a scenario. Only `clairvoyant` and `informed` know what is to come."""
