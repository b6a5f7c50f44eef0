"""The compiled catalogue of words."""

from pathlib import Path

import pytest

import hatch_build
import worker.words
from worker.words.catalogue import translations

LOCALE = Path(worker.words.__file__).parent / "locale"


def test_the_compiled_words_are_those_of_the_text() -> None:
    assert (LOCALE / "zh.mo").read_bytes() == hatch_build.compiled_words(LOCALE / "zh.po")


def test_words_are_compiled_where_they_are_missing_or_old(tmp_path: Path) -> None:
    folder = tmp_path / "worker" / "words" / "locale"
    folder.mkdir(parents=True)
    for line in ('msgid "1 hour"\nmsgstr "1 小时"\n', 'msgid "1 hour"\nmsgstr "一小时"\n'):
        (folder / "zh.po").write_text(line, "utf-8")
        hatch_build.compile_words(tmp_path)
        assert (folder / "zh.mo").read_bytes() == hatch_build.compiled_words(folder / "zh.po")
        assert sorted(path.name for path in folder.iterdir()) == ["zh.mo", "zh.po"]


def test_a_language_that_is_not_compiled_is_refused() -> None:
    with pytest.raises(FileNotFoundError, match=r"^de\.mo, .* is missing: run `make setup`$"):
        translations("de")
