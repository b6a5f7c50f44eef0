"""The image, built and run by Podman as deploy/container and deploy/kubernetes say."""

import json
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.contract.platform.raw_server import CERTIFICATE
from tests.deploy.composing import SERVICES, composed
from tests.deploy.kubernetes import objects, program_of
from tests.deploy.podman_machine import Podman, podman_machine
from tests.deploy.quadlet import IMAGE, ROOT, command_of, made_units
from tests.deploy.servers_over_tls import DEPLOY, OWNER
from tests.deploy.surroundings import AUTHORITY, Surroundings, surroundings
from tests.support.installation import STATED
from tests.support.processes import ACCOUNT
from tests.support.raw_query import TOKEN
from tests.support.server_process import free_port
from tests.support.waiting import eventually

# The first run makes the base of the image: some 50 seconds of a processor.
pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

QUICK = {
    "RECONCILER_QUERY_WINDOW_SECONDS": "1",
    "RECONCILER_REQUEST_DEADLINE_SECONDS": "6",
    "RECONCILER_CALLBACK_GRACE_SECONDS": "0.05",
}
SEND = """
from celery import Celery
order = {"request_id": "2016010000000219", "mobile": "18812340804"}
Celery(broker="redis://redis:6379/0").send_task("reconciler.enqueue_order", args=[order], queue="reconciler.orders")
"""
PORTS = {"callbacks": "8080", "operate": "8081"}
PRINTED_SECRETS = "^RECONCILER_(DATABASE_URL|BROKER_URL|AUTH_TOKEN|CALLBACK_TOKEN)="
# What takes a host with systemd, or networks of their own. Containers are looked at after their end, and then removed.
NOT_HERE = r"--cidfile=\S+|--rm|--cgroups=split|--pids-limit 256|--sdnotify=conmon|--publish \S+"


@dataclass(frozen=True)
class Deployed:
    """Containers of deploy/container, or pods of deploy/kubernetes, on servers of deploy/."""

    podman: Podman
    folder: Path
    secrets: dict[str, str]
    around: Surroundings

    @property
    def settings(self) -> dict[str, str]:
        """Those that are no secret."""
        return {**self.around.settings, "SSL_CERT_FILE": AUTHORITY}

    def run_unit(self, name: str, port: int | None = None) -> str:
        """Start a container by the command that systemd would run, on this port; returns its name."""
        command = re.sub(NOT_HERE, "", command_of(made_units(self.folder)[name]).removeprefix("/usr/bin/podman "))
        if port:
            command = command.replace(PORTS[name], str(port))
        command = command.replace("%N", f"reconciler-{name}").replace("/etc/reconciler/.env", str(self._dotenv()))
        run, *more = shlex.split(command)
        self.podman.run(run, "--volume", f"{CERTIFICATE}:{AUTHORITY}:ro", *more)
        return f"systemd-reconciler-{name}"

    def run_pod(self, name: str, port: int | None = None) -> str:
        """Start one of the pods that Kubernetes would run; returns the name of its container."""
        program = program_of(objects(), name)
        pod = program["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        container["image"] = f"localhost/{IMAGE}"
        # They need a control group.
        del container["resources"]
        (mounted,) = (volume["secret"] for volume in pod["volumes"] if volume["name"] == "secrets")
        # Podman knows no fsGroup, by which the user may read them.
        mounted["defaultMode"] = 0o444
        mounted["items"].append({"key": "ca.pem", "path": "ca.pem"})
        container["volumeMounts"].append({"name": "secrets", "mountPath": str(Path(AUTHORITY).parent)})
        if port:
            container["command"][-1] = str(port)
            container["ports"][0]["containerPort"] = port
        program["spec"].pop("replicas", None)
        secret = {"kind": "Secret", "stringData": {**self.secrets, "ca.pem": CERTIFICATE.read_text("ascii")}}
        config = {"kind": "ConfigMap", "data": self.settings}
        query = {"open_orders.py": (DEPLOY / "resend/open_orders.py").read_text("utf-8")}
        queries = {"kind": "ConfigMap", "metadata": {"name": "reconciler-open-orders"}, "data": query}
        given = (secret, config, queries, program)
        parts = [{"apiVersion": "v1", "metadata": {"name": "reconciler"}} | part for part in given]
        file = self.folder / f"{name}.yaml"
        file.write_text("\n---\n".join(map(json.dumps, parts)), "utf-8")
        self.podman.run("kube", "play", "--network=host", file)
        return f"reconciler-{name}-pod-{name}"

    def _dotenv(self) -> Path:
        """Of the printed settings and our own, without the secrets, as the document says."""
        printed = (ROOT / ".env.example").read_text("utf-8").splitlines()
        kept = [line for line in printed if not re.match(PRINTED_SECRETS, line)]
        file = self.folder / "settings.env"
        file.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in self.settings.items()), ""]), "utf-8")
        return file

    def stop(self, container: str) -> str:
        """Stop it as its supervisor does; returns its exit status."""
        self.podman.run("stop", container)
        return self.podman.found("container", container, ".State.ExitCode")


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """It has the image."""
    with podman_machine(tmp_path_factory.mktemp("podman")) as machine:
        machine.build(f"localhost/{IMAGE}", tmp_path_factory.mktemp("build"))
        yield machine


