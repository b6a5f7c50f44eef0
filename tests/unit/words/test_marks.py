"""A sentence for people has a mark where it is written, by which `make messages` finds it.

Types hold most of it: whatever refuses, warns or finds takes a `Sentence`. This holds what types cannot see: that its
message is a literal or was marked, and that what it is told as a value is no sentence without a mark.
"""

import ast
import copy
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import worker
from worker.cli.app import CommandError
from worker.domain.records.sentences import Fault, Sentence, about, lines_of, parted, quoted, then
from worker.words import ENGLISH, Skin
from worker.words.languages import translations

WORKER = Path(worker.__file__).parent
CHINESE = Skin(translate=translations("zh").gettext)
# They speak English, or are asked by programs.
APART = ("demo", "simulator")
WORDS = re.compile("[a-z]{2} [a-z]{2}")
MADE = "worker/domain/records/sentences.py"


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """Each call of the code: what is called, the call, and where it stands."""
    for file in sorted(WORKER.rglob("*.py")):
        if file.relative_to(WORKER).parts[0] not in APART:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    yield name, node, f"{file.relative_to(WORKER.parent)}:{node.lineno}"


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


def test_the_message_of_a_sentence_is_a_literal_or_was_marked() -> None:
    made = [(node.args[0], place) for name, node, place in calls() if name == "Sentence" and node.args]
    assert len(made) > 300
    named = (ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.IfExp)
    # What an operating system says, and what a finding is called: marked where they are listed.
    made = [one for one in made if "text_files.py" not in one[1] and "words/sentences.py" not in one[1]]
    wrong = [place for message, place in made if not isinstance(message, named) and not place.startswith(MADE)]
    assert wrong == []


def message_of(node: ast.Call, marked: dict[str, str]) -> str | None:
    """The message of a sentence; None if it is not written in its function."""
    match node.args[0]:
        case ast.Constant(value=str(message)):
            return message
        case ast.Name(id=name):
            return marked.get(name)
    return None


def test_a_sentence_has_as_many_values_as_places() -> None:
    checked = 0
    for file in sorted(WORKER.rglob("*.py")):
        marked: dict[str, str] = {}
        nodes = (
            node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Assign | ast.Call)
        )
        for node in sorted(nodes, key=lambda one: (one.lineno, one.col_offset)):
            if isinstance(node, ast.Assign):
                if isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call) and node.value.args:
                    marked[node.targets[0].id] = written(node.value.args[0])
            elif getattr(node.func, "id", "") == "Sentence" and (message := message_of(node, marked)):
                places = set(re.findall(r"%\((\w+)\)s", message))
                has_any = any(isinstance(one, ast.Starred) for one in node.args)
                assert len(node.args) == 1 + len(places) or has_any, f"{file}:{node.lineno}"
                checked += 1
    assert checked > 300


def test_no_value_and_no_refusal_is_a_sentence_without_a_mark() -> None:
    unmarked = {
        place: said
        for name, node, place in calls()
        for at, argument in enumerate(node.args)
        if (name == "Sentence" and at) or name in ("quoted", "about", "accepting")
        if WORDS.search(said := written(argument))
    }
    assert {place: said for place, said in unmarked.items() if said != "appendonly yes"} == {}


def test_a_command_refuses_by_sentences() -> None:
    assert [place for name, _, place in calls() if name == "BadParameter"] == []


def pickled(one: Sentence) -> Sentence:
    read: Sentence = pickle.loads(pickle.dumps(one))  # noqa: S301  # our own bytes
    return read


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_a_sentence_is_copied_and_pickled_with_its_values(again: Callable[[Sentence], Sentence]) -> None:
    one = about("100%", Sentence("is longer than %(count)s bytes", 9))
    other = again(one)
    assert (other, other.message, other.values) == (one, one.message, one.values)
    assert CHINESE.say(other) == CHINESE.say(one) == "100%：超过 9 字节"
    assert pickle.loads(pickle.dumps(CommandError(one, status=2))).sentence == one  # noqa: S301  # our own bytes


def test_a_sentence_takes_a_value_for_each_place() -> None:
    with pytest.raises(ValueError, match="zip"):
        Sentence("%(what)s: %(reason)s", "one")
    assert Sentence("%(path)s, again %(path)s, 100%%", "x") == "x, again x, 100%"


def test_several_sentences_are_lines() -> None:
    both = lines_of([quoted("100%"), Sentence("is empty")])
    assert (both, ENGLISH.say(both), CHINESE.say(both)) == ("100%\nis empty", "100%\nis empty", "100%\n为空")
    fault = Fault(Sentence("is empty"), Sentence("has no valid host"))
    assert (str(fault), fault.sentence) == ("is empty\nhas no valid host", "is empty")


def test_a_sentence_is_parted_into_what_is_wrong_and_what_to_do() -> None:
    wrong, remedy = Sentence("is empty"), Sentence("chmod 600 %(path)s", "x: y; z")
    assert parted(about(wrong, remedy)) == parted(then(wrong, remedy)) == (wrong, remedy)
    assert parted(about("x", remedy)) is None
    assert parted(remedy) is None


def test_each_value_may_be_changed() -> None:
    said = about("it", Sentence("is longer than %(count)s bytes", 9)).with_each(lambda value: f"<{value}>")
    assert said == "<it>: is longer than <9> bytes"
