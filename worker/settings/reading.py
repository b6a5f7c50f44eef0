"""Read the settings at start, and report what is wrong with them.

A message has a hint if the program may have been started in the wrong folder, without the intended `.env`.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from worker.adapters.safe_text import one_line
from worker.adapters.text_files import SUFFIX, SecretFiles, read_secret_files
from worker.domain.records.sentences import Fault, Faults, Sentence, _
from worker.settings.accounts import mode_warnings, secret_mode_warnings
from worker.settings.fields import SettingsError
from worker.settings.model import PREFIX, Settings

# The start of variables that the test suite and the simulated platform read. A worker does not read them, and does not
# warn of them.
_OTHERS = (f"{PREFIX}TEST_", f"{PREFIX}SIMULATOR_")

# POSIX says that the first of these variables that is set and not empty gives the language of messages.
_LOCALES = ("LC_ALL", "LC_MESSAGES", "LANG")

# Messages never show the values of these settings, although they are no secrets: the platform's URL may contain a
# password if it is malformed, and the SID and the app id may have been mistaken for the token.
_NEVER_SHOWN_EITHER = frozenset({"platform_url", "account_sid", "app_id"})
_LONGEST_SHOWN = 60

_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")

# Maps pydantic's types of errors to words that follow "RECONCILER_... ".
_WORDS = {
    "greater_than_equal": _("is too small"),
    "less_than_equal": _("is too large"),
    "finite_number": _("is not a finite number"),
    "float_parsing": _("is not a number"),
    "int_parsing": _("is not a whole number"),
    "int_parsing_size": _("is too large"),
    "int_from_float": _("is not a whole number"),
    "bool_parsing": _("is neither true nor false"),
    "literal_error": _("is none of the accepted words"),
    "enum": _("is none of the accepted words"),
    "string_pattern_mismatch": _("has characters that are not accepted, or too many"),
}


class _FromEnvironment(Settings):
    """The settings, read from the environment and `.env`. If other programs share the `.env`, their variables in it
    are ignored.
    """

    model_config = SettingsConfigDict(extra="ignore")

    def __init__(self, env_file: str | Path | None, secrets: Mapping[str, str]) -> None:
        super().__init__(_env_file=env_file, **secrets)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: Any, **sources: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment before `.env`: a variable that an operator sets for one run wins over the file.

        Keyword arguments come before both: they are the secrets that have been read from their own files.
        """
        return (sources["init_settings"], sources["env_settings"], sources["dotenv_settings"])

    def _hint(self) -> str:
        return hint_on_folder()


def _holds_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


SECRETS = tuple(name for name, field in Settings.model_fields.items() if _holds_secret(field.annotation))
"""The settings that may contain a secret. Each can also be read from a file that the variable `..._FILE` names."""

VARIABLES = tuple(
    f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, *(f"{name}{SUFFIX}" for name in SECRETS))
)
"""All variables that are read."""

_NEVER_SHOWN = _NEVER_SHOWN_EITHER | frozenset(SECRETS)


def load_settings(env_file: str | Path | None = ".env") -> Settings:
    """Read and check the settings.

    `env_file` is read if it exists. A variable of the environment wins over the same variable in `env_file`. An empty
    variable counts as not set. Raises SettingsError, whose message lists everything that is wrong.
    """
    secrets = SecretFiles(values={}, faults={}, paths=())
    try:
        in_file = DotEnvSettingsSource(_FromEnvironment, env_file=env_file).env_vars
        secrets = read_secret_files(_without_prefix(in_file), SECRETS, Path())
        settings = _FromEnvironment(env_file, secrets.values)
    except ValidationError as error:
        faults = tuple(_fault_lines(error.errors(), secrets))
    except (OSError, UnicodeDecodeError) as error:
        why = type(error).__name__
        faults = (_("%(path)s cannot be read (%(why)s); accepted: UTF-8 text, one NAME=value a line", env_file, why),)
    else:
        faults = tuple(_fault_lines([], secrets))
        if not faults:
            modes = (line for path in secrets.paths for line in secret_mode_warnings(path))
            return settings.with_warnings((*_unknown_variables(in_file), *_file_warnings(env_file, in_file), *modes))
    # Raise the error outside of `except`. Otherwise its traceback would include the original error, which contains the
    # values of settings.
    raise SettingsError(faults)


