"""Secrets that stand in files of their own, such as a container's at /run/secrets.

A setting that holds a secret can be given by a file: `RECONCILER_AUTH_TOKEN_FILE=PATH` in place of
`RECONCILER_AUTH_TOKEN`, and `auth_token_file = "PATH"` in place of `auth_token` in the file of accounts. pydantic's own
`secrets_dir` reads every file of one folder by the setting's name, which neither mixes with variables nor tells when
both are given.

Faults are told as in `worker.settings.addresses`: ValueError, completing the sentence "RECONCILER_..._FILE ". They show
neither the content nor the path, which is the secret itself where somebody took one variable for the other.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

SUFFIX = "_file"
"""What a setting's name, or a key's, has at its end where it names a file."""

_MAX_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretFiles:
    """What was read for the settings of these names, or why it was not."""

    values: Mapping[str, str]
    """Setting to content."""
    faults: Mapping[str, str]
    """Setting to why it cannot be had from a file: completes the sentence "RECONCILER_..._FILE "."""
    paths: tuple[Path, ...]
    """The files that were read."""


def read_secret_files(variables: Mapping[str, str | None], names: Collection[str]) -> SecretFiles:
    """Read the files that variables name for these settings.

    `variables` are name to value, in lower case and without the prefix; an empty one counts as not set.
    """
    values: dict[str, str] = {}
    faults: dict[str, str] = {}
    paths: list[Path] = []
    for name in names:
        named = variables.get(f"{name}{SUFFIX}")
        if not named:
            continue
        if variables.get(name):
            faults[name] = "is set, and so is the setting itself: keep one of the two"
            continue
        try:
            values[name] = read_secret(Path(named))
        except ValueError as error:
            faults[name] = str(error)
        else:
            paths.append(Path(named))
    return SecretFiles(values=values, faults=faults, paths=tuple(paths))


def read_secret(path: Path) -> str:
    """A file's content without the line end that editors and `echo` leave. Raises ValueError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(f"names a file that cannot be read ({words})") from None
    if len(content) > _MAX_BYTES:
        raise ValueError("names a file of more than 64 KiB")
    try:
        text = content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError("names a file that is not UTF-8 text") from None
    if not text:
        raise ValueError("names a file that is empty")
    return text
