"""What Typer finds wrong with a command line. Its errors do not hold the values of their texts: the texts are read."""

import re
from typing import Any

from worker.adapters.safe_text import one_line
from worker.domain.records.sentences import Sentence, _
from worker.words.catalogue import TYPER_MESSAGES

# Typer checks options by pydantic, which begins a choice's message with this.
_PREFIX = re.compile(r"\b(?:Value error|Assertion failed), ")
_READERS = {message: re.compile(re.sub(r"%\\\(\w+\\\)s", "(.+?)", re.escape(message))) for message in TYPER_MESSAGES}


def usage_fault(error: Any) -> Sentence:
    """What is wrong with the arguments of a command line; a text that is not known stays as it is."""
    return _read(_PREFIX.sub("", one_line(error.format_message())).rstrip("."), error.message)


def _read(text: str, own: object) -> Sentence:
    """`own` may be a sentence of ours, which such a text ends with."""
    if isinstance(own, Sentence) and one_line(own) == text:
        return own
    for message, reader in _READERS.items():
        if found := reader.fullmatch(text):
            return Sentence(message, *(_read(one, own) for one in found.groups()))
    return _("%(text)s", text)
