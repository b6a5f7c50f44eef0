"""The real domain and the real SQL under random histories, in virtual time; the laws are checked after every step."""

from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.histories.broken import BROKEN
from tests.histories.hosts import Kinds
from tests.histories.machine import Histories
from tests.histories.world import VirtualDatabase
from tests.support.examples import examples, seconds

pytestmark = pytest.mark.slow

SOUND = Kinds()


def run(
    deployed_on: VirtualDatabase, kinds: Kinds = SOUND, *, max_examples: int, steps: int = 40, **chosen: Any
) -> None:
    """Try so many histories of so many steps on a database; raises AssertionError where a law is broken."""
    deployment = type("Deployment", (Histories,), {"database": deployed_on, "kinds": kinds})
    run_state_machine_as_test(
        deployment, settings=settings(max_examples=max_examples, stateful_step_count=steps, **chosen)
    )


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
        # One failing history is enough, mostly one of the first five hundred. Which histories are tried depends on the
        # modules that were imported before (Hypothesis draws from their constants); so there are many more than that.
        run(memory, kinds, max_examples=2000, phases=[Phase.generate], derandomize=True, database=None)
