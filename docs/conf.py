"""How Sphinx builds the site from README.md and docs/: `make docs`. GitHub shows the same files as they are."""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.search import SearchEnglish

ROOT = Path(__file__).parents[1]
# The address under which the release's files are shown, as for the description on a package index (hatch_build.py).
BASE_URL = os.environ.get("RECONCILER_RELEASE_BASE_URL", "")
TERMS = re.compile(r"(?=([\u4e00-\u9fff]{2}))|([^\W\u4e00-\u9fff]+)")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")

project = "recharge-reconciler"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md"]
# Only to read fewer folders.
exclude_patterns = [".*", "benchmarks", "build", "deploy", "dist", "migrations", "requirements", "tests", "worker"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sourcelink = False


def in_the_other_language(page: str) -> str:
    """A page's name in the other language, whether or not there is such a page."""
    folder, name = posixpath.split(page)
    if folder:
        return f"docs/{name}" if folder == "docs/zh-CN" else f"docs/zh-CN/{name}"
    return name.removesuffix(".zh-CN") if name.endswith(".zh-CN") else f"{name}.zh-CN"


def contents(pages: set[str]) -> str:
    """The site's contents, in the order of docs/README.md: the Chinese pages, then the English ones."""
    parts = {"中文": []}
    for section in (ROOT / "docs/README.md").read_text("utf-8").split("\n## ")[1:]:
        targets = re.findall(r"\]\(([^)#]+)\.md", section)
        parts[section.splitlines()[0]] = [posixpath.normpath(f"docs/{target}") for target in targets]
    listed = ["README", *(page for part in parts.values() for page in part)]
    parts["中文"] = [other for page in listed if (other := in_the_other_language(page)) in pages]
    parts["More"] = ["docs/README", "CHANGELOG", "SECURITY"]
    trees = []
    for caption, names in parts.items():
        trees += ["\n```{toctree}", ":hidden:", f":caption: {caption}", *(f"/{name}" for name in names), "```"]
    return "\n".join(trees)


def adapt(app: Sphinx, page: str, content: list[str]) -> None:
    """Link a page to its other language, and what is no page of the site to the release's files, if at all."""
    pages = app.env.found_docs

    def inside(link: re.Match[str]) -> str:
        text, target, _ = link.groups()
        file = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        if file.removesuffix(".md") in pages:
            return link[0]
        return f"[{text}]({BASE_URL}{file})" if BASE_URL else text

    content[0] = LINK.sub(inside, content[0])
    other = in_the_other_language(page)
    if other in pages and "/" in page:
        name = "English" if page.startswith("docs/zh-CN/") else "中文"
        content[0] = content[0].replace("\n", f"\n\n[{name}](/{other}.md)\n", 1)
    if page == root_doc:
        content[0] += contents(pages)


def name_the_language(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Browsers choose the forms of Chinese characters by the page's language, and readers aloud the voice."""
    if "zh-CN" in page:
        context["language"] = "zh-CN"


class SearchBothLanguages(SearchEnglish):
    """Finds English words, and Chinese ones by each pair of their characters: nothing parts them in a sentence."""

    # The same in the browser, of what a reader types.
    js_splitter_code = r"""
function splitQuery(query) {
    const terms = /(?=([\u4e00-\u9fff]{2}))|((?:(?![\u4e00-\u9fff])[\p{L}\p{N}_])+)/gu;
    return [...query.matchAll(terms)].map(function (found) { return found[1] || found[2]; });
}
"""

    def split(self, input: str) -> list[str]:
        """Take a text apart into terms."""
        return ["".join(found) for found in TERMS.findall(input)]


def setup(app: Sphinx) -> None:
    """Sphinx's name for what it calls first."""
    app.add_search_language(SearchBothLanguages)
    app.add_lexer("csv", TextLexer)
    app.connect("source-read", adapt)
    app.connect("html-page-context", name_the_language)
