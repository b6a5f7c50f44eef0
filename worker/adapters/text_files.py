"""Reading a file that a person wrote, of a bounded length. What is wrong is a `Fault` of the path.

A setting that holds a secret can be given by a file of its own, such as a container's at /run/secrets:
`RECONCILER_AUTH_TOKEN_FILE=PATH` in place of `RECONCILER_AUTH_TOKEN`, and `auth_token_file = "PATH"` in place of
`auth_token` in the file of accounts. pydantic's own `secrets_dir` reads every file of one folder by the setting's name,
which neither mixes with variables nor tells when both are given. Faults show neither the content nor the path, which is
the secret itself where somebody took one variable for the other.
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.domain.records.sentences import Fault, Sentence

SUFFIX = "_file"
"""What a setting's name, or a key's, has at its end where it names a file."""

_MAX_BYTES = 1 << 16


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
        position = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        if position is None:
            raise Fault("is not valid TOML") from None
        raise Fault("is not valid TOML (at line %(line)s, column %(column)s)", *position.groups()) from None


def os_words(error: Exception) -> Sentence:
    """Why the operating system refused something, or the name of another error."""
    return Sentence(getattr(error, "strerror", None) or type(error).__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretFiles:
    """What was read for the settings of these names, or why it was not."""

    values: Mapping[str, str]
    """Setting to content."""
    faults: Mapping[str, Sentence]
    """Setting to why it cannot be had from a file: completes the sentence "RECONCILER_..._FILE "."""
    paths: tuple[Path, ...]
    """The files that were read."""


def read_secret_files(given: Mapping[str, object], names: Collection[str], folder: Path) -> SecretFiles:
    """Read the files that are named for these settings, by a variable's name in lower case and without the prefix, or
    by a key; a relative path counts from the folder.
    """
    values: dict[str, str] = {}
    faults: dict[str, Sentence] = {}
    paths: list[Path] = []
    for name in names:
        named = given.get(f"{name}{SUFFIX}")
        if named is None:
            continue
        try:
            if name in given:
                raise Fault("is set, and so is the setting itself: keep one of the two")
            if not isinstance(named, str):
                raise Fault("is not a string")
            values[name] = _read_secret(folder / named)
        except Fault as fault:
            faults[name] = fault.sentence
        else:
            paths.append(folder / named)
    return SecretFiles(values=values, faults=faults, paths=tuple(paths))


def _read_secret(path: Path) -> str:
    """A file's content without the line end that editors and `echo` leave. Raises `Fault`."""
    try:
        text = read_text(path, _MAX_BYTES).removesuffix("\n").removesuffix("\r")
    except Fault as fault:
        raise Fault("names a file that %(fault)s", fault.sentence) from None
    if not text:
        raise Fault("names a file that is empty")
    return text
