"""Secrets that stand in files of their own, such as a container's at /run/secrets.

A setting that holds a secret can be given by a file: `RECONCILER_AUTH_TOKEN_FILE=PATH` in place of
`RECONCILER_AUTH_TOKEN`, and `auth_token_file = "PATH"` in place of `auth_token` in the file of accounts. pydantic's own
`secrets_dir` reads every file of one folder by the setting's name, which neither mixes with variables nor tells when
both are given.

Faults are told as in `worker.settings.addresses`: a `Fault`, completing the sentence "RECONCILER_..._FILE ". They show
neither the content nor the path, which is the secret itself where somebody took one variable for the other.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.adapters.text_files import read_text
from worker.domain.records.sentences import Fault, Sentence

SUFFIX = "_file"
"""What a setting's name, or a key's, has at its end where it names a file."""

_MAX_BYTES = 1 << 16


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
