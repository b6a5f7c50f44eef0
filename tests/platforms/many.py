"""Many platforms, in processes side by side. A process that is spawned cannot import what `__main__` holds."""

import gc
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

import structlog

from tests.platforms.deployment import migrated_template
from tests.platforms.run import Outcome, run
from tests.support.compiled_statements import share_compiled_statements

_template: Any = None
_open = ExitStack()


def run_many(seeds: Iterable[int], processes: int) -> Iterator[Outcome]:
    """The outcome of each seed, in their order."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_set_up) as pool:
        yield from pool.map(_run, seeds)


def _set_up() -> None:
    """Prepare a process: one migrated database, and no logs."""
    global _template
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    _template = _open.enter_context(migrated_template())
    # Both as in tests/conftest.py, which says what they save.
    share_compiled_statements()
    gc.set_threshold(20_000)


def _run(seed: int) -> Outcome:
    return run(_template, seed)
