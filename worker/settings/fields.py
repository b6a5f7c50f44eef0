"""The types and validators of the settings' fields, and the error for wrong settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr

from worker.domain.records.accounts import FailedAmount
from worker.domain.records.incoming import Trust
from worker.domain.records.sentences import Fault, Faults, Sentence, _
from worker.domain.tokens_and_sign_ins import Network, read_networks
from worker.settings import accounts, addresses, notify
from worker.settings.accounts import AccountsFile

SHORTEST_SECONDS = 0.05
"""The shortest accepted time. It suits tests, which shorten all times; with less, beat and database could not keep up.
"""
LONGEST_SECONDS = 31_536_000
"""The longest accepted time: a year. With a longer time, a computed date could overflow in some database."""

Seconds = Annotated[
    float,
    Field(
        ge=SHORTEST_SECONDS,
        le=LONGEST_SECONDS,
        allow_inf_nan=False,
        description=_("seconds from %(least)s to %(most)s, fractions allowed", SHORTEST_SECONDS, LONGEST_SECONDS),
    ),
]
ZONE_RULE = _("an IANA time zone's name, such as Asia/Shanghai")


class SettingsError(Faults):
    """The settings cannot be used. `str()` is a message for people: one line for each fault, without secrets."""


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: `Asia` is a folder, not a zone
        raise Fault("is not a known time zone") from None
    return value


def _file(value: object) -> object:
    return AccountsFile.read(Path(value)) if isinstance(value, str | Path) else value


def _secretly(check: Callable[[str], str]) -> AfterValidator:
    """A validator that applies `check` to a secret's text and returns the result as a secret."""
    return AfterValidator(lambda value: SecretStr(check(value.get_secret_value())))


def unset(rule: Sentence) -> Any:
    """The field of an optional setting. `rule` tells the accepted values."""
    return Field(default=None, description=rule)


def flag() -> Any:
    """The field of a switch, which is off by default."""
    return Field(default=False, description=_("true or false"))


def whole(default: int, least: int, most: int) -> Any:
    """The field of a whole number, with its default and range."""
    rule = _("a whole number from %(least)s to %(most)s", least, most)
    return Field(default=default, ge=least, le=most, description=rule)


LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
CallbackTrust = Annotated[Trust, BeforeValidator(_lower)]
MeaningOfAmount = Annotated[FailedAmount, BeforeValidator(_lower)]
LogFormat = Annotated[Literal["console", "json"], BeforeValidator(_lower)]
Language = Annotated[Literal["en", "zh"], BeforeValidator(_lower)]
ZoneName = Annotated[str, AfterValidator(_zone)]
# A dump of the settings shows only the path of the accounts file, because its content includes tokens.
NamedAccounts = Annotated[AccountsFile, BeforeValidator(_file), PlainSerializer(lambda file: str(file.path))]
DatabaseUrl = Annotated[SecretStr, _secretly(addresses.database_url)]
BrokerUrl = Annotated[SecretStr, _secretly(addresses.broker_url)]
ResultBackend = Annotated[SecretStr, _secretly(addresses.result_backend)]
PlatformUrl = Annotated[str, AfterValidator(addresses.platform_url)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(read_networks)]
AccountSid = Annotated[str, AfterValidator(accounts.account_sid)]
AuthToken = Annotated[SecretStr, _secretly(accounts.auth_token)]
AppId = Annotated[str, AfterValidator(accounts.app_id)]
CallbackToken = Annotated[SecretStr, _secretly(accounts.callback_tokens)]
CaFile = Annotated[str, AfterValidator(notify.ca_file)]
WebhookUrl = Annotated[SecretStr, _secretly(notify.webhook_url)]
WebhookSecret = Annotated[SecretStr, _secretly(notify.webhook_secret)]
TaskName = Annotated[str, AfterValidator(notify.task_name)]
EventTypes = Annotated[str, AfterValidator(notify.event_types)]
