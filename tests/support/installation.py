"""The documented commands that install the project (docs/deployment.md), and an environment that was made by them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = "/opt/reconciler"
"""Where the documented commands install it."""

STATED = re.findall(r"version\('(.+)'\)", (ROOT / "pyproject.toml").read_text("utf-8"))[0]
"""The version in pyproject.toml: between releases `.dev` ends it, to which a build adds a number."""
RELEASE = STATED.removesuffix(".dev")
"""The release that it is, or that comes next."""

_SECONDS = 600


def install_commands() -> str:
    """The shell commands of the section "Install" of docs/deployment.md, unchanged."""
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    section = page.split("## 1. Install\n", 1)[1].split("\n## ", 1)[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(block)


def image_context() -> list[str]:
    """The files and folders of the checkout that an image is built from (.dockerignore)."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


def install(folder: Path) -> Path:
    """Run the commands in a copy of what an image is built from; returns the environment's folder of programs.

    `folder`/reconciler stands in for /opt/reconciler, and nothing else is changed.

    Raises:
        RuntimeError: a command failed; with its output. The packages come from a package index, as for `make setup`.
    """
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in image_context():
        _copy(ROOT / name, checkout / name)
    _run(install_commands(), folder)
    return folder / "reconciler" / "bin"


def upgrade(folder: Path) -> None:
    """Build the wheel again in `folder`/checkout, and run the documented commands that install it over the old one."""
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8").split("\n[To upgrade]", 1)[1]
    build = [line for line in install_commands().splitlines() if "build/env" in line and PLACE not in line]
    _run("\n".join([*build, *re.findall(rf"^{PLACE}/bin/pip .*$", page, re.MULTILINE)]), folder)


def _run(commands: str, folder: Path) -> None:
    done = subprocess.run(
        ["sh", "-e", "-x", "-c", commands.replace(PLACE, str(folder / "reconciler"))],
        cwd=folder / "checkout",
        env=pip_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(
            "The documented install failed. It needs a package index, as `make setup` does: see that pip reaches one."
            f"\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )


def pip_environment() -> dict[str, str]:
    """The environment for pip, with this Python as `python3` and nothing of the checkout or of the coverage."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "RECONCILER_"))}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.py[cod]"))
    else:
        shutil.copy(source, target)
