"""Every stable name that a page may show has words, and every reason says what to do."""

import ast
import inspect
from collections.abc import Iterator
from enum import Enum
from types import ModuleType

import pytest

from worker.domain.notifications import endpoint_watch
from worker.domain.records.orders import Attention, OrderState
from worker.domain.records.queries import OUTCOMES
from worker.domain.watching import monitoring
from worker.domain.watching.next_step import Wait
from worker.domain.watching.todo import TODO
from worker.web.console.guidance import GUIDANCE
from worker.web.console.orders import STATES, WAITS
from worker.web.console.words import FINDINGS, QUERY_OUTCOMES, WORDS


@pytest.mark.parametrize("kind", WORDS, ids=lambda kind: kind.__name__)
def test_every_member_has_words(kind: type[Enum]) -> None:
    assert WORDS[kind].keys() == set(kind)


def test_every_outcome_of_a_query_has_words() -> None:
    assert QUERY_OUTCOMES.keys() == set(OUTCOMES)


def test_every_reason_says_what_it_means_and_what_to_do() -> None:
    assert GUIDANCE.keys() == TODO.keys()
    assert Attention.TOO_OLD in GUIDANCE
    commands = [reason for reason, one in GUIDANCE.items() if "`" in one.means + one.do or "reconciler" in one.do]
    assert commands == []


def test_every_state_and_every_wait_is_a_sentence() -> None:
    assert STATES.keys() == set(OrderState)
    assert WAITS.keys() == set(Wait)
    assert all(sentence.endswith(".") for sentence in [*STATES.values(), *WAITS.values()])


def test_every_finding_has_words() -> None:
    assert set(FINDINGS) == {*_names_of(monitoring), *_names_of(endpoint_watch)}


def _names_of(module: ModuleType) -> Iterator[str]:
    """The names of findings in a module: `found["name"]`, `name="name"`, that of a `Trouble`, and the second of three
    that are yielded."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        match node:
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id="found"), slice=ast.Constant(value=str(name)))]):
                yield name
            case ast.keyword(arg="name", value=ast.Constant(value=str(name))):
                yield name
            case ast.Call(func=ast.Name(id="Trouble"), args=[ast.Constant(value=str(name)), *_]):
                yield name
            case ast.Yield(value=ast.Tuple(elts=[_, ast.Constant(value=str(name)), _])):
                yield name
