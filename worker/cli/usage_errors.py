"""What Typer and Click find wrong with a command line, in sentences of ours.

They do not say which values an error's text has. So each sentence that an error may be is made from the command line,
and the one that reads like the error's text is it. Any other text stays as it is.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from worker.adapters.safe_text import one_line
from worker.adapters.text_files import os_words
from worker.domain.records.sentences import N_, Sentence, about, quoted

# Typer checks options by pydantic, which begins a choice's message with this.
_PREFIX = re.compile(r"\b(?:Value error|Assertion failed), ")

_MOST_TRIED = 20

# What pydantic says, by its name for a fault; and which value its text has.
_CHOICE = N_("%(value)s is not one of %(words)s")
_CHECKS = {
    "greater_than_equal": (N_("Input should be greater than or equal to %(least)s"), "ge"),
    "less_than_equal": (N_("Input should be less than or equal to %(most)s"), "le"),
    "int_parsing": (N_("Input should be a valid integer, unable to parse string as an integer"), ""),
    "float_parsing": (N_("Input should be a valid number, unable to parse string as a number"), ""),
}


def usage_fault(error: Any, arguments: Sequence[str]) -> Sentence:
    """What is wrong with the arguments of a command line."""
    said = _PREFIX.sub("", one_line(error.format_message())).rstrip(".")
    parameter = getattr(error, "param", None)
    may_be = _of_parameter(error, parameter) if parameter else _of_arguments(error, arguments, said)
    return next((one for one in may_be if one_line(one) == said), quoted(said))


def _of_arguments(error: Any, arguments: Sequence[str], said: str) -> Iterator[Sentence]:
    option = getattr(error, "option_name", "")
    others = ", ".join(sorted(getattr(error, "possibilities", None) or ()))
    yield Sentence("No such option: %(name)s", option)
    yield Sentence("No such option: %(name)s (Possible options: %(others)s)", option, others)
    yield Sentence("Option '%(name)s' requires an argument", option)
    yield Sentence("Option '%(name)s' does not take a value", option)
    if isinstance(error.message, Sentence):
        yield Sentence("Invalid value: %(why)s", error.message)
    commands = getattr(getattr(getattr(error, "ctx", None), "command", None), "commands", {})
    # A command line may have thousands of arguments.
    for at, name in [(at, name) for at, name in enumerate(arguments) if name in said][:_MOST_TRIED]:
        yield Sentence("Got unexpected extra argument(s) (%(words)s)", " ".join(arguments[at:]))
        yield Sentence("No such command '%(name)s'", name)
        others = "', '".join(get_close_matches(name, commands))
        yield Sentence("No such command '%(name)s'. Did you mean '%(other)s'?", name, others)


def _of_parameter(error: Any, parameter: Any) -> Iterator[Sentence]:
    # Not by a method of the parameter: its form changes from one release of Typer to the next.
    kind = getattr(parameter, "type_descriptor", None) or getattr(parameter, "type", None)
    choices = getattr(kind, "choices", None) or ()
    words = [str(getattr(one, "value", one)) for one in choices]
    for name in ("' / '".join(parameter.opts), parameter.metavar or str(parameter.name).upper()):
        yield Sentence("Missing argument '%(name)s'", name)
        yield Sentence("Missing option '%(name)s'", name)
        yield Sentence("Missing option '%(name)s'. Choose from: %(words)s", name, ", ".join(words))
        if isinstance(error.message, Sentence):
            yield Sentence("Invalid value for '%(name)s': %(why)s", name, error.message)
        for why in _of_value(error.__cause__ or error.__context__, words):
            yield Sentence("Invalid value for '%(name)s': %(why)s", name, why)


def _of_value(cause: Any, words: Sequence[str]) -> Iterator[Sentence]:
    if isinstance(cause, OSError):
        yield about(repr(cause.filename), os_words(cause))
    elif isinstance(cause, ValidationError):
        found = cause.errors()[0]
        message, name = _CHECKS.get(found["type"], (_CHOICE, ""))
        values: tuple[object, ...] = (found["ctx"][name],) if name else ()
        if message is _CHOICE:
            values = (repr(found["input"]), ", ".join(map(repr, words)))
        yield Sentence(message, *values)
