"""Where a package that a URL of the settings needs is missing, the error names it, and nothing starts."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import ACCOUNT, environment
from tests.support.databases import DatabaseServer
from tests.support.missing import without
from worker.database.migrations import upgrade

pytestmark = pytest.mark.slow

RECONCILER = "from worker.cli import main; sys.argv = ['reconciler', 'doctor', '--json']; main()"
CELERY = "from celery.__main__ import main; sys.argv = ['celery', '-A', 'worker', {}]; sys.exit(main())"

# What is missing, which setting needs it, the name of the check, and what to install.
MISSING = [
    ("packaging", {"BROKER_URL": "redis://127.0.0.1:9/0"}, "broker", "packaging"),
    ("redis", {"BROKER_URL": "redis://127.0.0.1:9/0"}, "broker", "redis"),
    ("redis", {"BROKER_URL": "amqp://127.0.0.1:9//;rediss://127.0.0.1:9/0"}, "broker", "redis"),
    ("redis", {"BROKER_URL": "redis+socket:///nowhere"}, "broker", "redis"),
    ("packaging", {"BROKER_URL": "amqp://127.0.0.1:9//"}, "broker", "packaging"),
    ("packaging", {"RESULT_BACKEND": "rediss://h/0"}, "result_backend", "packaging"),
    ("pymysql", {"RESULT_BACKEND": "db+mysql://u:sesame-street@h/d"}, "result_backend", "PyMySQL"),
]
DRIVERS = [
    ("psycopg", {"DATABASE_URL": "postgresql://u:sesame-street@127.0.0.1:9/d"}, "database", "psycopg[binary]"),
    ("pymysql", {"DATABASE_URL": "mysql://u:sesame-street@127.0.0.1:9/d"}, "database", "PyMySQL"),
    ("pymysql", {"DATABASE_URL": "mariadb://u:sesame-street@127.0.0.1:9/d"}, "database", "PyMySQL"),
]
NAMES = ("module", "urls", "check", "package")


def run(module: str, code: str, urls: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    given = {f"RECONCILER_{name}": url for name, url in urls.items()}
    settings = {**ACCOUNT, "RECONCILER_PLATFORM_URL": "http://127.0.0.1:9", **given}
    done = subprocess.run(
        without([module], code), env=environment(settings), cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert "sesame-street" not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize(NAMES, [*MISSING, *DRIVERS])
def test_a_missing_package_is_fatal_for_the_doctor_by_name(
    module: str, urls: dict[str, str], check: str, package: str, tmp_path: Path
) -> None:
    done = run(module, RECONCILER, urls, tmp_path)
    assert done.returncode == 1, done.stderr
    (found,) = (one for one in json.loads(done.stdout) if one["name"] == check)
    assert (found["status"], f"the module '{module}' is missing" in found["detail"]) == ("fatal", True), found
    assert f"install the package {package} " in found["remedy"]


@pytest.mark.parametrize(NAMES, [MISSING[0], MISSING[4], DRIVERS[0]])
def test_the_worker_does_not_start_and_names_the_missing_package(
    module: str, urls: dict[str, str], check: str, package: str, sqlite_server: DatabaseServer, tmp_path: Path
) -> None:
    with sqlite_server.migrated(upgrade) as database:
        done = run(module, CELERY.format("'worker'"), {"DATABASE_URL": database, **urls}, tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    # Celery's own warning of the superuser may come first.
    line = done.stderr.splitlines()[-1]
    assert line.startswith(("cannot start: ", "the worker does not start: "))
    assert f"the module '{module}' is missing" in line
    assert f"install the package {package} " in line


def test_beat_does_not_start_and_names_the_missing_package(tmp_path: Path) -> None:
    done = run("packaging", CELERY.format("'beat'"), {}, tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(
        "cannot start: the transport of redis cannot be loaded (the module 'packaging' is missing)"
    )


def test_a_driver_that_cannot_be_loaded_is_fatal_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ImportError('no pq wrapper available')")
    code = f"sys.path.insert(0, {str(tmp_path)!r}); {RECONCILER}"
    done = run("nothing", code, {"DATABASE_URL": "postgresql://h/d", "BROKER_URL": "redis://127.0.0.1:9/0"}, tmp_path)
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert "cannot be loaded (no pq wrapper available)" in found["database"]["detail"]
    assert "install the package psycopg[binary] " in found["database"]["remedy"]
    assert found["database_clock"]["status"] == "skipped"


def test_a_package_that_no_setting_needs_may_be_missing(tmp_path: Path, sqlite_server: DatabaseServer) -> None:
    with sqlite_server.migrated(upgrade) as database:
        urls = {"DATABASE_URL": database, "BROKER_URL": "amqp://127.0.0.1:9//", "RESULT_BACKEND": "rpc://"}
        done = run("psycopg", RECONCILER, urls, tmp_path)
    found = {one["name"]: one["status"] for one in json.loads(done.stdout)}
    # The broker is away, which is no more than a warning.
    assert (done.returncode, found["database"], found["broker"], found["result_backend"]) == (0, "ok", "warning", "ok")


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_any_other_package_that_is_missing_is_named(command: str, tmp_path: Path) -> None:
    done = run("structlog", CELERY.format(f"'{command}'"), {}, tmp_path)
    assert done.returncode != 0
    assert "No module named 'structlog'" in done.stderr
