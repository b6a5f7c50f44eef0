"""Runs steps: lanes side by side, the steps of a lane one after the other, each with a log of its own."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_LINES_OF_A_FAILURE = 400
_SLOWEST = 20
_WIDTH = 400
_SECONDS_TO_END = 30.0
# What pytest prints with --durations.
_DURATION = re.compile(r"^ *(\d+\.\d+)s (?:call|setup|teardown) +(\S.*)$", re.MULTILINE)
# What pytest and the faults print of each test or run that failed.
_FAILED = re.compile(r"^(?:(?:FAILED|ERROR) tests/.*|BAD .*(?:\n {7}.*)+)", re.MULTILINE)
_SUMMARY = re.compile(r"^=* ?(\d+ (?:passed|failed|skipped|error).*?) ?=*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command that must succeed."""

    name: str
    """One word; `.ci/run NAME` repeats the step."""
    title: str
    command: str
    """For bash, in the project's folder."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of the run."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a step ended."""

    step: Step
    log: Path
    status: int
    """The exit status; below zero the signal that ended it."""
    began: float
    """Seconds from the start of the run."""
    seconds: float
    processor_seconds: float
    """The processor time of the command, and of all that it started and waited for."""

    @property
    def is_good(self) -> bool:
        """Whether it has succeeded."""
        return self.status == 0

    @property
    def summaries(self) -> list[str]:
        """The last line of each run of pytest in it."""
        return _SUMMARY.findall(self.output)

    @property
    def output(self) -> str:
        """What it printed."""
        return self.log.read_text("utf-8", "replace")


class Runner:
    """Runs steps with logs in a folder; `report` gets each result as soon as it is known."""

    def __init__(self, folder: Path, report: Callable[[Result], None]) -> None:
        self._folder = folder
        self._report = report
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._is_stopped = False
        self.results: list[Result] = []
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, lanes: Sequence[Sequence[Step]]) -> bool:
        """Run lanes side by side, the steps of each one after the other; returns whether all have succeeded.

        A step that fails ends no other one.
        """
        before = len(self.results)
        threads = [threading.Thread(target=self._run_lane, args=(lane,)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return all(result.is_good for result in self.results[before:])

    def stop(self) -> None:
        """Interrupt what runs, so that it ends what it has started, kill what remains, and begin nothing more."""
        self._is_stopped = True
        self._send(signal.SIGINT)
        give_up = time.monotonic() + _SECONDS_TO_END
        while self._running and time.monotonic() < give_up:
            time.sleep(0.1)
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with self._lock:
            for group in self._running:
                with suppress(ProcessLookupError):
                    os.killpg(group, number)

    def _run_lane(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if (result := self._run(step)) is not None:
                self.results.append(result)
                with self._lock:
                    self._report(result)

    def _run(self, step: Step) -> Result | None:
        log = self._folder / f"{step.name}.log"
        began = time.monotonic()
        with log.open("wb") as output:
            with self._lock:
                if self._is_stopped:
                    return None
                process = subprocess.Popen(
                    ["bash", "-o", "errexit", "-o", "pipefail", "-c", step.command],
                    env={**os.environ, **step.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # A group of its own, so that it can be ended with all that it has started.
                    start_new_session=True,
                )
                self._running.add(process.pid)
            # Not Popen.wait, which does not tell what the processes used.
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            with self._lock:
                self._running.discard(process.pid)
        return Result(
            step=step,
            log=log,
            status=process.returncode,
            began=began - self._began,
            seconds=time.monotonic() - began,
            processor_seconds=used.ru_utime + used.ru_stime,
        )


def how_it_ended(result: Result) -> str:
    """What a step printed last; the end of its log if it failed, and what to do."""
    title = f"{result.step.name}: {result.step.title} ({result.seconds:.0f} s)"
    if result.is_good:
        return "\n".join([f"ok      {title}", *result.summaries])
    lines = result.output.splitlines()
    left_out = [f"... {len(lines) - _LINES_OF_A_FAILURE} lines before"] if len(lines) > _LINES_OF_A_FAILURE else []
    return "\n".join([f"FAILED  {title}", *left_out, *lines[-_LINES_OF_A_FAILURE:], _what_to_do(result)])


def table(results: Sequence[Result]) -> str:
    """The steps and their seconds, the slowest tests, and what has failed, with what to do."""
    rows = [
        f"{one.step.name:12}{one.began:8.0f}{one.seconds:9.0f}{one.processor_seconds:11.0f}  "
        + ("ok" if one.is_good else "FAILED")
        for one in sorted(results, key=lambda one: one.began)
    ]
    return "\n".join(
        [
            f"{'step':12}{'began':>8}{'seconds':>9}{'processor':>11}",
            *rows,
            "",
            f"The {_SLOWEST} slowest tests, in seconds:",
            *_slowest_tests(results),
            *(line[:_WIDTH] for one in results if not one.is_good for line in _of_a_failure(one)),
        ]
    )


def _of_a_failure(failed: Result) -> list[str]:
    return [*_FAILED.findall(failed.output), _what_to_do(failed)]


def _what_to_do(failed: Result) -> str:
    name, how = failed.step.name, f"exit status {failed.status}"
    return f"FAILED  {name} ({how}); its log is {failed.log}; to repeat it alone: .ci/run {name}"


def _slowest_tests(results: Sequence[Result]) -> list[str]:
    found = [
        (float(seconds), test, one.step.name) for one in results for seconds, test in _DURATION.findall(one.output)
    ]
    return [f"{seconds:8.1f}  {test} ({step})" for seconds, test, step in sorted(found, reverse=True)[:_SLOWEST]]
