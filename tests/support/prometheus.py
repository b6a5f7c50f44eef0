"""Checkers of what Prometheus and Alertmanager read: Debian's packages `promtool` and `prometheus-alertmanager`."""

import subprocess
from pathlib import Path

from tests.support.needed import needed


def promtool(*arguments: str | Path, given: str = "") -> str:
    """What promtool says, with this text as its standard input. Raises AssertionError where it finds a fault."""
    return _checked("promtool", *arguments, given=given)


def amtool(*arguments: str | Path) -> str:
    """What amtool says. Raises AssertionError where it finds a fault."""
    return _checked("amtool", *arguments)


def _checked(program: str, *arguments: str | Path, given: str = "") -> str:
    command = [needed(program), *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
