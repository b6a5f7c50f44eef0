"""The catalogue: each fault with its number, its title, and how often and on which servers it runs."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tests.faults import scenarios
from tests.faults.testbed import Scale, Testbed

Run = Callable[[Testbed], None]

ALL_DATABASES = ("postgresql", "mariadb", "sqlite")
SERVERS = ("postgresql", "mariadb")
"""Databases that can be killed, and that lock rows."""
ALL_BROKERS = ("redis", "rabbitmq")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One fault and how it runs."""

    number: int
    title: str
    run: Run
    times: int = 10
    """How often in a whole run, with different timing."""
    times_in_ci: int = 3
    databases: tuple[str, ...] = ALL_DATABASES
    brokers: tuple[str, ...] = ALL_BROKERS
    scale: Scale = field(default_factory=Scale)
    seconds: float = 150.0
    """An upper estimate for one run: long ones begin first."""
    needs: Callable[[], bool] = lambda: True
    """Whether this machine permits the fault at all."""


_known: dict[int, Scenario] = {}


def fault(number: int, title: str, **details: object) -> Callable[[Run], Run]:
    """Enter a scenario into the catalogue. `details` are the fields of `Scenario`."""

    def enter(run: Run) -> Run:
        if number in _known or not run.__name__.startswith(f"fault_{number:02d}_"):
            raise ValueError(f"{run.__name__}: fault {number} exists already, or is not in the name")
        _known[number] = Scenario(number=number, title=title, run=run, **details)  # type: ignore[arg-type]  # checked by the dataclass's readers
        return run

    return enter


def catalogue() -> Mapping[int, Scenario]:
    """Every fault, by its number."""
    for module in pkgutil.iter_modules(scenarios.__path__, f"{scenarios.__name__}."):
        importlib.import_module(module.name)
    return MappingProxyType(dict(sorted(_known.items())))
