"""Reads text files that people write, if they are not longer than a maximum. Errors are `Fault`s, worded to follow the
file's name.

The value of a secret setting can be given in its own file, for example in a container's folder /run/secrets. A variable
then names the file: `RECONCILER_AUTH_TOKEN_FILE=PATH` instead of `RECONCILER_AUTH_TOKEN`. In the file of accounts a key
names it: `auth_token_file = "PATH"` instead of `auth_token`.

pydantic's own `secrets_dir` is not used. It reads all secrets from one folder, from files that have the settings'
names. No variable can name a file, and a setting that is given twice is not reported.

Faults show neither a file's content nor its path: somebody may have given the secret itself in the place of the path.
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.domain.records.sentences import Fault, Sentence

SUFFIX = "_file"
"""If a setting's name, or a key, ends like this, its value is the path of a file."""

_MAX_BYTES = 1 << 16


def read_text(path: Path, most_bytes: int) -> str:
    """Read the text of a file. Raises `Fault`, which shows neither path nor content."""
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
    """Read the tables of a TOML file of at most 1 MiB. Raises `Fault` as `read_text` does."""
    text = read_text(path, 1 << 20)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # Only the position is shown: the parser's message may quote the line, and with it a token.
        position = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        if position is None:
            raise Fault("is not valid TOML") from None
        raise Fault("is not valid TOML (at line %(line)s, column %(column)s)", *position.groups()) from None


def os_words(error: Exception) -> Sentence:
    """The operating system's words for an error that it raised; for any other error, the name of the error's class."""
    return Sentence(getattr(error, "strerror", None) or type(error).__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretFiles:
    """The secrets that were read from files, or why they could not be read."""

    values: Mapping[str, str]
    """The content of each file that could be read, by the setting's name."""
    faults: Mapping[str, Sentence]
    """Why a file could not be read, by the setting's name; worded to follow "RECONCILER_..._FILE "."""
    paths: tuple[Path, ...]
    """The paths of the files that were read."""


def read_secret_files(given: Mapping[str, object], names: Collection[str], folder: Path) -> SecretFiles:
    """Read the files that are given for the settings `names`.

    `given` has the variables, whose names are in lower case and without the prefix, or the keys of a file of settings.
    A relative path starts at `folder`.
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
    """Read the content of a file. The line end that editors and `echo` add is removed. Raises `Fault`."""
    try:
        text = read_text(path, _MAX_BYTES).removesuffix("\n").removesuffix("\r")
    except Fault as fault:
        raise Fault("names a file that %(fault)s", fault.sentence) from None
    if not text:
        raise Fault("names a file that is empty")
    return text
