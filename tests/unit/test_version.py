"""The version that is built: the code decides about the number between releases."""

import os
import re
from pathlib import Path

import pytest

import hatch_build
from tests.support.documents import ROOT
from tests.support.installation import RELEASE, STATED


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("worker/web/page.html", "worker/__init__.py", "migrations/0001.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as it was")
    return tmp_path


def version(project: Path) -> str:
    return hatch_build.version("2.0.0.dev", project)


def test_a_release_has_the_version_that_is_stated(project: Path) -> None:
    assert hatch_build.version("2.0.0", project) == "2.0.0"


@pytest.mark.parametrize("name", ["worker/web/page.html", "worker/new.py", "migrations/0001.py"])
def test_other_code_between_releases_has_another_version(project: Path, name: str) -> None:
    before = version(project)
    assert re.fullmatch(r"2\.0\.0\.dev\d+", before)
    (project / name).write_text("as it is")
    assert version(project) != before


def test_the_same_code_has_the_same_version_whatever_was_compiled_and_when(project: Path) -> None:
    before = version(project)
    for name in ("worker/__pycache__/__init__.cpython-311.pyc", "worker/words/locale/zh.mo", "README.md"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("made")
    os.utime(project / "worker/__init__.py", (0, 0))
    assert version(project) == before


def test_the_changelog_begins_with_the_version_that_is_built() -> None:
    heading = re.search(r"^## \[(\S+)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heading is not None
    assert heading.groups() == (RELEASE, "unreleased" if STATED.endswith(".dev") else heading[2])
