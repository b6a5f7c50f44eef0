"""Everything that a page or a command may show has its words."""

from enum import Enum

import pytest

from worker.domain.records.findings import FindingKind
from worker.domain.records.orders import Attention, OrderState
from worker.domain.records.queries import OUTCOMES
from worker.domain.watching.next_step import Wait
from worker.domain.watching.todo import TodoKind
from worker.words import ENGLISH, Skin
from worker.words.catalogue import ENTRIES, means, remedy
from worker.words.findings import CLAUSES, FINDINGS
from worker.words.names import QUERY_OUTCOMES
from worker.words.next_step import WAITS
from worker.words.remedies import COMMAND_LINE, PAGES


@pytest.mark.parametrize("kind", ENTRIES, ids=lambda kind: kind.__name__)
def test_every_member_has_words(kind: type[Enum]) -> None:
    assert ENTRIES[kind].keys() == set(kind)


@pytest.mark.parametrize("reason", [*Attention, *TodoKind])
def test_every_reason_says_what_it_means_and_what_to_do_by_commands_or_on_pages(reason: Enum) -> None:
    console = Skin(translate=ENGLISH.translate, remedies=PAGES)
    for say in (means, remedy):
        assert say(reason, COMMAND_LINE).endswith(".")
        assert not {"`", "%"} & set(say(reason, console))


def test_every_outcome_of_a_query_has_words() -> None:
    assert QUERY_OUTCOMES.keys() == set(OUTCOMES)


def test_every_state_and_every_wait_is_a_sentence() -> None:
    assert WAITS.keys() == set(Wait)
    states = [means(state, ENGLISH) for state in OrderState]
    assert all(sentence.endswith(".") for sentence in [*states, *WAITS.values()])


def test_every_finding_has_a_name_a_clause_and_what_follows() -> None:
    assert CLAUSES.keys() == set(FindingKind)
    assert FINDINGS.keys() == {kind.stable_name for kind in FindingKind}
    assert all(entry.do.endswith((".", "?")) for entry in FINDINGS.values())