def language(env_file: str | Path | None = ".env") -> str:
    """The language of the command line, `zh` or `en`. Works even if other settings are wrong."""
    try:
        in_file = DotEnvSettingsSource(_FromEnvironment, env_file=env_file).env_vars
    except (OSError, UnicodeDecodeError):
        in_file = {}
    named = (_without_prefix(in_file).get("language"), *map(os.environ.get, _LOCALES))
    return "zh" if next(filter(None, named), "").lower().startswith("zh") else "en"


def hint_on_folder() -> str:
    """The hint to add to a message about a missing setting; empty if there is an `.env`."""
    if Path(".env").exists():
        return ""
    return _(" (there is no .env in %(folder)s; if you have one, call the command in its folder)", _folder())


def hint_on_default(settings: Settings, name: str) -> str:
    """The hint that `database_url` or `broker_url`, as `name` says, has its default value.

    Empty if the setting was set or if there is an `.env`.
    """
    if name in settings.model_fields_set or Path(".env").exists():
        return ""
    return _(
        "; that is the default %(name)s, as there is no .env in %(folder)s and %(setting)s is not set: if you"
        " have an .env, call the command in its folder",
        name.removesuffix("_url"),
        _folder(),
        f"{PREFIX}{name.upper()}",
    )


def _without_prefix(in_file: Mapping[str, str | None]) -> dict[str, str]:
    """The non-empty variables of the environment and of `.env`, without their prefix. The environment wins."""
    both = {**in_file, **EnvSettingsSource(_FromEnvironment).env_vars}
    return {name.lower().removeprefix(PREFIX.lower()): value for name, value in both.items() if value}


def _fault_lines(details: Sequence[ErrorDetails], secrets: SecretFiles) -> Iterator[Sentence]:
    """A line for each wrong value of a setting, in the order of the settings, then one for each faulty secret file."""
    of_files = dict(secrets.faults)
    for detail in details:
        field = str(detail["loc"][0])
        if field in of_files:
            # This error only says that the setting is not set, because its file is faulty. The fault of the file is
            # reported below.
            continue
        yield from _lines_of(detail, field, from_file=field in secrets.values)
    for field, fault in of_files.items():
        name = f"{PREFIX}{field.upper()}{SUFFIX.upper()}"
        yield _("%(name)s %(fault)s; accepted: a file that holds nothing but the secret", name, fault)


def _lines_of(detail: ErrorDetails, field: str, *, from_file: bool) -> Iterator[Sentence]:
    accepted = Settings.model_fields[field].description
    name = f"{PREFIX}{field.upper()}"
    named = f"{name} (from {name}{SUFFIX.upper()})" if from_file else name
    own = detail.get("ctx", {}).get("error")
    unexplained = _WORDS.get(detail["type"], _("has a value of the wrong kind"))
    alone = own.sentence if isinstance(own, Fault) else unexplained
    for fault in own.faults if isinstance(own, Faults) else (alone,):
        shown = "" if field in _NEVER_SHOWN else _(" (%(value)s)", _shown(detail["input"]))
        yield _("%(name)s %(fault)s%(shown)s; accepted: %(rule)s", named, fault, shown, accepted)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _file_warnings(env_file: str | Path | None, in_file: Mapping[str, str | None]) -> Iterator[Sentence]:
    if env_file is not None and any(_is_secret(name.upper(), value or "") for name, value in in_file.items()):
        yield from mode_warnings(Path(env_file), _("passwords or tokens"))


def _is_secret(name: str, value: str) -> bool:
    return bool(value) and (
        name.endswith(("_TOKEN", "_PASSWORD", "_SECRET")) or _PASSWORD_IN_URL.search(value) is not None
    )


def _unknown_variables(in_file: Mapping[str, str | None]) -> Iterator[Sentence]:
    for name in sorted({name.upper() for name in [*os.environ, *in_file]}):
        if name.startswith(PREFIX) and not name.startswith(_OTHERS) and name not in VARIABLES:
            said = _("%(name)s is set, but there is no such setting", name)
            # Compare the names without the prefix, which would make all names similar.
            close = get_close_matches(name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in VARIABLES], n=1)
            remedy = _("did you mean %(other)s?", f"{PREFIX}{close[0]}") if close else None
            yield said if remedy is None else _("%(what)s; %(do)s", said, remedy)


def _folder() -> str:
    return one_line(str(Path.cwd()))
