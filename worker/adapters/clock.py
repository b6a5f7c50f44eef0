"""The two clocks of a host: the boot clock, which nobody can set, and the wall clock.

The boot clock decides whether a query may be sent, on the host that sent the last one: stepping the wall clock, or the
database's, neither opens nor blocks the limit. Its readings mean something only within one boot of one host, so each
is stored with a boot id.
"""

import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

# CLOCK_MONOTONIC stands still while a Linux machine is suspended, so a wait measured by it would be too long, and a
# deadline would be overrun. On macOS there is no CLOCK_BOOTTIME, and CLOCK_MONOTONIC itself counts sleep.
if sys.platform == "linux":
    _BOOT_CLOCK = time.CLOCK_BOOTTIME
else:
    _BOOT_CLOCK = time.CLOCK_MONOTONIC

_LINUX_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """What decisions about time are made with. Read only at the edge: pure functions take times as arguments."""

    @property
    def boot_id(self) -> str:
        """Names the boot within which `boot()` readings can be compared: 1 to 64 characters."""

    def boot(self) -> float:
        """Seconds since some fixed moment of this boot, suspend included. Never steps."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC. May be wrong, and may step."""


class HostClock:
    """The clocks of the host that this process runs on."""

    def __init__(self, *, boot_id: str | None = None) -> None:
        """`boot_id` replaces the host's own, for a test that plays two hosts on one machine."""
        self._boot_id = boot_id or _host_boot_id()

    @property
    def boot_id(self) -> str:
        """The kernel's id of this boot, or an id of this process's own where the kernel tells none."""
        return self._boot_id

    def boot(self) -> float:
        """Seconds of CLOCK_BOOTTIME (macOS: CLOCK_MONOTONIC)."""
        return time.clock_gettime(_BOOT_CLOCK)

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return datetime.now(UTC)


def _host_boot_id() -> str:
    # Without an id of the boot, one that no other process has is the safe choice: it makes the database's clock decide
    # after every restart, where a constant would have readings of two boots compared.
    return _kernel_boot_id() or f"process-{uuid.uuid4()}"


def _kernel_boot_id() -> str | None:
    try:
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            text = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
        else:
            text = _LINUX_BOOT_ID.read_text("ascii")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return text.strip()[:64] or None
