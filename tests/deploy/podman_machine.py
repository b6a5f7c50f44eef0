"""Podman in namespaces of its own, and the image that it runs; what takes long to build stays in build/containers."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.quadlet import ROOT
from tests.support.needed import cannot, needed
from tests.support.processes import Program
from tests.support.waiting import eventually
from worker.adapters.child_processes import ChildError

_HOLD = Path(__file__).with_name("hold_podman.sh")
_SETTINGS = Path(__file__).with_name("containers.conf")
_STORE = ROOT / "build/containers"
_BASE = "localhost/reconciler-tests-base:trixie"
_PACKAGES = "python3-venv,ca-certificates"
_SECONDS = 500
# Of what pip is told on this machine: how it reaches a package index.
_REACHING = ("cert", "index-url", "extra-index-url", "trusted-host", "proxy", "timeout")


@dataclass(frozen=True)
class Podman:
    """It shares this machine's network, and keeps its images in the checkout."""

    pid: int
    """Of a process in its namespaces."""
    namespaces: tuple[str, ...] = ("--mount", "--pid")
    """The kinds of namespaces that the process does not share, as options of nsenter."""

    def run(self, *command: str | Path, status: int | None = 0, given: str | None = None) -> str:
        """What Podman prints. Raises AssertionError where it ends with another status; None: any."""
        return self._enter(needed("podman"), *command, status=status, given=given)

    def inside(self, container: str, script: str) -> str:
        """What a shell script prints within a container."""
        return self.run("exec", container, "sh", "-c", script)

    def found(self, kind: str, name: str, path: str) -> str:
        """What `inspect` shows of a container or an image."""
        return self.run(kind, "inspect", "--format", f"{{{{{path}}}}}", name).strip()

    @contextmanager
    def docker_api(self, socket: Path) -> Iterator["Podman"]:
        """Docker's API, for as long as the context lasts; yields Podman in the network of what is started by it."""
        needed("ip")
        enter = ("nsenter", "--target", str(self.pid), *self.namespaces)
        own_network = ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "-")
        service = (needed("podman"), "--root", str(_STORE), "system", "service", "--time=0", f"unix://{socket}")
        env = {**os.environ, "CONTAINERS_CONF_OVERRIDE": str(_SETTINGS)}
        with Program(*enter, *own_network, *service, env=env, log=socket.with_suffix(".log")) as api:
            eventually(lambda: api.has_ended() or socket.exists(), "Docker's API")
            (inner,) = api.children()
            yield Podman(inner, (*self.namespaces, "--net"))

    def clear(self) -> None:
        """Remove all but the images."""
        for command in ("pod rm --force --time=0", "rm --force --time=0", "secret rm", "volume rm --force"):
            self.run(*command.split(), "--all")

    def build(self, image: str, folder: Path) -> None:
        """Build the Dockerfile; the base and the layers that have not changed are those of the last time."""
        if self._enter(needed("buildah"), "images", "--quiet", "--filter", f"reference={_BASE}") == "":
            self._make_base(folder)
        self._enter(
            *(needed("buildah"), "build", "--layers", "--isolation=chroot", "--format=docker", "--network=host"),
            # It may raise no limit here.
            *("--ulimit=nofile=20000:20000", "--ulimit=nproc=20000:20000"),
            *("--build-arg", f"BASE={_BASE}", "--pull=never", *_index(folder), "--tag", image, str(ROOT)),
        )

    def _make_base(self, folder: Path) -> None:
        file = folder / "base.tar"
        command = (needed("mmdebstrap"), "--variant=minbase", f"--include={_PACKAGES}", "trixie", str(file))
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
        self.run("import", file, _BASE)
        file.unlink()

    def _enter(self, program: str, *arguments: str | Path, status: int | None = 0, given: str | None = None) -> str:
        done = subprocess.run(
            ["nsenter", "--target", str(self.pid), *self.namespaces, program, "--root", _STORE, *arguments],
            env={**os.environ, "CONTAINERS_CONF_OVERRIDE": str(_SETTINGS)},
            input=given or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        assert status in (done.returncode, None), f"{program} {arguments}\n{done.stdout}"
        return done.stdout


def _index(folder: Path) -> list[str]:
    """What lets pip, in a build, reach the index that it reaches on this machine."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    lines = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", told.stdout, re.MULTILINE))
    lines = {name: value for name, value in lines.items() if name in _REACHING}
    file = folder / "pip.conf"
    file.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()), "utf-8")
    mounts = [f"{file}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in [lines.get("cert")] if path)]
    return [f"--volume={mount}" for mount in mounts]


@contextmanager
def podman_machine(folder: Path) -> Iterator[Podman]:
    """Podman for as long as the context lasts; what still runs in it then is killed. Needs root."""
    for program in ("nsenter", "podman", "buildah", "crun", "catatonit", "mmdebstrap"):
        needed(program)
    if os.geteuid() != 0:
        cannot("containers without a daemon need root here")
    _STORE.mkdir(parents=True, exist_ok=True)
    namespaces = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    with Program(
        needed("unshare"), *namespaces, "sh", str(_HOLD), env=dict(os.environ), log=folder / "hold.log"
    ) as holder:
        try:
            holder.wait_for("ready")
        except ChildError as error:
            cannot(f"this machine makes no namespaces for us: {error}")
        (inner,) = holder.children()
        podman = Podman(inner)
        # Of a run that was killed.
        podman.clear()
        podman.run("image", "prune", "--force", "--filter=until=168h")
        yield podman
        podman.clear()
