"""The real domain and the real SQL under random histories, in virtual time; the laws are checked after every step."""

from typing import Any

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.histories.broken import BROKEN
from tests.histories.hosts import Kinds
from tests.histories.machine import Histories
from tests.histories.world import VirtualDatabase
from tests.support.examples import examples, seconds

pytestmark = pytest.mark.slow

SOUND = Kinds()


def run(
    deployed_on: VirtualDatabase,
    kinds: Kinds = SOUND,
    *,
    max_examples: int,
    steps: int = 40,
    drawn_from: int | None = None,
    **chosen: Any,
) -> None:
    """Try so many histories of so many steps on a database; raises AssertionError where a law is broken."""
    deployment = type("Deployment", (Histories,), {"database": deployed_on, "kinds": kinds})
    if drawn_from is not None:
        deployment = seed(drawn_from)(deployment)
    run_state_machine_as_test(
        deployment, settings=settings(max_examples=max_examples, stateful_step_count=steps, **chosen)
    )


def run_with_many_seeds(deployed_on: VirtualDatabase, kinds: Kinds) -> None:
    """Try a few histories of each of many seeds: those of one seed resemble each other."""
    for number in range(80):
        run(deployed_on, kinds, max_examples=25, steps=100, drawn_from=number, phases=[Phase.generate], database=None)


@pytest.mark.timeout(seconds(600))
def test_the_laws_hold_in_memory(memory: VirtualDatabase) -> None:
    run(memory, max_examples=examples(25))


@pytest.mark.databases("postgresql")
@pytest.mark.timeout(seconds(600))
def test_the_laws_hold_on_postgresql(migrated_database_url: str) -> None:
    database = VirtualDatabase(migrated_database_url)
    try:
        run(database, max_examples=examples(6))
    finally:
        database.close()


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.timeout(seconds(1800))
def test_the_random_histories_find(name: str, memory: VirtualDatabase) -> None:
    kinds, law = BROKEN[name]
    with pytest.raises(AssertionError, match=law):
        # One failing history is enough.
        run_with_many_seeds(memory, kinds)
