"""Every test of the client leaves no thread and no descriptor behind."""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture(autouse=True)
def _nothing_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    before = _descriptors()
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "exchange-deadline"] == []
    assert _descriptors() == before


def _descriptors() -> int:
    return len(os.listdir(DESCRIPTORS)) if DESCRIPTORS.is_dir() else 0
