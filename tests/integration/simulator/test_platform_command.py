"""`reconciler platform`: as a process, and what it refuses."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

import worker.simulator
from tests.support.command_line import PROGRAM, CommandLine
from tests.support.raw_query import APP_ID, SID, TOKEN, RawQuery, read_control
from worker.adapters.child_processes import Child

pytestmark = pytest.mark.slow

ROOT = Path(worker.simulator.__file__).parents[2]
COMMAND = [*PROGRAM, "platform"]
HOME = {"PYTHONPATH": str(ROOT)}
ACCOUNT = {
    **{"RECONCILER_ACCOUNT_SID": SID, "RECONCILER_AUTH_TOKEN": TOKEN, "RECONCILER_APP_ID": APP_ID},
    # Settings accept a shorter window on loopback only.
    "RECONCILER_PLATFORM_URL": "http://127.0.0.1:1",
}


@contextmanager
def running(*options: str, environment: Mapping[str, str] = ACCOUNT) -> Iterator[tuple[Child, str]]:
    command = [*COMMAND, "--port", "0", "--json", *options]
    with Child(command, name="platform", env={**os.environ, **HOME, **environment}, is_piped=True) as process:
        ready = json.loads(process.pipes[1].readline())
        assert ready["pid"] == process.pid
        yield process, ready["url"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_platform_serves_the_account_of_the_environment_until_a_signal(number: signal.Signals) -> None:
    with running("--delay", "fixed:0", "--failed-share", "0") as (process, url):
        assert RawQuery(ids="5").send(url).json["trafficSts"] == "1"
        process.send_signal(number)
        assert process.wait(seconds=100) == 0


def test_options_of_the_command_reach_the_platform(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    options = ["--delay", "0", "--latency", "0.01", "--failed-share", "1", "--record", str(path)]
    with running(*options) as (_, url):
        assert RawQuery(ids="5").send(url).json["trafficSts"] == "-1"
    assert json.loads(path.read_text(encoding="utf-8"))["ids"] == ["5"]


def test_limit_and_version_are_those_of_the_environment_and_of_env() -> None:
    # Names in either case.
    limit = {"reconciler_query_window_seconds": 2, "RECONCILER_QUERIES_PER_WINDOW": 5}
    lines = [f"{name}={value}" for name, value in {**ACCOUNT, **limit}.items()]
    Path(".env").write_text("\n".join(lines), encoding="utf-8")
    with running(environment={"RECONCILER_PLATFORM_VERSION": "201612"}) as (_, url):
        assert RawQuery(ids="5").send(url).code == "-9001"
        record = read_control(url, "record")
    assert (record["window_seconds"], record["queries_per_window"]) == (2, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--delay", "soon"], "'soon' is not a duration"),
        (["--failed-share", "2"], "less than or equal to 1"),
        (["--callback-url", "ftp://a"], "no http:// or https:// URL"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options: list[str], message: str) -> None:
    assert message in CommandLine(ACCOUNT).error("platform", "--port", "0", *options, status=2)


def test_a_port_in_use_or_a_record_that_cannot_be_written_is_reported_in_one_line() -> None:
    with running() as (_, url):
        for options in (("--port", url.rpartition(":")[2]), ("--port", "0", "--record", "/nowhere/record.jsonl")):
            shown = CommandLine(ACCOUNT).error("platform", *options)
            assert shown.endswith("choose another --host, --port or --record")
