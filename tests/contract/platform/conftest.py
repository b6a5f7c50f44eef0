"""Every test of the client leaves no thread and no socket behind."""

import contextlib
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
    before = _sockets()
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "exchange-deadline"] == []
    # Those of an earlier test may go meanwhile, when what held them is collected.
    assert _sockets() - before == set()


def _sockets() -> set[tuple[str, str]]:
    """The open sockets: each descriptor with the socket's own number. Files may be an earlier test's database."""
    named = set()
    for descriptor in DESCRIPTORS.iterdir() if DESCRIPTORS.is_dir() else ():
        # The one that lists the folder is gone by now.
        with contextlib.suppress(FileNotFoundError):
            named.add((descriptor.name, os.readlink(descriptor)))
    return {(number, name) for number, name in named if name.startswith("socket:")}
