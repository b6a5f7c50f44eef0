"""The documented install suffices: its commands make it, and only its own programs run it."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.installation import RELEASE, ROOT, STATED, image_context, install, install_commands, upgrade
from tests.support.processes import ACCOUNT, open_slots, running_beat, running_platform, running_worker, send_tasks
from tests.support.raw_query import read_control, write_control
from tests.support.sql import rows_of
from tests.support.waiting import eventually

SETTINGS = {
    "RECONCILER_QUERY_WINDOW_SECONDS": "1",
    "RECONCILER_REQUEST_DEADLINE_SECONDS": "20",
    "RECONCILER_CONNECT_TIMEOUT_SECONDS": "0.5",
    "RECONCILER_CALLBACK_GRACE_SECONDS": "0.05",
    "RECONCILER_TICK_SECONDS": "0.1",
}
ORDER = {"request_id": "2016010000000219", "mobile": "18812340804"}
INSTALLED = """
import json
from importlib.metadata import distributions
print(json.dumps({one.name: one.version for one in distributions()}))
"""
COLUMNS = "request_id, mobile, state, traffic_sts, ori_amount, settled_by, attention"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an installation that was made by the documented commands, once for all of these tests."""
    return install(tmp_path_factory.mktemp("installation"))


def run(*command: str | Path, env: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def running(programs: Path, env: dict[str, str], folder: Path) -> Iterator[None]:
    """Worker and beat; they stop in order."""
    celery = [str(programs / "celery")]
    with running_worker(env, folder, program=celery) as worker, running_beat(env, folder, program=celery) as beat:
        yield
        assert (beat.stop(), worker.stop()) == (0, 0), worker.output


def row(database_url: str) -> tuple[object, ...] | None:
    found = rows_of(database_url, f"SELECT {COLUMNS} FROM recharge_orders")
    return tuple(found[0]) if found else None


@pytest.mark.install
@pytest.mark.timeout(700)
def test_the_environment_holds_the_pinned_runtime_packages_and_no_others(programs: Path, tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin"}
    installed = json.loads(run(programs / "python", "-c", INSTALLED, env=env, folder=tmp_path))
    # What `venv` itself puts there, and the project.
    others = {"pip", "setuptools", "recharge-reconciler"}
    there = {str(canonicalize_name(name)): version for name, version in installed.items()}
    lines = (ROOT / "requirements" / "web.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line.removesuffix("\\")) for line in lines if line[:1].isalnum()]
    wanted = {
        str(canonicalize_name(pin.name)): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }
    assert "recharge-reconciler" in there
    assert {name: version for name, version in there.items() if name not in others} == wanted
    run(programs / "pip", "check", env=env, folder=tmp_path)


@pytest.mark.install
@pytest.mark.timeout(700)
@pytest.mark.databases("postgresql")
@pytest.mark.brokers("redis", "rabbitmq")
def test_worker_and_beat_settle_an_order(programs: Path, database_url: str, broker_url: str, tmp_path: Path) -> None:
    # The programs get nothing of the checkout, of this environment or of the coverage.
    bare = {"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1", **ACCOUNT}
    reconciler = str(programs / "reconciler")
    limit = {**bare, "RECONCILER_QUERY_WINDOW_SECONDS": "1"}
    with running_platform(limit, tmp_path, "--no-adopt", program=[reconciler, "platform"]) as platform_url:
        urls = {"DATABASE_URL": database_url, "BROKER_URL": broker_url, "PLATFORM_URL": platform_url}
        env = {**bare, **SETTINGS, **{f"RECONCILER_{name}": url for name, url in urls.items()}}
        run(reconciler, "migrate", env=env, folder=tmp_path)
        checks = json.loads(run(reconciler, "doctor", "--json", env=env, folder=tmp_path))
        assert {check["name"]: check["status"] for check in checks}["broker"] == "ok"
        placed = {**ORDER, "amount": "2.94", "outcome": "1", "settle_after": 0.0}
        assert write_control(platform_url, "orders", {"orders": [placed]}).status == 200
        with running(programs, env, tmp_path):
            open_slots(database_url)
            send_tasks(broker_url, ("reconciler.enqueue_orders", [[ORDER]]))
            final = eventually(
                lambda: (found := row(database_url)) and found[2] != "pending" and found, "the order in a final state"
            )
        assert read_control(platform_url, "record")["violations"] == []
    assert final == ("2016010000000219", "18812340804", "succeeded", 1, Decimal("2.94"), "query", None)


@pytest.mark.install
@pytest.mark.timeout(700)
def test_the_documented_upgrade_replaces_code_of_the_same_version(programs: Path, tmp_path: Path) -> None:
    folder = programs.parents[1]
    project = folder / "checkout/pyproject.toml"
    project.write_text(project.read_text("utf-8").replace(STATED, RELEASE), "utf-8")
    for word in ("first", "second"):
        with (folder / "checkout/worker/__init__.py").open("a", encoding="utf-8") as code:
            code.write(f"\nprint('{word}')\n")
        upgrade(folder)
        printed = run(programs / "python", "-c", "import worker", env={"PATH": "/usr/bin:/bin"}, folder=tmp_path)
        assert printed.split()[-1] == word


def test_the_image_is_installed_by_the_same_commands() -> None:
    first_stage = (ROOT / "Dockerfile").read_text("utf-8").split("\nFROM ")[1].replace("\\\n", "")
    runs = re.findall(r"^RUN (.*)$", first_stage, re.MULTILINE)
    commands = [" ".join(command.split()) for run in runs for command in run.split("&&")]
    documented = [line for line in install_commands().splitlines() if not line.startswith("#")]
    # In another order, because of its layers.
    assert sorted(commands) == sorted(documented)


def test_the_image_gets_all_files_that_it_is_built_from() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    sources = {source.partition("/")[0] for line in copied for source in line.split()[:-1]}
    assert sources == set(image_context())
