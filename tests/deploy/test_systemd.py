"""The units of deploy/systemd: checked by systemd's own programs, and run by a systemd that is process 1."""

import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.platform.raw_server import CERTIFICATE
from tests.deploy.servers_over_tls import DEPLOY, OWNER
from tests.deploy.surroundings import AUTHORITY, Surroundings, surroundings
from tests.deploy.systemd_machine import Machine, systemd_machine
from tests.support.needed import needed
from tests.support.raw_query import TOKEN
from tests.support.server_process import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.deploy

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
TIMERS = sorted((DEPLOY / "systemd").glob("*.timer"))
NAMES = [f"reconciler-{name}" for name in ("beat", "callbacks", "operate", "purge", "resend", "worker")]
NIGHTLY = ["reconciler-purge", "reconciler-resend"]
MOST_EXPOSURE = 2.0
DOCUMENT = (DEPLOY.parent / "docs/deployment.md").read_text("utf-8")


def checked(*command: str | Path) -> str:
    """What a program of systemd's prints. Raises AssertionError where it fails."""
    done = subprocess.run(
        [needed("systemd-analyze"), *command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_there_is_a_unit_for_each_program() -> None:
    assert [unit.stem for unit in UNITS] == NAMES


@pytest.mark.parametrize("unit", [*UNITS, *TIMERS], ids=lambda unit: unit.name)
def test_systemd_finds_no_fault_in_a_unit_and_little_exposure(unit: Path, tmp_path: Path) -> None:
    for name in ("opt/reconciler/bin/celery", "opt/reconciler/bin/reconciler", "bin/sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch(0o755)
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    copies = Path(shutil.copytree(unit.parent, tmp_path / "etc/systemd/system"))
    # A directive that it does not know is no error, but a line.
    assert checked("verify", "--man=no", f"--root={tmp_path}", copies / unit.name) == ""
    if unit in UNITS:
        checked("security", "--offline=true", f"--threshold={MOST_EXPOSURE * 10:.0f}", "--no-pager", unit)


def test_no_unit_may_do_more_than_another() -> None:
    texts = (unit.read_text("utf-8").partition("\n\n[Install]")[0].rstrip() for unit in UNITS)
    assert len({text.partition("# What it may not do")[2] for text in texts}) == 1


def test_each_timer_starts_the_unit_of_its_name() -> None:
    assert [timer.with_suffix(".service") for timer in TIMERS] == [unit for unit in UNITS if unit.stem in NIGHTLY]
    assert all("\nType=oneshot\n" in timer.with_suffix(".service").read_text("utf-8") for timer in TIMERS)


@dataclass(frozen=True)
class Deployed:
    """The units run in a machine of their own."""

    machine: Machine
    around: Surroundings


def documented(heading: str, block: int = 0, places: Mapping[str, str] | None = None) -> str:
    """A block of commands below a heading of docs/deployment.md, with these texts in place of printed ones."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.partition(f"\n{heading}\n")[2], re.MULTILINE | re.DOTALL)
    commands = f"cd /opt/reconciler/checkout\n{blocks[block]}"
    for printed, own in (places or {}).items():
        assert printed in commands
        commands = commands.replace(printed, own)
    return commands


def by_root(block: int) -> str:
    """A block of commands of root's shell, with what that shell begins with."""
    commands = documented("### With systemd", block=block).partition("\n")[2]
    return f"export SSL_CERT_FILE={AUTHORITY}\n{documented('### With systemd', block=1)}\n{commands}"


def set_up(machine: Machine, around: Surroundings) -> None:
    """What docs/deployment.md says, and what differs here: an authority of its own."""
    machine.run(documented("## 4. Settings"))
    machine.run(
        "\n".join(
            [
                f"cat > {AUTHORITY} << 'END'\n{CERTIFICATE.read_text('ascii')}END",
                "cat >> /etc/reconciler/.env << 'END'",
                *(f"{name}={value}" for name, value in around.settings.items()),
                "END",
                "mkdir /etc/systemd/system/reconciler-.service.d",
                f"printf '[Service]\\nEnvironment=SSL_CERT_FILE={AUTHORITY}\\n'"
                " > /etc/systemd/system/reconciler-.service.d/authority.conf",
            ]
        )
    )
    places = {
        "postgresql://reconciler:PASSWORD@db.example.internal/reconciler": around.database.url_of(
            OWNER, authority=AUTHORITY
        ),
        "postgresql://reconciler_app:PASSWORD@db.example.internal/reconciler": around.database_url,
        "redis://redis.example.internal:6379/0": around.broker_url,
        "'TOKEN'": TOKEN,
    }
    machine.run(documented("### With systemd", places=places))
    first_start = machine.run(by_root(2))
    assert "from an empty database" in first_start
    assert "Nothing is fatal" in first_start or "All is well" in first_start, first_start
    assert "can be read by every user" not in first_start


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with (
        systemd_machine(tmp_path_factory.mktemp("machine")) as machine,
        surroundings(tmp_path_factory.mktemp("outside")) as around,
    ):
        set_up(machine, around)
        yield Deployed(machine, around)


def test_units_poll_and_a_stop_stores_the_result_of_the_query_that_is_under_way(deployed: Deployed) -> None:
    machine, around = deployed.machine, deployed.around
    assert machine.run("systemctl is-enabled reconciler-worker reconciler-beat").split() == ["enabled"] * 2
    around.enqueue()
    eventually(lambda: around.column("SELECT state FROM recharge_orders") == ["succeeded"], "a settled order")
    # Otherwise the limit would depend on the database's clock alone.
    assert around.column("SELECT boot_id FROM query_budgets") == [
        machine.run("cat /proc/sys/kernel/random/boot_id").strip()
    ]
    environ = machine.run("cat /proc/$(systemctl show --property=MainPID --value reconciler-worker)/environ")
    assert "RECONCILER_AUTH_TOKEN_FILE=/run/credentials/" in environ
    assert TOKEN not in environ

    moment = around.time_of_a_query()
    machine.run("systemctl stop reconciler-worker reconciler-beat")
    assert around.column("SELECT DISTINCT state FROM recharge_orders") == ["succeeded"]
    assert around.column(f"SELECT count(*) FROM platform_queries WHERE answered_at > '{moment}'") == [1]
    for unit in ("reconciler-worker", "reconciler-beat"):
        shown = machine.run(f"systemctl show --property=Result,ExecMainStatus,NRestarts {unit}").split()
        assert sorted(shown) == ["ExecMainStatus=0", "NRestarts=0", "Result=success"], machine.journal(unit)


def test_units_serve_callbacks_and_the_console(deployed: Deployed) -> None:
    machine = deployed.machine
    ports = {"callbacks": free_port(), "operate": free_port()}
    machine.run("printf %s a-token-of-the-account-1 > /etc/reconciler/secrets/callback_token")
    for part, port in ports.items():
        unit = f"/etc/systemd/system/reconciler-{part}.service"
        command = f"/opt/reconciler/bin/reconciler serve --only {part} --port"
        machine.run(
            f"""
            grep -q '^ExecStart={command} 808' {unit}
            mkdir {unit}.d
            printf '[Service]\\nExecStart=\\nExecStart={command} {port}\\n' > {unit}.d/port.conf
            systemctl enable --now reconciler-{part}
            """
        )
    eventually(lambda: page(ports["callbacks"], "/readyz") == "ready\n", "callbacks")
    # Both by its credentials; whether a worker runs is no matter here.
    reached = {'"broker":"ok"', '"database":"ok"'}
    eventually(lambda: reached <= {*page(ports["operate"], "/healthz").strip("{}\n").split(",")}, "the console")
    machine.run("systemctl stop reconciler-callbacks reconciler-operate")
    for part in ports:
        shown = machine.run(f"systemctl show --property=Result --value reconciler-{part}")
        assert shown == "success\n", machine.journal(f"reconciler-{part}")


def test_root_adds_a_user_whom_the_console_can_read_and_a_secret_for_each_unit(deployed: Deployed) -> None:
    machine = deployed.machine
    console = documented("## 8. The console, for other machines", block=1).partition("\n")[2]
    machine.run("echo RECONCILER_USERS_FILE=/etc/reconciler/users.toml >> /etc/reconciler/.env")
    machine.run(f"{by_root(1)}\n{console.replace('reconciler user add', 'echo a-long-password | reconciler user add')}")
    assert machine.run("stat -c '%U %a' /etc/reconciler/users.toml") == "reconciler 600\n"
    machine.run(
        f"""
        printf %s whsec_{"QUJD" * 8} > /etc/reconciler/secrets/notify_secret
        echo RECONCILER_NOTIFY_URL=http://127.0.0.1:9/hook >> /etc/reconciler/.env
        systemctl start reconciler-beat
        {documented("### With systemd", block=3)}
        """
    )
    environ = machine.run("cat /proc/$(systemctl show --property=MainPID --value reconciler-beat)/environ")
    assert "RECONCILER_NOTIFY_SECRET_FILE=/run/credentials/reconciler-beat.service/notify_secret" in environ
    machine.run(by_root(1) + "reconciler notifications")


def test_timers_delete_old_rows_and_take_open_orders_in_again(deployed: Deployed) -> None:
    machine, around = deployed.machine, deployed.around
    around.prepare_night()
    printed = "postgresql://READER:PASSWORD@billing.example.internal/billing"
    machine.run(documented("### With systemd", block=4, places={printed: around.billing_url}))
    machine.run("systemctl start reconciler-purge")
    around.check_night()
    for name in NIGHTLY:
        shown = machine.run(f"systemctl show --property=Result --value {name}; systemctl is-active {name}.timer")
        assert shown.split() == ["success", "active"], machine.journal(name)


def page(port: int, path: str) -> str:
    """What is there, whatever its status; empty where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())
    except OSError:
        return ""
