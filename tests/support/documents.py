"""The documents' Markdown: headings with their anchors, fenced blocks, tables, links."""

import re
from pathlib import Path

import worker

ROOT = Path(worker.__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def name_of(document: Path) -> str:
    """A document's path in the project, for the name of its test."""
    return document.relative_to(ROOT).as_posix()


def fenced(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block, from the top."""
    return _FENCED.findall(text)


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCED.sub("", text)


def headings(text: str) -> list[tuple[int, str]]:
    """Level and words of each heading, from the top."""
    return [(len(marks), words) for marks, words in re.findall(r"^(#+) (.*)$", prose(text), re.MULTILINE)]


def anchors(document: Path) -> list[str]:
    """The names by which the headings of a document can be linked to, as GitHub makes them, from the top."""
    lowered = (words.lower() for _, words in headings(document.read_text("utf-8")))
    return [re.sub(r"[^\w -]", "", words).replace(" ", "-") for words in lowered]


def first_columns(text: str) -> list[list[str]]:
    """The first cells of each table, from the top, with those of its head."""
    tables = re.findall(r"(?:^\|.*\n?)+", prose(text), re.MULTILINE)
    return [re.findall(r"^\| (.*?) (?<!\\)\|", table, re.MULTILINE) for table in tables]


def links(document: Path) -> list[tuple[Path | str, str]]:
    """File and anchor of each link, from the top; the address itself where it leads out of the project."""
    found = []
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        inside = (document.parent / path).resolve() if path else document
        found.append((target, "") if target.startswith("https://") else (inside, anchor))
    return found
