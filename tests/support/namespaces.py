"""Time namespaces, where the machine lets the tests make them."""

import subprocess

import pytest

_AHEAD_SECONDS = 1000


def in_time_namespace() -> tuple[str, ...]:
    """The first words of a command that runs in a time namespace of its own, its CLOCK_BOOTTIME 1000 s ahead of ours.

    Skips the test where the machine makes none: it needs Linux 5.6, util-linux 2.36 and the right to do so.
    """
    command = ("unshare", "--time", "--boottime", str(_AHEAD_SECONDS))
    try:
        subprocess.run([*command, "true"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        pytest.skip(f"this machine makes no time namespaces for us: {reason}")
    return command
