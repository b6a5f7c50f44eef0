import threading
from pathlib import Path

import pytest

from tests.ci.__main__ import main
from tests.ci.running import Result, Runner, Step, how_it_ended, table
from tests.ci.steps import LANES
from tests.support.processes import is_running
from tests.support.waiting import eventually

PYTEST_PRINTS = """
============================= slowest 20 durations =============================
12.50s call     tests/unit/test_a.py::test_one[x y]
0.75s setup    tests/unit/test_a.py::test_two
=========================== 2 passed in 14.01s ===========================
"""


def step(name: str, command: str) -> Step:
    return Step(name=name, title=f"what {name} shows", command=command)


def results_of(folder: Path, *steps: Step) -> list[Result]:
    found: list[Result] = []
    runner = Runner(folder, found.append)
    runner.run([steps])
    assert runner.results == found
    return found


def test_a_step_that_fails_names_its_log_and_what_repeats_it(tmp_path: Path) -> None:
    (failed,) = results_of(tmp_path, step("broken", "echo the reason; false; echo after"))
    assert (failed.is_good, failed.status) == (False, 1)
    for told in (how_it_ended(failed), table([failed])):
        assert f"log is {tmp_path / 'broken.log'}" in told
        assert ".ci/run broken" in told
    assert "the reason" in how_it_ended(failed)
    assert "after" not in failed.output


def test_the_table_ends_with_each_test_and_fault_that_failed(tmp_path: Path) -> None:
    of_pytest = "FAILED tests/unit/test_a.py::test_one - assert 1 == 2"
    of_faults = "BAD 12.03  mariadb\n       a query too many"
    tests, faults = step("quick", f"echo '{of_pytest}'; false"), step("faults", f"echo '{of_faults}'; false")
    lines = table(results_of(tmp_path, step("good", f"echo '{of_pytest}'"), tests, faults)).splitlines()
    assert [line for line in lines[-5:] if "its log is" not in line] == [of_pytest, *of_faults.splitlines()]


def test_a_failure_ends_no_other_step(tmp_path: Path) -> None:
    runner = Runner(tmp_path, lambda _: None)
    runner.run([[step("one", "false"), step("two", "true")], [step("three", "true")]])
    assert {one.step.name: one.is_good for one in runner.results} == {"one": False, "two": True, "three": True}


def test_the_table_has_every_step_and_the_slowest_tests_first(tmp_path: Path) -> None:
    found = results_of(tmp_path, step("quick", f"echo '{PYTEST_PRINTS}'"), step("late", "true"))
    lines = table(found).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["quick", "late"]
    assert [line.split()[:2] for line in lines[-2:]] == [
        ["12.5", "tests/unit/test_a.py::test_one[x"],
        ["0.8", "tests/unit/test_a.py::test_two"],
    ]
    assert found[0].summaries == ["2 passed in 14.01s"]


def test_the_processor_time_of_what_a_step_starts_is_counted(tmp_path: Path) -> None:
    (busy,) = results_of(tmp_path, step("busy", "python3 -c 'sum(range(2_000_000))' & wait $!"))
    assert busy.processor_seconds > 0


def test_a_step_that_is_stopped_ends_what_it_has_started_and_no_other_begins(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    # The child itself writes: until it has begun, the interrupt would end it, and there would be nothing to kill.
    hanging = step("hanging", f"trap 'kill $!; exit 5' INT; (echo $BASHPID > {pid}; exec sleep 600) & wait")
    runner = Runner(tmp_path, lambda _: None)
    running = threading.Thread(target=runner.run, args=([[hanging, step("never", "true")]],))
    running.start()
    eventually(lambda: pid.exists() and pid.read_text(), "a step that has started its child")
    runner.stop()
    running.join()
    assert [(one.step.name, one.status) for one in runner.results] == [("hanging", 5)]
    eventually(lambda: not is_running(int(pid.read_text())), "the end of the child")


def test_a_name_that_no_step_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["brokers", "brokres"]) == 2
    assert "no step is called brokres; there are: " in capsys.readouterr().err


def test_steps_have_names_of_their_own() -> None:
    names = [one.name for lane in LANES for one in lane]
    assert sorted(set(names)) == sorted(names)
