"""Processor time and resident memory of a group of processes, from /proc (Linux)."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """One process at one moment."""

    pid: int
    parent: int
    cpu_seconds: float
    """Its own, and that of its children that have ended."""
    resident_mb: float


def all_processes() -> dict[int, Process]:
    """Every process of the machine."""
    found = (_read(int(one.name)) for one in Path("/proc").iterdir() if one.name.isdigit())
    return {one.pid: one for one in found if one is not None}


def family(roots: Collection[int], processes: dict[int, Process]) -> list[Process]:
    """Processes with their children, and the children of these."""
    members = set(roots)
    grown = True
    while grown:
        more = {one.pid for one in processes.values() if one.parent in members} - members
        members |= more
        grown = bool(more)
    return [processes[pid] for pid in members if pid in processes]


def cpu_seconds(processes: Iterable[Process]) -> float:
    """Of all of them together."""
    return sum(one.cpu_seconds for one in processes)


def _read(pid: int) -> Process | None:
    try:
        _, _, tail = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
    except OSError:
        return None  # it has ended
    fields = tail.split()
    # As in proc(5), less the two fields before: 4 ppid, 14 to 17 the times, 24 pages.
    return Process(
        pid=pid,
        parent=int(fields[1]),
        cpu_seconds=sum(map(int, fields[11:15])) / _TICKS_A_SECOND,
        resident_mb=int(fields[21]) * _PAGE / 1e6,
    )
