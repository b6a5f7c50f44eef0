"""What the documents say exists."""

import re
from pathlib import Path

import pytest

import worker
from worker.database.error_kinds import ErrorKind
from worker.domain.records.orders import Attention, OrderState
from worker.settings import PREFIX, Settings

ROOT = Path(worker.__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def section(title: str) -> str:
    """The README's text below a heading, up to the next one of any level."""
    return re.split(r"^#+ ", README.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def anchors(document: Path) -> set[str]:
    """The names by which the headings of a document can be linked to."""
    headings = re.findall(r"^#+ (.*)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_setting_that_is_named_exists(document: Path) -> None:
    # Those of the tests and benchmarks name servers, and are no settings of the worker.
    named = set(re.findall(rf"{PREFIX}(?!TEST_|BENCH_)[A-Z_]+", document.read_text("utf-8")))
    assert named <= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def test_the_readme_lists_every_action_of_the_log() -> None:
    code = [path.read_text("utf-8") for path in (ROOT / "worker").rglob("*.py")]
    used = {action for text in code for action in re.findall(r'\baction="(\w+)"', text)}
    used |= {kind.action for kind in ErrorKind}
    rows = re.findall(r"^\| (`.*?) \|", section("Logs"), re.MULTILINE)
    assert {action for row in rows for action in re.findall(r"`(\w+)`", row)} - {"action"} == used


def test_the_readme_explains_every_state_and_every_reason() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", section("What each state means"), re.MULTILINE)
    assert set(explained) - {"state", "attention"} == {*OrderState, *Attention}
