"""What Podman's generator makes of deploy/container: units of systemd, each with one command of Podman."""

import re
import subprocess
from pathlib import Path

from tests.deploy.servers_over_tls import DEPLOY
from tests.support.installation import RELEASE
from tests.support.needed import cannot

ROOT = DEPLOY.parent
IMAGE = f"recharge-reconciler:{RELEASE}"
"""As the files of deploy/ name it."""

_QUADLET = Path("/usr/libexec/podman/quadlet")


def made_units(folder: Path, sources: Path = DEPLOY / "container") -> dict[str, str]:
    """The text of each unit by its program. Raises AssertionError where a file has a key that Podman does not know."""
    if not _QUADLET.exists():
        cannot("this machine has no quadlet")
    env = {"QUADLET_UNIT_DIRS": str(sources)}
    done = subprocess.run([_QUADLET, folder], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return {unit.stem.removeprefix("reconciler-"): unit.read_text("utf-8") for unit in folder.glob("*.service")}


def command_of(unit: str) -> str:
    """The command that a unit starts."""
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    return str(command)
