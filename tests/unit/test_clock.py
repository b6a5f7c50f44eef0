"""The host's clocks."""

import subprocess
import sys
import time
from datetime import UTC, timedelta
from pathlib import Path

import pytest

import worker
from worker.adapters.clock import Clock, HostClock


def test_now_is_aware_and_utc() -> None:
    assert HostClock().now().tzinfo is UTC
    assert HostClock().now().utcoffset() == timedelta(0)


def test_boot_clock_never_goes_back() -> None:
    clock = HostClock()
    readings = [clock.boot() for _ in range(100)]
    assert readings == sorted(readings)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has CLOCK_BOOTTIME")
def test_boot_clock_counts_suspend_on_linux() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    reading = HostClock().boot()
    assert before <= reading <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_boot_id_is_the_same_in_every_process_of_one_boot() -> None:
    program = "from worker.adapters.clock import HostClock; print(HostClock().boot_id)"
    root = Path(worker.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    other = done.stdout.strip()
    assert HostClock().boot_id == other
    assert 1 <= len(other) <= 64


def test_boot_id_can_be_replaced_for_a_test() -> None:
    clock: Clock = HostClock(boot_id="another host")
    assert clock.boot_id == "another host"
