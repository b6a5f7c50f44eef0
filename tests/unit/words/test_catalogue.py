"""Every message that people read is in the Chinese catalogue, and nothing else is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po

import worker.words

WORDS = Path(worker.words.__file__).parent
ROOTS = (WORDS, WORDS.parent / "web", WORDS.parent / "domain" / "records")
METHODS = [("**.py", "python"), ("**.html", "jinja2")]
KEYWORDS = {**DEFAULT_KEYWORDS, "N_": None, "text": None}
PLACE = re.compile(r"%(?:\(\w+\))?[a-z%]")


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with (WORDS / "locale" / "zh.po").open("rb") as source:
        return read_po(source, locale="zh")


@pytest.fixture(scope="module")
def used() -> set[str]:
    found = [one for root in ROOTS for one in extract_from_dir(root, METHODS, keywords=KEYWORDS)]
    return {message if isinstance(message, str) else message[0] for _, _, message, _, _ in found}


def translations(catalogue: Catalog) -> Iterator[tuple[str, str]]:
    return ((str(message.id), str(message.string)) for message in catalogue if message.id)


def test_every_message_is_translated_and_nothing_is_left_over(catalogue: Catalog, used: set[str]) -> None:
    assert {english for english, chinese in translations(catalogue) if chinese} == used


def test_no_message_is_uncertain_or_obsolete(catalogue: Catalog) -> None:
    assert [message.id for message in catalogue if message.id and message.fuzzy] == []
    assert list(catalogue.obsolete) == []


def test_a_translation_has_the_places_of_its_message(catalogue: Catalog) -> None:
    differing = [one for one in translations(catalogue) if set(PLACE.findall(one[0])) != set(PLACE.findall(one[1]))]
    assert differing == []
