"""How much memory processes have had. Linux only."""

from collections.abc import Iterable
from pathlib import Path


def peaks(processes: Iterable[int]) -> dict[int, int]:
    """The most memory that each process has ever had resident, in KiB."""
    found = {}
    for pid in processes:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        found[pid] = int(status["VmHWM"].split()[0])
    return found
