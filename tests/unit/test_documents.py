"""Whatever the documents name exists."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT, anchors, links, name_of
from tests.support.logged_actions import logged_actions
from worker.domain.queries.explain_reply import Assumption
from worker.domain.records.orders import Attention, OrderState
from worker.settings import PREFIX, VARIABLES


def section(page: str, title: str) -> str:
    """The text of a page of docs/ below a heading, up to the next one of any level."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    return re.split(r"^#+ ", text.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    for file, anchor in links(document):
        if isinstance(file, Path):
            assert file.exists(), file
            assert not anchor or anchor in anchors(file), (file, anchor)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_setting_that_is_named_exists(document: Path) -> None:
    # Those of the tests and benchmarks name servers, and are no settings of the worker.
    named = set(re.findall(rf"{PREFIX}(?!TEST_|BENCH_)[A-Z_]+", document.read_text("utf-8")))
    assert named <= set(VARIABLES)


def test_the_documents_list_every_action_of_the_log() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("logs.md", "Logs"), re.MULTILINE)
    assert {action for row in rows for action in re.findall(r"`(\w+)`", row)} - {"action"} == logged_actions()


def test_the_documents_explain_every_state_and_every_reason() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", section("reading-states.md", "What each state means"), re.MULTILINE)
    assert set(explained) - {"state", "attention"} == {*OrderState, *Attention}


def test_the_documents_number_every_assumption_as_the_code_does() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)`: ", section("platform.md", "The assumptions, by number"), re.MULTILINE)
    assert rows == [(str(int(one)), one.name.lower()) for one in Assumption]


def test_the_glossary_names_what_is_in_the_files() -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| (`[^|]+`) \| [^|]+ \| (\[[^|]+) \|$",
        (ROOT / "docs" / "glossary.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert len(rows) > 80
    for word, names, files in rows:
        code = "".join((ROOT / path).read_text("utf-8") for path in re.findall(r"\[([^\]]+)\]", files))
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", code), f"{word}: no {name} in {files}"


def test_a_release_that_removes_something_is_a_major_one() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    parts = re.findall(r"^## \[(\S+)\].*\n((?:(?!## ).*\n)*)", changes, re.MULTILINE)
    for (number, text), (before, _) in pairwise(parts):
        assert "### Removed" not in text or number == f"{int(before.partition('.')[0]) + 1}.0.0"
