"""Reading a file that a person wrote, of a bounded length. What is wrong is a `Fault` of the path."""

import re
import tomllib
from pathlib import Path
from typing import Any

from worker.domain.records.sentences import Fault, Sentence


def read_text(path: Path, most_bytes: int) -> str:
    """A file's text. Raises `Fault`, which shows neither path nor content."""
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        raise Fault("cannot be read (%(why)s)", os_words(error)) from None
    if len(content) > most_bytes:
        raise Fault("has more than %(size)s KiB", most_bytes >> 10)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Fault("is not UTF-8 text") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file of at most 1 MiB. Raises `Fault`, as above."""
    text = read_text(path, 1 << 20)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # Only the position: the parser's message may quote the line, and with it a token.
        position = re.search(r"\(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        if position is None:
            raise Fault("is not valid TOML") from None
        if position[1] is None:
            raise Fault("is not valid TOML (at end of document)") from None
        raise Fault("is not valid TOML (at line %(line)s, column %(column)s)", *position.groups()) from None


def os_words(error: Exception) -> Sentence:
    """Why the operating system refused something, or the name of another error."""
    return Sentence(getattr(error, "strerror", None) or type(error).__name__)
