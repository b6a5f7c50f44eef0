"""The two clocks of a host: the boot clock, which nobody can set, and the wall clock.

The boot clock decides whether a query may be sent, on the host that sent the last one: stepping the wall clock, or the
database's, neither opens nor blocks the limit. Its readings mean something only within one boot of one host, so each
is stored with the identity of the boot: its id, and in a time namespace also that namespace, whose CLOCK_BOOTTIME has
an offset of its own (time_namespaces(7)).
"""

import hashlib
import os
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

_PROC = Path("/proc")
# The kernel gives the initial time namespace this number (PROC_TIME_INIT_INO).
_INITIAL_NAMESPACE = "time:[4026531834]"
_DIGITS_OF_NAMESPACE = 24
"""With the 36 characters of a boot id and a plus sign they fit into the 64 of the column."""


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

    def __init__(self, *, boot_id: str | None = None, proc: Path = _PROC) -> None:
        """`boot_id` replaces the host's own, for a test that simulates two hosts on one machine; `proc` is the
        mount point of Linux's procfs."""
        self._boot_id = boot_id or _identity_of_boot(proc)

    @property
    def boot_id(self) -> str:
        """The kernel's id of this boot; in a time namespace with a hash of that namespace; an id of this process where
        the kernel does not give both."""
        return self._boot_id

    def boot(self) -> float:
        """Seconds of CLOCK_BOOTTIME (macOS: CLOCK_MONOTONIC)."""
        return time.clock_gettime(_BOOT_CLOCK)

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return datetime.now(UTC)


def _identity_of_boot(proc: Path) -> str:
    try:
        boot_id, namespace = _kernel_boot_id(proc), _time_namespace(proc)
    except (OSError, ValueError, subprocess.SubprocessError):
        # An identity that no other process has is the safe choice: it makes the database's clock decide after every
        # restart, where a constant would have readings of two boots, or of two namespaces, compared.
        return f"process-{uuid.uuid4()}"
    if namespace is None:
        return boot_id[:64]
    digits = hashlib.sha256(namespace.encode()).hexdigest()[:_DIGITS_OF_NAMESPACE]
    return f"{boot_id[: 63 - _DIGITS_OF_NAMESPACE]}+{digits}"


def _kernel_boot_id(proc: Path) -> str:
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        text = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    else:
        text = (proc / "sys/kernel/random/boot_id").read_text("ascii")
    if not text.strip():
        raise ValueError("the kernel gives no boot id")
    return text.strip()


def _time_namespace(proc: Path) -> str | None:
    """What identifies, within this boot, the time namespace whose clocks this process reads; None in the initial one.
    Raises OSError or ValueError where it cannot be read."""
    try:
        link = os.readlink(proc / "self/ns/time")
    except FileNotFoundError:
        # A kernel before 5.6, or a system without them: there is no other namespace.
        return None
    if link == _INITIAL_NAMESPACE:
        # timens_offsets does not count here: it shows the namespace of the process's children, which may be another.
        return None
    offsets = (proc / "self/timens_offsets").read_text("ascii")
    # The number of a namespace that is gone may be given to another one: their offsets differ.
    (offset,) = (line.split()[1:] for line in offsets.splitlines() if line.split()[:1] == ["boottime"])
    return " ".join([link, *offset])
