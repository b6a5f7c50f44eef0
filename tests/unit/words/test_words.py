"""Everything that a page or a command may show has its words, and each message its Chinese."""

import re
import tomllib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_keywords
from babel.messages.pofile import read_po

import worker.words
from worker.domain.monitoring.next_step import Wait
from worker.domain.monitoring.todo import TodoKind
from worker.domain.records.monitoring import FindingKind
from worker.domain.records.orders import Attention, OrderState
from worker.domain.records.queries import OUTCOMES
from worker.words import ENGLISH, Skin
from worker.words.catalogue import COMMAND_LINE, ENTRIES, FINDINGS, PAGES, QUERY_OUTCOMES, means, message, remedy

WORDS = Path(worker.words.__file__).parent
with (WORDS.parents[1] / "pyproject.toml").open("rb") as _project:
    MAPPINGS = tomllib.load(_project)["tool"]["babel"]["mappings"]
METHODS = [(one["pattern"], one["method"]) for one in MAPPINGS]
KEYWORDS = {**DEFAULT_KEYWORDS, **parse_keywords(word for one in MAPPINGS for word in one.get("keywords", ()))}
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,:;()]|[,:;()][\u4e00-\u9fff]")
# What had several words, and has one: a pattern of each other word.
REPLACED = re.compile(
    "账户|(?<!接口)账号|工作进程|操作人|应答|返回(?!$|，不做更改|后重试|原页面|列表)|额度|拒收数据|实际扣款|异常订单|最久待查询|已送达|已放弃"
    "|重发$|得出结果|后续结果|筛选|可以做什么|查询周期|60 分钟"
)
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
    found = extract_from_dir(WORDS.parent, METHODS, keywords=KEYWORDS)
    used = {said if isinstance(said, str) else said[0] for _, _, said, _, _ in found}
    assert {english for english, translated in translations(chinese) if translated} == used


# What Chinese writes in the same way, but for case and marks.
ALIKE = {
    *("Account SID", "account SID", "auth tokens", "chmod 600 %(path)s"),
    *("%(first)s and %(second)s", "%(orders)s are %(what)s."),
}


def test_no_message_stays_english(chinese: Catalog) -> None:
    same = {
        english
        for english, shown in translations(chinese)
        if re.search("[a-z]{3}", PLACE.sub("", english)) and not re.search("[\u4e00-\u9fff]", shown)
    }
    assert same == ALIKE


def test_no_message_is_uncertain_or_obsolete(chinese: Catalog) -> None:
    assert [one.id for one in chinese if one.id and one.fuzzy] == []
    assert list(chinese.obsolete) == []


def test_chinese_has_no_mark_of_half_width(chinese: Catalog) -> None:
    assert [shown for _, shown in translations(chinese) if HALF_WIDTH.search(PLACE.sub("值", shown))] == []


def test_one_thing_has_one_word_in_chinese(chinese: Catalog) -> None:
    assert [shown for _, shown in translations(chinese) if REPLACED.search(shown)] == []


@pytest.mark.parametrize(
    ("seconds", "english"),
    [
        *((-1, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (120, "2 minutes"), (3569, "59 minutes")),
        *((3570, "1 hour"), (5400, "1.5 hours"), (86_400, "24 hours"), (172_800, "2 days")),
    ],
)
def test_a_duration_is_said_in_the_unit_that_a_person_would_take(seconds: float, english: str) -> None:
    assert ENGLISH.duration(seconds) == english


def test_a_translation_has_the_places_of_its_message(chinese: Catalog) -> None:
    differing = [one for one in translations(chinese) if set(PLACE.findall(one[0])) != set(PLACE.findall(one[1]))]
    assert differing == []
