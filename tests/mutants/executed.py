"""Which tests execute a line of the code, the quickest first."""

import os
import subprocess
import sys
from collections.abc import Mapping
from xml.etree import ElementTree

from coverage import CoverageData

from tests.mutants.sandbox import ROOT

FOLDER = ROOT / "build" / "mutants"
_COVERAGE = FOLDER / "coverage"
_REPORT = FOLDER / "tests.xml"
_QUICK = "not slow and not mariadb and not faults and not install and not deploy and not site"
"""The quick tests, on SQLite and PostgreSQL."""


def record(processes: int) -> None:
    """Run the quick tests once, and keep what each executes.

    Raises:
        subprocess.CalledProcessError: a test failed: it would seem to kill each mutant.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    _COVERAGE.unlink(missing_ok=True)
    flags = [f"-n{processes}", "--dist=loadfile", "-q", f"-m{_QUICK}"]
    coverage = ["--cov", "--cov-context=test", "--cov-report=", "--cov-fail-under=0"]
    report = [f"--junitxml={_REPORT}", "-ojunit_family=xunit1"]
    environment = os.environ | {"COVERAGE_FILE": str(_COVERAGE), "COVERED_BY": "_exit"}
    subprocess.run([sys.executable, "-m", "pytest", *flags, *coverage, *report], cwd=ROOT, env=environment, check=True)


class Executed:
    """What the recorded run executed."""

    def __init__(self) -> None:
        self._coverage = CoverageData(str(_COVERAGE))
        self._coverage.read()
        self._seconds = {
            f"{case.get('file')}::{case.get('name')}": float(case.get("time", 0))
            for case in ElementTree.parse(_REPORT).iter("testcase")
        }
        self._by_file: dict[str, Mapping[int, list[str]]] = {}

    def tests_of(self, path: str, line: int) -> list[str]:
        """The ids of the tests that execute a line, the quickest first."""
        if path not in self._by_file:
            self._by_file[path] = self._coverage.contexts_by_lineno(str(ROOT / path))
        tests = {context.rpartition("|")[0] for context in self._by_file[path].get(line, ())} - {""}
        return sorted(tests, key=self.seconds)

    def seconds(self, test: str) -> float:
        """How long a test took, with its fixtures."""
        return self._seconds[test]
