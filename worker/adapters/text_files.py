"""Reading a file that a person wrote, of a bounded length. What is wrong is a `Fault` of the path."""

import re
import tomllib
from pathlib import Path
from typing import Any

from worker.domain.records.sentences import N_, Fault, Sentence

# What operating systems say; catalogues translate it.
_OF_SYSTEM = (N_("No such file or directory"), N_("Permission denied"), N_("Is a directory"))


def read_text(path: Path, most_bytes: int) -> str:
    """A file's text. Raises `Fault`, which shows neither path nor content."""
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        raise Fault(Sentence("cannot be read (%(why)s)", os_words(error))) from None
    if len(content) > most_bytes:
        raise Fault(Sentence("has more than %(size)s KiB", most_bytes >> 10))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Fault(Sentence("is not UTF-8 text")) from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file of at most 1 MiB. Raises `Fault`, as above."""
    text = read_text(path, 1 << 20)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # Only the position: the parser's message may quote the line, and with it a token.
        position = re.search(r"\(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        if position is None:
            raise Fault(Sentence("is not valid TOML")) from None
        line_and_column = Sentence("line %(line)s, column %(column)s", *position.groups())
        place = line_and_column if position[1] else Sentence("end of document")
        raise Fault(Sentence("is not valid TOML (at %(place)s)", place)) from None


def os_words(error: Exception) -> Sentence:
    """Why the operating system refused something, or the name of another error."""
    return Sentence(getattr(error, "strerror", None) or type(error).__name__)
