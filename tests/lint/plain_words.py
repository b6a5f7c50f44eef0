"""Refuse docstrings and comments that a reader has to read twice: headless fragments and home-made idiom.

`python -m tests.lint.plain_words FOLDER...` prints each such place, and exits with 1 if there is one. An exception has
its reason at the end of the docstring's or comment's last line: `# plain words: REASON`.
"""

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

_HEADLESS = re.compile(r"(?:Of|By(?! default\b)|Not|Those|That|With(?! `))\b")
_IDIOMS = {
    "so many": "this many, up to N",
    "but for": "except",
    "save for": "except",
    "besides": "in addition to",
    "from where to where": "start and end",
    "to be had": "available",
    "told of": "known about",
    "goes on": "continues",
    "is to be": "will be, must be",
    "are to be": "will be, must be",
}
_IDIOM = re.compile(rf"\b(?:{'|'.join(_IDIOMS)})\b", re.IGNORECASE)
_EXCEPTION = "# plain words: "


def faults(path: Path) -> Iterator[str]:
    """What is wrong with the words of a file, each as `PATH:LINE: what is wrong`."""
    source = path.read_text("utf-8")
    lines = source.splitlines()
    for line, end, words in sorted([*_docstrings(source), *_comments(path)]):
        if _EXCEPTION in lines[end - 1]:
            continue
        if not words.startswith("#") and (found := _HEADLESS.match(words)):
            yield f"{path}:{line}: starts with {found[0]!r}: start with the noun or the verb"
        for idiom in _IDIOM.findall(re.sub("`[^`]*`", "", words)):
            yield f"{path}:{line}: {idiom!r}: write {_IDIOMS[idiom.lower()]!r}"


def _docstrings(source: str) -> Iterator[tuple[int, int, str]]:
    """The first and the last line and the text of each docstring, those of attributes included."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str() as words)):
                yield node.lineno, node.end_lineno or node.lineno, " ".join(words.split())


def _comments(path: Path) -> Iterator[tuple[int, int, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.end[0], token.string


def main(folders: list[str]) -> int:
    """Print all faults of the Python files below these folders; returns the exit status."""
    found = [fault for folder in folders for path in sorted(Path(folder).rglob("*.py")) for fault in faults(path)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
