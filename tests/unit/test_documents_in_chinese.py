"""Each Chinese page says what its English one says: docs/zh-CN/X.md what docs/X.md says, and README.zh-CN.md.

What is equal: levels and order of headings; code, SQL, commands and settings, but for comments; names and numbers in
the first columns of tables; where each link leads. A link or picture is the Chinese one where there is one:
docs/zh-CN/X for docs/X. What may differ: words, comments in code, and what a command prints (`text`).
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.documents import ROOT, anchors, fenced, first_columns, headings, links, name_of, prose
from worker.settings import PREFIX

DOCS = ROOT / "docs"
PAGES = "acting callbacks console finance go-live integration notifications reading-states runbook running walkthrough"
CHINESE = {DOCS / f"{page}.md": DOCS / "zh-CN" / f"{page}.md" for page in PAGES.split()}
CHINESE[ROOT / "README.md"] = ROOT / "README.zh-CN.md"
PAIRS = [pytest.param(*pair, id=name_of(pair[1])) for pair in CHINESE.items()]
COMMENTS = {"sql": r"--", "json": None, "csv": None}


def counterpart(file: Path | str) -> Path | str:
    """The same page or picture in the other language, or the file itself where there is none."""
    if not isinstance(file, Path):
        return file
    others = {**CHINESE, **{chinese: english for english, chinese in CHINESE.items()}}
    drawn = DOCS / "zh-CN" / file.name
    return others.get(file, drawn if file.parent == DOCS and drawn.exists() else file)


def without_comments(language: str, code: str) -> list[str]:
    """The lines of a block without what only a reader reads; the databases that a block of SQL is for are code."""
    start = COMMENTS.get(language, "#")
    first = code.splitlines()[:1] if language == "sql" else []
    if start:
        code = re.sub(rf'(^|\s+)({start} .*|"""[^"\n]+""")$', "", code, flags=re.MULTILINE)
    return first + [line for line in code.splitlines() if line]


def names(cell: str) -> list[str]:
    """What a first cell has that is the same in every language: its code, or all of it where it has no words."""
    return sorted(re.findall(r"`[^`]+`", cell)) or ([] if re.search(r"[^\W\d_]", cell) else [cell])


def words(text: str) -> str:
    """What a person reads as sentences: no code, no addresses, no output; comments of code with them."""
    code = "\n".join(block for language, block in fenced(text) if language != "text")
    comments = re.findall(r'(?:^|\s)(?:#|--) (.*)$|"""([^"\n]+)"""', code, re.MULTILINE)
    sentences = re.sub(r"\]\([^)]+\)|<!--.*?-->", "]", prose(text))
    return re.sub(r"`[^`]+`", "·", "\n\n".join([sentences, *("".join(one) for one in comments)]))


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_headings_have_the_same_levels_in_the_same_order(english: Path, chinese: Path) -> None:
    levels = [[level for level, _ in headings(page.read_text("utf-8"))] for page in (english, chinese)]
    assert levels[1] == levels[0]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_code_is_the_same_but_for_its_comments(english: Path, chinese: Path) -> None:
    blocks = [
        [(language, without_comments(language, code) if language != "text" else []) for language, code in fenced(text)]
        for text in (english.read_text("utf-8"), chinese.read_text("utf-8"))
    ]
    assert blocks[1] == blocks[0]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_same_settings_are_named(english: Path, chinese: Path) -> None:
    named = [set(re.findall(rf"{PREFIX}[A-Z_]+", page.read_text("utf-8"))) for page in (english, chinese)]
    assert named[1] == named[0]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_first_columns_of_tables_have_the_same_names(english: Path, chinese: Path) -> None:
    columns = [
        [[names(cell) for cell in column] for column in first_columns(page.read_text("utf-8"))]
        for page in (english, chinese)
    ]
    assert columns[1] == columns[0]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_each_link_leads_to_the_same_place_in_chinese_where_there_is_one(english: Path, chinese: Path) -> None:
    expected: Counter[tuple[str, str]] = Counter()
    for file, anchor in links(english):
        other = Path(counterpart(file))
        # The headings of both pages have the same order.
        there = dict(zip(anchors(Path(file)), anchors(other), strict=False)) if anchor else {}
        expected[str(other), there.get(anchor, "")] += 1
    # The order of the words differs between languages, and that of the links with it.
    found = Counter((str(Path(file)), anchor) for file, anchor in links(chinese))
    assert {"to add": expected - found, "to remove": found - expected} == {"to add": Counter(), "to remove": Counter()}


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_there_is_no_english_sentence(english: Path, chinese: Path) -> None:
    assert re.findall(r"[A-Za-z]+(?:,?[ \n][A-Za-z][A-Za-z'-]*){3,}", words(chinese.read_text("utf-8"))) == []


def test_both_readmes_link_each_other_in_their_first_line() -> None:
    for readme, other in (("README.md", "README.zh-CN.md"), ("README.zh-CN.md", "README.md")):
        assert f"]({other})" in (ROOT / readme).read_text("utf-8").splitlines()[0]


@pytest.mark.parametrize("drawing", [path for path in DOCS.glob("*.svg") if counterpart(path) != path], ids=name_of)
def test_a_drawing_differs_in_its_words_only(drawing: Path) -> None:
    drawn = [re.sub(r">[^<]+<", "><", path.read_text("utf-8")) for path in (drawing, DOCS / "zh-CN" / drawing.name)]
    assert drawn[1] == drawn[0]
