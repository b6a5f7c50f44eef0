"""Everything that a page or a command may show has its words, and each message its Chinese."""

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po

import worker.words
from worker.domain.records.attention import Attention
from worker.domain.records.monitoring_findings import FindingKind
from worker.domain.records.orders import OrderState
from worker.domain.records.queries import OUTCOMES
from worker.domain.watching.next_step import Wait
from worker.domain.watching.todo import TodoKind
from worker.words import ENGLISH, Skin
from worker.words.catalogue import COMMAND_LINE, ENTRIES, FINDINGS, PAGES, QUERY_OUTCOMES, means, message, remedy

WORDS = Path(worker.words.__file__).parent
ROOTS = (WORDS, WORDS.parent / "web", WORDS.parent / "domain" / "records")
METHODS = [("**.py", "python"), ("**.toml", "worker.words.extraction:extract"), ("**.html", "jinja2")]
KEYWORDS = {**DEFAULT_KEYWORDS, "N_": None, "text": None}
PLACE = re.compile(r"%(?:\(\w+\))?[a-z%]")


@pytest.mark.parametrize("kind", ENTRIES, ids=lambda kind: kind.__name__)
def test_every_member_has_words(kind: type[Enum]) -> None:
    assert ENTRIES[kind].keys() == set(kind)


def test_every_outcome_and_every_finding_has_words() -> None:
    assert QUERY_OUTCOMES.keys() == set(OUTCOMES)
    assert FINDINGS.keys() == {kind.stable_name for kind in FindingKind}
    assert all(entry.do.endswith((".", "?")) for entry in FINDINGS.values())


@pytest.mark.parametrize("reason", [*Attention, *TodoKind])
def test_every_reason_says_what_it_means_and_what_to_do_by_commands_or_on_pages(reason: Enum) -> None:
    console = Skin(translate=ENGLISH.translate, remedies=PAGES)
    for say in (means, remedy):
        assert say(reason, COMMAND_LINE).endswith(".")
        assert not {"`", "%"} & set(say(reason, console))


def test_every_state_and_every_wait_is_a_sentence() -> None:
    states = [means(state, ENGLISH) for state in OrderState]
    assert all(sentence.endswith(".") for sentence in [*states, *map(message, Wait)])


@pytest.fixture(scope="module")
def chinese() -> Catalog:
    with (WORDS / "locale" / "zh.po").open("rb") as source:
        return read_po(source, locale="zh")


def translations(catalogue: Catalog) -> Iterator[tuple[str, str]]:
    return ((str(one.id), str(one.string)) for one in catalogue if one.id)


def test_every_message_is_translated_and_nothing_is_left_over(chinese: Catalog) -> None:
    found = [one for root in ROOTS for one in extract_from_dir(root, METHODS, keywords=KEYWORDS)]
    used = {said if isinstance(said, str) else said[0] for _, _, said, _, _ in found}
    assert {english for english, translated in translations(chinese) if translated} == used


def test_no_message_is_uncertain_or_obsolete(chinese: Catalog) -> None:
    assert [one.id for one in chinese if one.id and one.fuzzy] == []
    assert list(chinese.obsolete) == []


def test_a_translation_has_the_places_of_its_message(chinese: Catalog) -> None:
    differing = [one for one in translations(chinese) if set(PLACE.findall(one[0])) != set(PLACE.findall(one[1]))]
    assert differing == []
