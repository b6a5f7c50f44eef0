"""This machine once more, in namespaces, with systemd as its process 1."""

import os
import secrets
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import worker
from tests.support.needed import cannot, needed
from tests.support.processes import Program
from tests.support.waiting import eventually

_BOOT = Path(__file__).with_name("boot_systemd.sh")
_SYSTEMD = Path("/usr/lib/systemd/systemd")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# What runs of a unit is a copy of this environment: Python, its packages and the checkout, none of it under /root.
_BINDS = {
    sys.base_prefix: "opt/python",
    sysconfig.get_path("purelib"): "opt/reconciler/packages",
    str(Path(worker.__file__).parents[1]): "opt/reconciler/checkout",
}
_PROGRAM = f"""#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/reconciler/checkout:/opt/reconciler/packages
exec /opt/python/bin/python3.{sys.version_info.minor} """
_PROGRAMS = {"python": "", "celery": "-m celery", "reconciler": "-c 'from worker.cli import main; main()'"}


@dataclass(frozen=True)
class Machine:
    """It runs."""

    pid: int
    """Of its process 1, as this machine sees it."""

    def run(self, script: str) -> str:
        """Run a shell script in it; returns what it prints. Raises AssertionError where a command of it fails."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--ipc", "--pid", "--cgroup"]
        done = subprocess.run(
            [*enter, "env", "-i", f"PATH=/opt/reconciler/bin:{_PATH}", "sh", "-euc", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def is_up(self) -> bool:
        """Whether it has started all that it starts."""
        return "running" in self.run("systemctl is-system-running || true")

    def journal(self, unit: str) -> str:
        """What a unit has logged."""
        return self.run(f"journalctl --no-pager --output=cat --unit={unit}")


@contextmanager
def systemd_machine(folder: Path) -> Iterator[Machine]:
    """Boot it, with the project's programs in /opt/reconciler/bin; it shares this machine's network. Needs root."""
    needed("nsenter")
    if not _SYSTEMD.exists():
        cannot("this machine has no systemd")
    layer, home = folder / "layer", folder / f"reconciler-{secrets.token_hex(4)}"
    home.mkdir()
    _fill(layer)
    command = (needed("unshare"), "--mount", "sh", str(_BOOT), str(home), str(layer))
    try:
        with Program(*command, env={"PATH": _PATH}, log=folder / "boot.log") as boot:
            eventually(lambda: boot.has_ended() or _process_1(boot), "systemd as process 1")
            process = _process_1(boot)
            if process is None:
                cannot(f"this machine makes no namespaces for us: {boot.output}")
            machine = Machine(process)
            try:
                eventually(machine.is_up, "a started systemd")
                yield machine
            finally:
                # All that runs in the namespaces ends with their process 1, and then the program that made them.
                os.kill(machine.pid, signal.SIGKILL)
                boot.wait()
    finally:
        _remove_control_group(home)


def _fill(layer: Path) -> None:
    programs = layer / "opt/reconciler/bin"
    programs.mkdir(parents=True)
    for name, arguments in _PROGRAMS.items():
        (programs / name).write_text(f'{_PROGRAM}{arguments} "$@"\n')
        (programs / name).chmod(0o755)
    (layer / "binds").write_text("".join(f"{source} {target}\n" for source, target in _BINDS.items()))


def _process_1(boot: Program) -> int | None:
    """The one child of `unshare`, which the script becomes in the end; None while that is still a shell."""
    if _name_of(boot.pid) != "unshare":
        return None
    return next((child for child in boot.children() if _name_of(child) == "systemd"), None)


def _name_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text("utf-8").strip()
    except OSError:
        return ""


def _remove_control_group(home: Path) -> None:
    script = 'mount -t cgroup2 cgroup2 "$1" && find "$1/${1##*/}" -depth -type d -exec rmdir {} +'
    subprocess.run(["unshare", "--mount", "sh", "-c", script, "-", str(home)], check=False, timeout=20)