@pytest.fixture(scope="module")
def deployed(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with surroundings(tmp_path_factory.mktemp("outside")) as around:
        held = {
            "owner_url": around.database.url_of(OWNER, authority=AUTHORITY),
            "database_url": around.database_url,
            "broker_url": around.broker_url,
            "auth_token": TOKEN,
            "callback_token": "a-token-of-the-account-1",
            "metrics_token": "a-token-of-prometheus-01",
            "billing_url": around.billing_url,
        }
        for name, secret in held.items():
            podman.run("secret", "create", f"reconciler_{name}", "-", given=secret)
        yield Deployed(podman, tmp_path_factory.mktemp("deployed"), held, around)


@pytest.fixture(scope="module", params=["units", "pods"])
def start(deployed: Deployed, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Starts a program by its name, on a port if at all; the tables are there."""
    run = deployed.run_unit if request.param == "units" else deployed.run_pod
    migration = run("migrate")
    assert deployed.podman.run("wait", migration).strip() == "0", deployed.podman.run("logs", migration)
    return run


def test_the_image_runs_as_a_user_of_its_own_and_has_a_health_check(podman: Podman) -> None:
    assert podman.found("image", IMAGE, ".Config.User") == "10001:10001"
    assert podman.found("image", IMAGE, ".HealthCheck.Test") == "[CMD reconciler health]"


def test_a_release_lists_the_packages_of_the_image(podman: Podman) -> None:
    dry_run = ("make", "--dry-run", "--directory", ROOT, "release", f"IMAGE=localhost/{IMAGE}", "CONTAINERS=podman")
    printed = subprocess.run(dry_run, capture_output=True, text=True, check=True, timeout=60).stdout
    (listing,) = re.findall(r"; then (podman .*?) > dist/image-packages.txt", printed, re.DOTALL)
    # The shell, as in make, takes the command apart.
    script = f"podman() {{ printf '%s\\0' \"$@\"; }}; {listing}"
    given = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
    packages = podman.run(*given.split("\0")[:-1])
    for package in ("libc6 ", "python3 ", "celery==", f"recharge-reconciler=={STATED}"):
        assert f"\n{package}" in packages


def test_a_worker_polls_locked_down_and_a_stop_stores_the_result_of_the_query_that_is_under_way(
    deployed: Deployed, start: Callable[..., str]
) -> None:
    podman, around = deployed.podman, deployed.around
    worker, beat = start("worker"), start("beat")
    first = around.enqueue()
    eventually(lambda: around.state_of(first) == ["succeeded"], "a settled order")
    assert podman.run("healthcheck", "run", worker) == ""
    assert_locked_down(podman, worker)
    # Otherwise the limit would depend on the database's clock alone.
    boot_id = podman.inside(worker, "cat /proc/sys/kernel/random/boot_id").strip()
    assert around.column("SELECT boot_id FROM query_budgets") == [boot_id]

    moment = around.time_of_a_query()
    assert (deployed.stop(worker), deployed.stop(beat)) == ("0", "0")
    assert around.column("SELECT DISTINCT state FROM recharge_orders") == ["succeeded"]
    assert around.column(f"SELECT count(*) FROM platform_queries WHERE answered_at > '{moment}'") == [1]


def test_callbacks_and_the_console_are_served_locked_down(deployed: Deployed, start: Callable[..., str]) -> None:
    ports = {name: free_port() for name in PORTS}
    containers = {name: start(name, port) for name, port in ports.items()}
    for name, port in ports.items():
        eventually(partial(page, port, "/readyz"), name)
        assert page(port, "/livez") == "alive\n"
        assert_locked_down(deployed.podman, containers[name])
    assert {deployed.stop(container) for container in containers.values()} == {"0"}


@pytest.mark.parametrize("start", ["pods"], indirect=True)
def test_cron_jobs_delete_old_rows_and_take_open_orders_in_again(deployed: Deployed, start: Callable[..., str]) -> None:
    deployed.around.prepare_night()
    for name in ("purge", "resend"):
        job = start(name)
        assert deployed.podman.run("wait", job).strip() == "0", deployed.podman.run("logs", job)
    deployed.around.check_night()


def test_compose_starts_every_program_and_reconciles_an_order(podman: Podman, tmp_path: Path) -> None:
    given = {**ACCOUNT, "POSTGRES_PASSWORD": "chosen", "RECONCILER_PLATFORM_URL": "http://127.0.0.1:8100", **QUICK}
    printed = (ROOT / ".env.example").read_text("utf-8")
    settings = printed + "".join(f"{name}={value}\n" for name, value in given.items())
    with composed(podman, tmp_path, settings) as compose:
        compose.up()
        eventually(compose.check_all, "healthy programs", every=1)
        assert {name: compose.state(name) for name in SERVICES} == {
            **dict.fromkeys(SERVICES, "running"),
            "migrate": "exited",
        }
        in_worker = ("exec", compose.container("worker"))
        compose.podman.run(*in_worker, "python", "-c", SEND)
        orders = (*in_worker, "reconciler", "orders", "--json")
        eventually(lambda: '"queried_at": "' in compose.podman.run(*orders), "a query with the order", every=1)
        compose.run("stop")
        ends = {name: podman.found("container", compose.container(name), ".State.ExitCode") for name in SERVICES}
        assert {name: ends[name] for name in ("worker", "beat", "serve", "operate")} == dict.fromkeys(
            ("worker", "beat", "serve", "operate"), "0"
        )


def assert_locked_down(podman: Podman, container: str) -> None:
    """It can neither write nor gain rights, and its environment holds no secret."""
    told = podman.inside(
        container,
        "id --user; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/1/status;"
        " for file in /x /app/x /opt/reconciler/x /tmp/x; do touch $file 2> /dev/null && echo $file; done; true",
    )
    none = "0" * 16
    wanted = ["10001", "CapBnd:", "CapEff:", "NoNewPrivs:", "Seccomp:", none, none, "1", "2", "/tmp/x"]
    assert sorted(told.split()) == sorted(wanted)
    environ = podman.inside(container, "cat /proc/1/environ")
    assert "RECONCILER_AUTH_TOKEN_FILE=/run/secrets/" in environ
    assert not [secret for secret in (TOKEN, "choose-one", "choose-another") if secret in environ]


def page(port: int, path: str) -> str:
    """What is there; empty where nothing answers, or with an error."""
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return str(answer.read().decode())
    return ""
