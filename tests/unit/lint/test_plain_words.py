"""Which docstrings and comments `make lint` refuses."""

from pathlib import Path

import pytest

from tests.lint.plain_words import faults


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('"""Of a row."""\n', ["starts with 'Of'"]),
        ('class Row:\n    why: str\n    """By that clock."""\n', ["starts with 'By'"]),
        ('"""Waits so many\nseconds, but for one."""\n', ["'so many'", "'but for'"]),
        ("x = 1  # is to be sent\n", ["'is to be'"]),
        ('"""By default, none."""\n', []),
        ('"""With `is_all`, all of them."""\n', []),
        ('"""Of mice and men."""  # plain words: a title\n', []),
        ('text = "so many"\n', []),
    ],
)
def test_headless_fragments_and_home_made_idiom_are_refused(source: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, "utf-8")
    found = list(faults(path))
    assert len(found) == len(words)
    assert all(word in fault for word, fault in zip(words, found, strict=True))
