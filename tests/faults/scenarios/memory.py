"""A short lack of memory in the processes that query and send."""

import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.catalogue import fault
from tests.faults.testbed import Testbed
from worker.domain.records.parameters import Rules
from worker.domain.watching.workers import hang_patience

_LACK_SECONDS = 12.0
_RESTART_SECONDS = 20.0


@fault(
    50,
    "no memory for 12 s in the processes of the pool",
    times=6,
    times_in_ci=2,
    seconds=240.0,
    needs=lambda: sys.platform == "linux",
)
def fault_50_no_memory_for_a_while(testbed: Testbed) -> None:
    testbed.record_notifications()
    worker = testbed.start(processes=1)
    testbed.wait_until_settled(testbed.place(5))
    before = worker.children()
    with _without_memory(before):
        ends = time.monotonic() + _LACK_SECONDS
        while time.monotonic() < ends:
            testbed.place(5, wait=False)
            testbed.rest(testbed.scale.window)
    testbed.injected()
    # What hangs has ended its process after twice its patience, and the pool has started another one.
    patience = hang_patience(
        Rules(
            window_seconds=testbed.scale.window,
            margin_seconds=testbed.scale.margin,
            deadline_seconds=testbed.scale.deadline,
        )
    )
    testbed.heal(bound=testbed.bound(queries=2, backoff_windows=15, extra=2 * patience + _RESTART_SECONDS))
    testbed.wait_until_settled(testbed.place(5), seconds=2 * patience + 60)
    testbed.wait_until_told(seconds=2 * patience + 60)
    hangs = re.findall(r"what=([^=]*?) \w+=", "\n".join(_lines_of_ends(worker.output)))
    testbed.observed(f"processes that ended themselves: {len(hangs)} ({', '.join(hangs) or 'nothing hung'})")


def _lines_of_ends(output: str) -> list[str]:
    return [line for line in output.splitlines() if "process_hangs" in line]


@contextmanager
def _without_memory(processes: list[int]) -> Iterator[None]:
    """These processes get no memory beyond what they have."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_AS) for pid in processes}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_AS, (_address_space(pid), hard))
    try:
        yield
    finally:
        for pid, limit in limits.items():
            # One may have ended itself.
            if Path(f"/proc/{pid}").exists():
                resource.prlimit(pid, resource.RLIMIT_AS, limit)


def _address_space(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
