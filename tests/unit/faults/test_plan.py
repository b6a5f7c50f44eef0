"""Which faults a run of the fault suite includes."""

from collections import Counter

from tests.faults.catalogue import catalogue
from tests.faults.plan import plan

DATABASES = {"postgresql": True, "mariadb": True, "sqlite": True}
BROKERS = {"redis": True, "rabbitmq": True}
LATEST = {
    45: (6, 1),
    46: (6, 3),
    47: (6, 3),
    48: (8, 2),
    49: (6, 2),
    50: (6, 2),
    51: (6, 2),
}
"""How often each of the latest faults runs: in a whole run, and in CI."""


def test_every_fault_of_the_catalogue_is_there() -> None:
    assert list(catalogue()) == [*range(1, 45), *LATEST]


def test_a_whole_run_does_each_fault_ten_times_but_for_the_long_ones() -> None:
    runs = plan(catalogue().values(), seed=1, in_ci=False, databases=DATABASES, brokers=BROKERS)
    times = Counter(run.fault for run in runs)
    core = {number: {7: 3, 8: 3, 23: 1}.get(number, 10) for number in range(1, 24)}
    later = {number: {27: 9, 29: 8}.get(number, 6) for number in range(24, 34)}
    notifications = {number: {39: 3}.get(number, 6) for number in range(34, 45)}
    latest = {number: times for number, (times, _) in LATEST.items()}
    assert times == core | later | notifications | latest
    assert len({run.name for run in runs}) == len({run.seed for run in runs}) == len(runs)


def test_ci_does_each_fault_up_to_three_times_and_the_mix_once_and_briefly() -> None:
    runs = plan(catalogue().values(), seed=1, in_ci=True, databases=DATABASES, brokers=BROKERS)
    core = {number: 1 if number == 23 else 3 for number in range(1, 24)}
    later = {number: 3 if number == 27 else 2 for number in range(24, 34)}
    notifications = {number: 2 if number in (34, 35, 41, 42) else 1 for number in range(34, 45)}
    latest = {number: times for number, (_, times) in LATEST.items()}
    assert Counter(run.fault for run in runs) == core | later | notifications | latest
    assert all(run.is_brief for run in runs)


def test_a_fault_runs_on_every_pair_that_it_supports() -> None:
    runs = plan(catalogue().values(), seed=1, in_ci=False, databases=DATABASES, brokers=BROKERS)
    assert len({(run.database, run.broker) for run in runs if run.fault == 1}) == 6


def test_what_this_machine_lacks_is_not_run() -> None:
    runs = plan(
        catalogue().values(),
        seed=1,
        in_ci=False,
        databases={**DATABASES, "mariadb": False},
        brokers={**BROKERS, "rabbitmq": False},
    )
    assert {run.database for run in runs} == {"postgresql", "sqlite"}
    assert {run.broker for run in runs} == {"redis"}


def test_the_same_seed_gives_the_same_plan() -> None:
    runs = [plan(catalogue().values(), seed=7, in_ci=True, databases=DATABASES, brokers=BROKERS) for _ in range(2)]
    assert runs[0] == runs[1]
