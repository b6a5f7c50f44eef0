"""Packages of npm, for tests of what programs in another language read."""

import os
import ssl
import subprocess
from pathlib import Path

from tests.support.needed import cannot, needed

_OPTIONS = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
# It would try for minutes where it has no way out.
_PATIENCE = ("--fetch-retries=1", "--fetch-timeout=20000")


def install(folder: Path, *packages: str) -> None:
    """Install the newest version of each package, or the one behind its `@`, and what it needs into a folder, without a
    lock file.

    Where this machine has no npm or no Node.js, or npm does not reach its registry: as `cannot`.
    """
    needed("node")
    command = [needed("npm"), "install", "--prefix", str(folder), *_OPTIONS, *_PATIENCE, *packages]
    # Node.js trusts its own authorities alone: those of this machine are added, which a proxy of its network may need.
    env = {"NODE_EXTRA_CA_CERTS": ssl.get_default_verify_paths().cafile or "", **os.environ}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=100)
    if done.returncode:
        cannot(f"npm cannot install {' '.join(packages)}: {done.stderr.strip()[:500]}")
