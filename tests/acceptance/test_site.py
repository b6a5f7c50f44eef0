"""The site that `make docs` has built: each document is a page, each link leads somewhere, all of it is local."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.browser import Browser, chromium, close_browsers
from tests.support.documents import DOCUMENTS, ROOT, name_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.site
SITE = ROOT / "build" / "site"
FOUND = "return [...document.querySelectorAll('#search-results li a')].map(link => link.getAttribute('href'))"
CHINESE_WORDS = {
    "丢失": "integration",
    "对账": "finance",
    "退款": "reading-states",
    "暂停": "acting",
    "差异": "finance",
    "时区": "running",
    "密码": "console",
    "升级": "running",
    "待办事项": "console",
    "最终状态": "reading-states",
}
"""Words that people search for, and a page that has each. Two characters are the hardest: none is a term of its own."""
ADDRESSES = {"action", "data", "href", "poster", "src", "srcset"}


class Page(HTMLParser):
    """What an HTML file can be linked at, where it leads, and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors = {""}
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """The parser's name for what it calls at each tag."""
        for name, value in attrs:
            if value and name == "id":
                self.anchors.add(value)
            elif value and name in ADDRESSES:
                (self.links if tag == "a" else self.loaded).append(value)


@cache
def pages() -> Mapping[Path, Page]:
    """Each page of the site, by its file."""
    return {file: Page(file) for file in SITE.rglob("*.html")}


def test_every_document_is_a_page_and_the_first_one_is_the_readme() -> None:
    assert {SITE / document.relative_to(ROOT).with_suffix(".html") for document in DOCUMENTS} <= pages().keys()
    assert (SITE / "index.html").read_bytes() == (SITE / "README.html").read_bytes()


def test_each_link_and_anchor_within_the_site_leads_somewhere() -> None:
    for file, page in pages().items():
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.is_file(), (file, link)
            assert target not in pages() or unquote(parts.fragment) in pages()[target].anchors, (file, link)


def test_nothing_is_loaded_from_elsewhere() -> None:
    styles = "".join(file.read_text("utf-8") for file in SITE.rglob("*.css"))
    loaded = [address for page in pages().values() for address in page.loaded]
    loaded += re.findall(r"""(?:url\(|@import)\s*["']?([^"')]+)""", styles)
    assert "_static/styles/furo.css" in {address.partition("?")[0] for address in loaded}
    assert [address for address in loaded if re.match(r"(\w+:)?//", address)] == []


def test_each_page_names_its_language() -> None:
    for file in pages():
        language = "zh-CN" if "zh-CN" in str(file.relative_to(SITE)) else "en"
        assert f' lang="{language}"' in file.read_text("utf-8")


def test_the_search_knows_english_words() -> None:
    index = json.loads((SITE / "searchindex.js").read_text("utf-8").removeprefix("Search.setIndex(").removesuffix(")"))
    assert "backoff" in index["terms"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(SITE.as_uri()) as opened:
        yield opened
    close_browsers()


@pytest.mark.parametrize(("word", "page"), CHINESE_WORDS.items(), ids=lambda one: str(one))
def test_the_search_finds_a_chinese_word_on_each_page_that_has_it(browser: Browser, word: str, page: str) -> None:
    there = {name_of(document) for document in DOCUMENTS if word in shown(document.read_text("utf-8"))}
    assert f"docs/zh-CN/{page}.md" in there
    browser.open(f"/search.html?q={word}")
    eventually(lambda: browser.text_of(".search-summary"), "the end of the search")
    found = {link.partition("#")[0].replace(".html", ".md") for link in browser.script(FOUND)}
    assert found == there


def shown(markdown: str) -> str:
    """The text without what a reader of the page does not see."""
    return re.sub(r"\]\([^)]*\)|<!--.*?-->", "", markdown, flags=re.DOTALL)
