"""Programs of the machine that some tests need and none brings: without one a test is skipped by name, or fails."""

import os
from typing import NoReturn

import pytest

from tests.support.server_process import path_of

_VARIABLE = "RECONCILER_TEST_PROGRAMS"


def needed(program: str) -> str:
    """The path of a program. Without it: as `cannot`."""
    return path_of(program) or cannot(f"this machine has no {program}")


def cannot(why: str) -> NoReturn:
    """Skip the test, and say why; where RECONCILER_TEST_PROGRAMS is `required`, fail it."""
    if os.environ.get(_VARIABLE) == "required":
        pytest.fail(f"{why}; {_VARIABLE} requires it")
    pytest.skip(why)
