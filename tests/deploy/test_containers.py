"""The Dockerfile, the Compose files and deploy/container: checked by the programs that read them."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.quadlet import IMAGE, ROOT, command_of, made_units
from tests.deploy.servers_over_tls import DEPLOY
from tests.support.needed import needed

pytestmark = pytest.mark.deploy

UNITS = ["beat", "callbacks", "migrate", "operate", "worker"]
SERVICES = {"migrate", "worker", "beat", "serve", "operate", "platform"}
"""Those of docker-compose.yml that run the image."""


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def compose(settings: str, folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """What Compose makes of these files, with such a .env."""
    (folder / ".env").write_text(settings, "utf-8")
    given = [part for file in ("docker-compose.yml", *files) for part in ("--file", file)]
    command = [needed("docker-compose"), *given, "--env-file", str(folder / ".env"), "--profile", "simulator"]
    return run(*command, "config", "--format", "json", env={"PATH": "/usr/bin:/bin", "HOME": str(folder)})


def services(settings: str, folder: Path, *files: str) -> dict[str, Any]:
    done = compose(settings, folder, *files)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_hadolint_finds_no_fault_in_the_dockerfile() -> None:
    done = run(needed("hadolint"), "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_both_stages_of_the_image_begin_with_the_base_that_is_given() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.findall(r"^FROM (.*)$", text, re.MULTILINE) == ["${BASE} AS build", "${BASE}"]


def test_compose_runs_every_program_with_limits_and_without_rights(tmp_path: Path) -> None:
    found = services("POSTGRES_PASSWORD=chosen\n", tmp_path)
    assert found.keys() == SERVICES | {"postgres", "redis"}
    for name, service in found.items():
        assert int(service["mem_limit"]) <= 1 << 30, name
        assert service["pids_limit"] <= 256, name
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name
    for name in SERVICES:
        service = found[name]
        assert (service["image"], service["build"]["args"]) == (IMAGE, {"BASE": "python:3.13-slim"})
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
    graces = {name: found[name]["stop_grace_period"] for name in ("worker", "serve", "operate")}
    assert graces == {"worker": "1m15s", "serve": "30s", "operate": "30s"}
    # Where `reconciler user` keeps who may sign in.
    volumes = [(one["type"], one["target"], one.get("read_only", False)) for one in found["operate"]["volumes"]]
    assert volumes == [("volume", "/app/users", False)]
    published = {port["published"] for service in found.values() for port in service.get("ports", [])}
    assert published == {"8080", "8081"}


def test_compose_has_no_password_of_its_own(tmp_path: Path) -> None:
    refused = compose("RECONCILER_ACCOUNT_SID=sid\n", tmp_path)
    assert refused.returncode != 0
    assert "POSTGRES_PASSWORD is missing a value: choose one in .env" in refused.stderr
    found = services("POSTGRES_PASSWORD=chosen\n", tmp_path)
    assert found["postgres"]["environment"]["POSTGRES_PASSWORD"] == "chosen"
    assert found["operate"]["environment"]["PGPASSWORD"] == "chosen"


def test_compose_with_secrets_puts_none_of_them_into_the_environment(tmp_path: Path) -> None:
    found = services("POSTGRES_PASSWORD=\n", tmp_path, "docker-compose.secrets.yml")
    for name, service in found.items():
        for variable, value in (service["environment"] if name != "redis" else {}).items():
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in [secret["source"] for secret in service["secrets"]]
                assert service["environment"].get(variable.removesuffix("_FILE"), "") == ""
            elif "PASSWORD" in variable or "TOKEN" in variable or "DATABASE" in variable:
                assert value == "", (name, variable)
    assert all("RECONCILER_AUTH_TOKEN_FILE" in found[name]["environment"] for name in SERVICES)


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return made_units(tmp_path_factory.mktemp("units"))


def test_quadlet_makes_a_unit_of_each_file_without_rights(units: dict[str, str]) -> None:
    assert sorted(units) == UNITS
    for text in units.values():
        start = shlex.split(command_of(text))
        at = start.index(f"localhost/{IMAGE}")
        options = " ".join(start[:at])
        for option in (
            *("--read-only", "--cap-drop all", "--security-opt=no-new-privileges"),
            *("--user 10001:10001", "--pids-limit 256", "--cgroups=split"),
        ):
            assert option in options
        # Of a group of its own, which `--cgroups=split` puts the container into.
        assert re.search("^MemoryMax=", text, re.MULTILINE)
        assert all(port.startswith("127.0.0.1:") for port in re.findall(r"--publish (\S+)", options))


def test_quadlets_units_run_what_the_units_of_systemd_run(units: dict[str, str]) -> None:
    programs = (unit for unit in (DEPLOY / "systemd").glob("*.service") if not unit.with_suffix(".timer").exists())
    for unit in programs:
        name = unit.stem.removeprefix("reconciler-")
        start = units[name]
        program = command_of(unit.read_text("utf-8")).removeprefix("/opt/reconciler/bin/")
        ours = command_of(start).partition(f"{IMAGE} ")[2].replace("--host 0.0.0.0 ", "")
        assert ours == program
        # What is in files there is in secrets here.
        assert files_of(start) == files_of(unit.read_text("utf-8"))


def test_the_files_of_the_document_add_secrets_to_quadlets_units(tmp_path: Path) -> None:
    text = (ROOT / "docs/deployment.md").read_text("utf-8")
    sources = Path(shutil.copytree(DEPLOY / "container", tmp_path / "sources"))
    for name, content in re.findall(r"cat > /etc/containers/systemd/(\S+) <<'END'\n(.*?)^END$", text, re.M | re.S):
        (sources / name).parent.mkdir()
        (sources / name).write_text(content, "utf-8")
    found = {name: command_of(unit) for name, unit in made_units(tmp_path, sources).items()}
    assert all("--secret reconciler_notify_secret,target=notify_secret," in command for command in found.values())
    with_token = {name for name, command in found.items() if "--secret reconciler_metrics_token" in command}
    assert with_token == {"operate"}
    assert "--volume reconciler-users:/app/users" in found["operate"].replace(" -v ", " --volume ")


def test_systemd_stops_no_container_before_podman_does(units: dict[str, str]) -> None:
    graces = {}
    for name in ("worker", "callbacks", "operate"):
        (inner,), (outer,) = (
            re.findall(pattern, units[name]) for pattern in (r"--stop-timeout (\d+)", r"TimeoutStopSec=(\d+)")
        )
        assert int(outer) > int(inner)
        graces[name] = int(inner)
    assert graces == {"worker": 75, "callbacks": 30, "operate": 30}


def test_systemd_finds_no_fault_in_what_quadlet_makes(units: dict[str, str], tmp_path: Path) -> None:
    files = [tmp_path / f"reconciler-{name}.service" for name in units]
    for file, text in zip(files, units.values(), strict=True):
        file.write_text(text, "utf-8")
    done = run(needed("systemd-analyze"), "verify", "--man=no", *files)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def files_of(unit: str) -> set[str]:
    return set(re.findall(r"RECONCILER_\w+_FILE(?==)", unit))
