"""A few random platforms, and that the checker can fail; `make platforms` runs many."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.platforms.broken import BROKEN
from tests.platforms.deployment import migrated_template
from tests.platforms.run import run
from tests.support.examples import examples, seconds

pytestmark = pytest.mark.slow

SEEDS = (13, 31, 39, 69, 82, 103, 128)
"""Platforms of many kinds that cost little."""
MORE = range(2000, 2000 + examples(len(SEEDS)) - len(SEEDS))


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """No log: hundreds of passes would log hundreds of lines."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture(scope="module")
def template() -> Iterator[Any]:
    """A migrated database to copy."""
    with migrated_template() as made:
        yield made


@pytest.mark.timeout(seconds(600))
@pytest.mark.parametrize("seed", [*SEEDS, *MORE])
def test_no_order_ends_wrongly_at_a_random_platform(seed: int, template: Any) -> None:
    outcome = run(template, seed)
    assert outcome.violations == [], "\n".join([*map(str, outcome.violations), outcome.traits])


@pytest.mark.parametrize("name", BROKEN)
def test_random_platforms_find(name: str, template: Any) -> None:
    broken = BROKEN[name]
    outcome = run(template, broken.seed, broken.kinds, broken.each_tick)
    assert any(violation.kind.startswith(broken.violation) for violation in outcome.violations)
