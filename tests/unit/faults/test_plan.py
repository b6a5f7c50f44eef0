"""Which faults a run of the fault suite includes."""

import pytest

from tests.faults.catalogue import catalogue
from tests.faults.plan import Run, plan

DATABASES = {"postgresql": True, "mariadb": True, "sqlite": True}
BROKERS = {"redis": True, "rabbitmq": True}


def runs_of(*, in_ci: bool = False, without: str = "") -> list[Run]:
    databases, brokers = ({name: name != without for name in kinds} for kinds in (DATABASES, BROKERS))
    return plan(catalogue().values(), seed=1, in_ci=in_ci, databases=databases, brokers=brokers)


@pytest.mark.parametrize("in_ci", [False, True], ids=["whole", "CI"])
def test_every_fault_runs_each_time_under_a_name_and_a_seed_of_its_own(in_ci: bool) -> None:
    runs = runs_of(in_ci=in_ci)
    # Both have tests of their own: 30 (tests/integration/test_postgresql_sessions.py) and 32, remote control.
    assert set(catalogue()) == {*range(1, 60)} - {30, 32}
    assert {run.fault for run in runs} == set(catalogue())
    assert len({run.name for run in runs}) == len({run.seed for run in runs}) == len(runs)
    assert {run.is_brief for run in runs} == {in_ci}
    assert runs_of(in_ci=in_ci) == runs


def test_a_fault_runs_on_every_pair_that_it_supports() -> None:
    assert len({(run.database, run.broker) for run in runs_of() if run.fault == 1}) == 6


def test_what_this_machine_lacks_is_not_run() -> None:
    assert {run.database for run in runs_of(without="mariadb")} == {"postgresql", "sqlite"}
    assert {run.broker for run in runs_of(without="rabbitmq")} == {"redis"}
