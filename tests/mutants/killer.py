"""A plugin of pytest: writes down the folder of the first test that fails."""

from pathlib import Path

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note `tests/unit` of `tests/unit/domain/test_x.py::test_y`, for example."""
    if report.failed:
        Path("killer.txt").write_text("/".join(report.nodeid.split("/")[:2]), "utf-8")
