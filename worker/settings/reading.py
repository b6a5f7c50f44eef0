"""Reads the settings at start, and reports what is wrong with them."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from worker.settings.accounts import mode_warnings
from worker.settings.model import PREFIX, Settings, SettingsError

# Variables of the test suite and the simulated platform, which a worker does not read.
_OTHERS = (f"{PREFIX}TEST_", f"{PREFIX}SIMULATOR_")

# A password may stand anywhere in a URL that was written wrongly, and a token in the wrong one of the three.
_NEVER_SHOWN = frozenset(
    {"database_url", "broker_url", "result_backend", "platform_url", "account_sid", "auth_token", "app_id"}
)
_LONGEST_SHOWN = 60

_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")

# Pydantic's kinds of fault, in words that complete "RECONCILER_... ".
_WORDS = {
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "finite_number": "is not a finite number",
    "float_parsing": "is not a number",
    "int_parsing": "is not a whole number",
    "int_parsing_size": "is too large",
    "int_from_float": "is not a whole number",
    "bool_parsing": "is neither true nor false",
    "literal_error": "is none of the accepted words",
    "string_pattern_mismatch": "has characters that are not accepted, or too many",
}


class _FromEnvironment(Settings):
    """The same settings, read from outside. Other programs' variables in a shared `.env` are ignored."""

    model_config = SettingsConfigDict(extra="ignore")

    def __init__(self, env_file: str | Path | None) -> None:
        super().__init__(_env_file=env_file)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: Any, **sources: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then `.env`: what an operator sets for one run wins over the file."""
        return (sources["env_settings"], sources["dotenv_settings"])


def load_settings(env_file: str | Path | None = ".env") -> Settings:
    """Read and check the settings.

    `env_file` is read where it exists; the environment wins over it, and an empty variable counts as not set.
    Raises SettingsError, with all faults in its one message.
    """
    try:
        settings = _FromEnvironment(env_file)
        in_file = DotEnvSettingsSource(_FromEnvironment, env_file=env_file).env_vars
        return settings.with_warnings((*_unknown_variables(in_file), *_file_warnings(env_file, in_file)))
    except ValidationError as error:
        faults = tuple(line for detail in error.errors() for line in _fault_lines(detail))
    except (OSError, UnicodeDecodeError) as error:
        faults = (f"{env_file} cannot be read ({type(error).__name__}); accepted: UTF-8 text, one NAME=value a line",)
    # Raised outside of the handlers: a traceback must not carry the original error, which holds the values.
    raise SettingsError(faults)


def _fault_lines(detail: ErrorDetails) -> Iterator[str]:
    field = str(detail["loc"][0])
    accepted = Settings.model_fields[field].description
    own = detail.get("ctx", {}).get("error")
    for fault in str(own).splitlines() if own else [_WORDS.get(detail["type"], "has a value of the wrong kind")]:
        shown = "" if field in _NEVER_SHOWN else f" ({_shown(detail['input'])})"
        yield f"{PREFIX}{field.upper()} {fault}{shown}; accepted: {accepted}"


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _file_warnings(env_file: str | Path | None, in_file: Mapping[str, str | None]) -> Iterator[str]:
    if env_file is not None and any(_is_secret(name.upper(), value or "") for name, value in in_file.items()):
        yield from mode_warnings(Path(env_file), "passwords or tokens")


def _is_secret(name: str, value: str) -> bool:
    return bool(value) and (name.endswith(("_TOKEN", "_PASSWORD")) or _PASSWORD_IN_URL.search(value) is not None)


def _unknown_variables(in_file: Mapping[str, str | None]) -> Iterator[str]:
    known = [f"{PREFIX}{field.upper()}" for field in Settings.model_fields]
    for name in sorted({name.upper() for name in [*os.environ, *in_file]}):
        if name.startswith(PREFIX) and not name.startswith(_OTHERS) and name not in known:
            close = _nearest(name, known)
            yield f"{name} is set, but there is no such setting" + (f"; did you mean {close}?" if close else "")


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The setting that a name may mean: one that has all of its words, else one with a similar spelling."""
    words = _words(name)
    extra = {setting: len(_words(setting) - words) for setting in known if words <= _words(setting)}
    if extra:
        return min(extra, key=lambda setting: extra[setting])
    # Without the prefix, which would make any two of them similar.
    close = get_close_matches(name.removeprefix(PREFIX), [setting.removeprefix(PREFIX) for setting in known], n=1)
    return f"{PREFIX}{close[0]}" if close else None


def _words(name: str) -> set[str]:
    """The words of a name, without a duration's unit, which people often leave out."""
    return set(name.removeprefix(PREFIX).removesuffix("_SECONDS").split("_"))
