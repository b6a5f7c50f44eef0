"""`reconciler demo`, run as a person runs it, and what it prints."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

import worker
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

ROOT = Path(worker.__file__).parents[1]
COMMAND = [sys.executable, "-c", "from worker.cli import main; main()", "demo"]
SMALL = ("--orders", "120", "--window", "0.5")


@contextmanager
def demo(*options: str) -> Iterator[subprocess.Popen[str]]:
    # A session of its own: every process that the demo starts is found by it, and is ended with the test.
    # Not pytest's folder: the path of a Unix socket may not exceed about 100 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="demo-test-", dir="/tmp") as folder,
        subprocess.Popen(
            [*COMMAND, *options],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            for pid in session_of(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until_gone(process.pid)


def session_of(leader: int) -> list[int]:
    """The living processes of a session."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    living = [int(pid) for pid, state in map(str.split, listed.splitlines()) if not state.startswith("Z")]
    return [pid for pid in living if session_is(pid, leader)]


def session_is(pid: int, leader: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        return os.getsid(pid) == leader
    return False


def wait_until_running(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    for line in process.stdout:
        if "queries:" in line:
            return
    raise AssertionError(f"the demo ended early: {process.stderr.read() if process.stderr else ''}")


def lines_until(process: subprocess.Popen[str], words: str) -> str:
    """What the demo says up to the line with these words."""
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"the demo ended without saying {words!r}: {said}")


def wait_until_gone(leader: int) -> None:
    # What was killed may end a little later: on busy processors it is still listed for a moment.
    eventually(lambda: not session_of(leader), "the end of all processes of the demo", every=0.1)


def test_the_demo_settles_every_order_and_leaves_nothing_running() -> None:
    with demo(*SMALL) as process:
        said, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (0, "")
        wait_until_gone(process.pid)
    assert "\x1b" not in said
    assert re.search(r"queries: \d+, (next|a query is under way)", said)
    assert "120 recharge orders" in said.splitlines()[2]
    assert re.search(r"^ +116  settled, and the platform agrees", said, re.MULTILINE)
    assert re.search(r"^ +3  still pending, and the platform is still recharging them", said, re.MULTILINE)
    assert re.search(r"^ +1  unknown to the platform: unresolved", said, re.MULTILINE)
    assert re.search(r"^ +0  wrong", said, re.MULTILINE)
    assert re.search(r"succeeded, amount_mismatch: expected [0-9.]+, the platform charged 98.00", said)
    assert "the least possible is 1" in said
    spacing = re.search(r"smallest spacing of two queries: ([0-9.]+) s; the window: 0.5 s", said)
    assert spacing
    assert float(spacing[1]) >= 0.5
    assert "violations: 0" in said
    assert "export RECONCILER_DATABASE_URL=sqlite:////" in said
    assert said.rstrip().splitlines()[-1].startswith("Result: all is well")


def test_the_summary_is_printed_as_json() -> None:
    with demo(*SMALL, "--json") as process:
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, said + errors
    summary = json.loads(said)
    assert summary["good"]
    assert (summary["agreed"], summary["both_pending"], summary["given_up"], summary["wrong"]) == (116, 3, 1, 0)
    assert summary["violations"] == []


def test_with_serve_the_console_is_there_during_the_demo_and_afterwards() -> None:
    with demo(*SMALL, "--serve") as process:
        said = lines_until(process, "Console: ")
        found = re.search(r"Console: ((http://127\.0\.0\.1:\d+/)sign-in\?key=\S+)", said)
        assert found
        address, url = found.groups()
        assert requests.get(f"{url}orders", timeout=100, allow_redirects=False).status_code == 303
        person = requests.Session()
        assert person.get(address, timeout=100).url == url
        said = lines_until(process, f"The console is at {address} still;")
        assert "Result: all is well" in said
        # Worker, beat, broker and platform are there as well; the worker's first tick comes within a second or two.
        eventually(lambda: requests.get(f"{url}healthz", timeout=100).status_code == 200, "a worker that ticks")
        # Who looked at it before looks on.
        assert "succeeded" in person.get(f"{url}orders", headers={"Accept-Language": "en"}, timeout=100).text.lower()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (0, "")
        wait_until_gone(process.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_demo_and_all_that_it_started(number: signal.Signals) -> None:
    with demo(*SMALL) as process:
        wait_until_running(process)
        process.send_signal(number)
        said, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (128 + number, "")
        assert "Stopped: nothing is left running." in said
        wait_until_gone(process.pid)


def test_a_killed_demo_leaves_nothing_running() -> None:
    with demo(*SMALL) as process:
        wait_until_running(process)
        assert len(session_of(process.pid)) > 5
        process.kill()
        process.wait(60)
        wait_until_gone(process.pid)
