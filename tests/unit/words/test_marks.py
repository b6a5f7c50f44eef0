"""A sentence for people has a mark where it is written, by which `make messages` finds it.

What takes a sentence takes a message, which is a literal, and its values. Types hold the rest: what refuses, warns or
finds takes a `Sentence` otherwise.
"""

import ast
import copy
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from babel.messages.extract import DEFAULT_KEYWORDS

import worker
from tests.unit.words.test_words import KEYWORDS
from worker.cli.app import CommandError
from worker.domain.records.sentences import Fault, Faults, Sentence, from_json, joined, to_json
from worker.words import ENGLISH, Skin
from worker.words.catalogue import translations

WORKER = Path(worker.__file__).parent
CHINESE = Skin(translate=translations("zh").gettext)
# They speak English, or are asked by programs.
APART = ("demo", "simulator")
WORDS = re.compile("[a-z]{2} [a-z]{2}")
# What takes a literal. `text` says at once what may be marked elsewhere.
TAKERS = {
    name: (at or (1,))[0] for name, at in KEYWORDS.items() if name not in ("text", *DEFAULT_KEYWORDS) or name == "_"
}
# `Skin.say` takes a sentence.
NONE_OF_THEM = re.compile(r"\w+\.say|SKIN\.\w+")


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """Each call of the code: what is called, the call, and where it stands."""
    for file in sorted(WORKER.rglob("*.py")):
        if file.relative_to(WORKER).parts[0] not in APART:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    yield name, node, f"{file.relative_to(WORKER.parent)}:{node.lineno}"


def taken() -> Iterator[tuple[ast.expr | None, list[ast.expr], str]]:
    """The message and the values of each call that takes them, and where it stands."""
    for name, node, place in calls():
        of_skin = NONE_OF_THEM.fullmatch(ast.unparse(node.func)) and ast.unparse(node.func) != "act.say"
        if name in TAKERS and not of_skin:
            at = TAKERS[name] - 1
            yield (node.args[at] if len(node.args) > at else None), node.args[at + 1 :], place


def written(node: ast.AST) -> str:
    """The letters that an expression adds by itself."""
    match node:
        case ast.Constant(value=str(said)):
            return said
        case ast.JoinedStr():
            return "7".join(written(part) for part in node.values)
        case ast.IfExp():
            return f"{written(node.body)} {written(node.orelse)}"
        case ast.BinOp():
            return f"{written(node.left)} {written(node.right)}"
    return ""


def test_a_message_is_a_literal() -> None:
    messages = [(message, place) for message, _, place in taken()]
    assert len(messages) > 500
    wrong = [place for one, place in messages if not (isinstance(one, ast.Constant) and isinstance(one.value, str))]
    assert wrong == []


def test_a_message_of_a_sentence_that_is_no_literal_was_marked_where_it_is_written() -> None:
    made = [(node.args[0], place) for name, node, place in calls() if name == "Sentence"]
    assert len(made) > 10
    assert [place for message, place in made if written(message).strip() or isinstance(message, ast.JoinedStr)] == []


def test_a_message_has_as_many_values_as_places() -> None:
    for message, values, place in taken():
        if not any(isinstance(one, ast.Starred) for one in values):
            places = set(re.findall(r"%\((\w+)\)[sr]", written(message) if message else ""))
            assert len(values) == len(places), place


def test_no_value_is_a_sentence_without_a_mark() -> None:
    unmarked = {place: said for _, values, place in taken() for one in values if WORDS.search(said := written(one))}
    assert set(unmarked.values()) == {"appendonly yes"}


def test_a_command_refuses_by_sentences() -> None:
    assert [place for name, _, place in calls() if name == "BadParameter"] == []


def pickled(one: Sentence) -> Sentence:
    read: Sentence = pickle.loads(pickle.dumps(one))  # noqa: S301  # our own bytes
    return read


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_a_sentence_is_copied_and_pickled_with_its_values(again: Callable[[Sentence], Sentence]) -> None:
    one = Sentence("%(what)s: %(reason)s", "100%", Sentence("has more than %(size)s KiB", 9))
    other = again(one)
    assert (other, other.message, other.values) == (one, one.message, one.values)
    assert CHINESE.say(other) == CHINESE.say(one) == "100%：超过 9 KiB"


def test_a_refusal_is_pickled_with_its_sentence() -> None:
    one = CommandError("%(value)s is no time", "%(x)s", status=2)
    other = pickle.loads(pickle.dumps(one))  # noqa: S301  # our own bytes
    assert (str(other), other.sentence.values, other.status) == ("%(x)s is no time", {"value": "%(x)s"}, 2)


def test_a_sentence_takes_a_value_for_each_place() -> None:
    with pytest.raises(ValueError, match="zip"):
        Sentence("%(what)s: %(reason)s", "one")
    assert Sentence("%(path)s, again %(path)s, 100%%", "x") == "x, again x, 100%"


def test_several_sentences_are_lines_or_one() -> None:
    both = [Sentence("100%"), Sentence("is empty")]
    lines = from_json("100%\nis empty", to_json(both))
    assert (lines, ENGLISH.say(lines), CHINESE.say(lines)) == ("100%\nis empty", "100%\nis empty", "100%\n为空")
    assert (joined(both), joined(both[1:])) == ("100% and is empty", "is empty")
    faults = Faults(both)
    assert (str(faults), faults.faults) == ("100%\nis empty", tuple(both))


def test_a_refusal_says_its_sentence() -> None:
    fault = Fault("is longer than %(count)s bytes", 9)
    assert (str(fault), fault.sentence.message) == ("is longer than 9 bytes", "is longer than %(count)s bytes")


def test_the_parts_of_a_sentence_are_those_that_are_sentences() -> None:
    wrong, remedy = Sentence("is empty"), Sentence("chmod 600 %(path)s", "x: y; z")
    assert Sentence("%(what)s: %(reason)s", wrong, remedy).parts == [wrong, remedy]
    assert Sentence("%(what)s: %(reason)s", "x", remedy).parts == [remedy]
    assert remedy.parts == []


def test_each_value_may_be_changed() -> None:
    said = Sentence("%(what)s: %(reason)s", "it", Sentence("is longer than %(count)s bytes", 9)).with_each(
        lambda value: f"<{value}>"
    )
    assert said == "<it>: is longer than <9> bytes"
