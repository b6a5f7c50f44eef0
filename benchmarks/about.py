"""The machine and the versions of a measurement: without them a figure means nothing."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version

from benchmarks.bench import Bench

_PACKAGES = ("celery", "kombu", "redis", "sqlalchemy", "psycopg", "requests")


def about(bench: Bench, *, load_before: float) -> dict[str, str]:
    """The date, the machine and what else ran on it, servers and versions. `load_before`: the load when it began."""
    return {
        **machine(),
        # On a shared machine the work of others is measured, too.
        "load": f"{load_before:.1f} before, {os.getloadavg()[0]:.1f} after",
        "servers": "; ".join(bench.used) or "none",
        "versions": versions(_PACKAGES),
    }


def machine() -> dict[str, str]:
    """The date and the machine."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {os.cpu_count()} processors, {platform.platform()}",
    }


def versions(packages: Iterable[str]) -> str:
    """The versions of Python and of these packages."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)])


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
