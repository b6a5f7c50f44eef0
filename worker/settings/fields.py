"""The types and validators of the settings' fields."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr

from worker.domain.records.incoming import Trust
from worker.domain.records.parameters import FailedAmount
from worker.settings.accounts import AccountsFile

SHORTEST_SECONDS = 0.05
"""Short enough for a test with scaled windows, long enough that beat and database keep up."""
LONGEST_SECONDS = 31_536_000
"""A year. Beyond it dates overflow in one database or another."""

Seconds = Annotated[
    float,
    Field(
        ge=SHORTEST_SECONDS,
        le=LONGEST_SECONDS,
        allow_inf_nan=False,
        description=f"seconds from {SHORTEST_SECONDS} to {LONGEST_SECONDS}, fractions allowed",
    ),
]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: `Asia` alone is a directory of the database
        raise ValueError("is not a known time zone") from None
    return value


def _file(value: object) -> object:
    return AccountsFile.read(Path(value)) if isinstance(value, str | Path) else value


LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
CallbackTrust = Annotated[Trust, BeforeValidator(_lower)]
MeaningOfAmount = Annotated[FailedAmount, BeforeValidator(_lower)]
LogFormat = Annotated[Literal["console", "json"], BeforeValidator(_lower)]
ZoneName = Annotated[str, AfterValidator(_zone)]
# A dump of the settings names the file: its content would show the tokens.
NamedAccounts = Annotated[AccountsFile, BeforeValidator(_file), PlainSerializer(lambda file: str(file.path))]


def free_of(fault_of: Callable[[str], str | None]) -> AfterValidator:
    """A validator of a text for which `fault_of` must find no fault."""

    def check(value: str) -> str:
        if fault := fault_of(value):
            raise ValueError(fault)
        return value

    return AfterValidator(check)


def secretly(check: Callable[[str], str]) -> AfterValidator:
    """A validator that applies `check` to a secret's text and wraps what it returns again."""
    return AfterValidator(lambda value: SecretStr(check(value.get_secret_value())))
