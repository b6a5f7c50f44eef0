"""docker-compose.yml, run by Docker Compose on Podman, which speaks Docker's API.

Official images cannot be had everywhere, so one of Debian's packages has the names of those that the file pulls. Podman
runs the health checks only where it runs beside systemd: here the test asks for them.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.podman_machine import Podman
from tests.deploy.quadlet import IMAGE, ROOT
from tests.support.needed import needed
from tests.support.processes import Program
from tests.support.waiting import eventually

SERVICES = ("postgres", "redis", "migrate", "worker", "beat", "serve", "operate", "platform")
_PULLED = "docker.io/library"
# What the image `postgres` does with its variables.
_POSTGRES = r"""#!/bin/sh
set -eu
export PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb --encoding=UTF8 --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 > /dev/null
    echo "CREATE DATABASE $POSTGRES_DB" | postgres --single postgres > /dev/null
fi
exec postgres -k /tmp
"""
# What Compose's own networks and limits take is not to be had here: all share one network, whose names are these.
_HERE = """
  {name}:
    network_mode: host
    ports: !reset []
    mem_limit: !reset null
    pids_limit: !reset null
    extra_hosts: ["postgres:127.0.0.1", "redis:127.0.0.1", "platform:127.0.0.1"]
"""


@dataclass(frozen=True)
class Composed:
    """The programs of the file."""

    podman: Podman
    command: Sequence[str | Path]
    env: dict[str, str]
    folder: Path

    def up(self) -> None:
        """Start all. Raises AssertionError where one does not start."""
        with Program(
            *map(str, self.command), "up", "--detach", "--no-build", env=self.env, log=self.folder / "up.log"
        ) as up:
            # The others wait for these two, and Podman runs no check by itself.
            eventually(lambda: (self._check("postgres", "redis"), up.has_ended())[1], "all", seconds=300, every=1)
            assert up.wait() == 0, up.output

    def check_all(self) -> bool:
        """Run each health check; whether all of them pass. Podman does not understand the longer ones of the file."""
        services = json.loads(self.run("config", "--format", "json"))["services"]
        checks = {name: services[name]["healthcheck"]["test"][1:] for name in ("serve", "operate", "platform")}
        return self._check("postgres", "redis", "worker") and not any(
            self.podman.run("exec", self.container(name), *check, status=None) for name, check in checks.items()
        )

    def _check(self, *names: str) -> bool:
        return not any(self.podman.run("healthcheck", "run", self.container(name), status=None) for name in names)

    def container(self, service: str) -> str:
        """The name of its container."""
        return f"recharge-reconciler-{service}-1"

    def state(self, service: str) -> str:
        """How its container is."""
        return self.podman.found("container", self.container(service), ".State.Status")

    def run(self, *arguments: str) -> str:
        """What Compose prints. Raises AssertionError where it fails."""
        done = subprocess.run(
            [*self.command, *arguments], env=self.env, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def composed(podman: Podman, folder: Path, settings: str) -> Iterator[Composed]:
    """The file with these settings as .env, on an image that was built; nothing is started yet."""
    program = needed("docker-compose")
    podman.run("tag", f"localhost/{IMAGE}", f"{_PULLED}/{IMAGE}")
    _make_servers(podman, folder)
    shutil.copy(ROOT / "docker-compose.yml", folder)
    (folder / ".env").write_text(settings, "utf-8")
    (folder / "here.yml").write_text("services:" + "".join(_HERE.format(name=name) for name in SERVICES), "utf-8")
    socket = folder / "docker.sock"
    with podman.docker_api(socket) as inside:
        command: list[str | Path] = [program, "--project-directory", folder, "--profile", "simulator"]
        command += [part for name in ("docker-compose.yml", "here.yml") for part in ("--file", folder / name)]
        env = {"PATH": os.environ["PATH"], "HOME": str(folder), "DOCKER_HOST": f"unix://{socket}"}
        made = Composed(inside, command, env, folder)
        yield made
        made.run("down", "--volumes", "--timeout", "1")


def _make_servers(podman: Podman, folder: Path) -> None:
    if podman.run("images", "--quiet", "--filter", f"reference={_PULLED}/postgres"):
        return
    (folder / "start-postgres").write_text(_POSTGRES, "utf-8")
    hooks = (
        f"copy-in {folder / 'start-postgres'} /usr/local/bin",
        'chroot "$1" chmod 755 /usr/local/bin/start-postgres',
        'chroot "$1" install -d -o postgres -m 700 /var/lib/postgresql/data',
    )
    archive = folder / "servers.tar"
    packages = "--include=postgresql,redis-server"
    options = ("--variant=minbase", packages, *(f"--customize-hook={hook}" for hook in hooks))
    subprocess.run([needed("mmdebstrap"), *options, "trixie", archive], check=True, capture_output=True, timeout=500)
    ready = ("USER postgres", "ENV PGDATA=/var/lib/postgresql/data", 'ENTRYPOINT ["start-postgres"]')
    changes = [part for change in ready for part in ("--change", change)]
    podman.run("import", *changes, archive, f"{_PULLED}/postgres:17-alpine")
    podman.run("import", "--change", "WORKDIR /data", archive, f"{_PULLED}/redis:8-alpine")
    archive.unlink()
