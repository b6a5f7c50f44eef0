"""How much memory and processor time processes have had. Linux only."""

import os
from collections.abc import Iterable
from pathlib import Path


def peaks(processes: Iterable[int]) -> dict[int, int]:
    """The most memory that each process has ever had resident, in KiB."""
    found = {}
    for pid in processes:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        found[pid] = int(status["VmHWM"].split()[0])
    return found


def processor_seconds(processes: Iterable[int]) -> float:
    """The processor time that these processes have used so far, in seconds."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> dict[str, int]:
    """The memory of a process in bytes: `VmRSS`, what it holds, and `VmHWM`, the most that it held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines if line.startswith(("VmHWM", "VmRSS"))}


def forget_peak(pid: int) -> None:
    """Let `VmHWM` count from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
