"""The settings: their names, defaults and accepted ranges."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from worker.domain.records.accounts import FailedAmount
from worker.domain.records.incoming import Trust
from worker.domain.records.notifications import EndpointSettings
from worker.domain.records.sentences import Fault, Faults, Sentence, _
from worker.domain.tokens_and_sign_ins import ADDRESS_RULE, TOKEN_RULE, read_tokens
from worker.domain.wire.fields import ID_RULE
from worker.domain.wire.query_request import Credentials
from worker.settings import accounts as account_rules
from worker.settings import addresses, notify
from worker.settings.fields import (
    ZONE_RULE,
    AccountSid,
    AppId,
    AuthToken,
    BrokerUrl,
    CaFile,
    CallbackToken,
    CallbackTrust,
    DatabaseUrl,
    EventTypes,
    Language,
    LogFormat,
    LogLevel,
    MeaningOfAmount,
    NamedAccounts,
    Networks,
    PlatformUrl,
    ResultBackend,
    Seconds,
    SettingsError,
    TaskName,
    WebhookSecret,
    WebhookUrl,
    ZoneName,
    flag,
    unset,
    whole,
)

PREFIX = "RECONCILER_"
_LIMIT_WINDOW_SECONDS = 60.0
_NO_FILE = account_rules.AccountsFile(path=Path(), accounts={})
_TRIO = _("RECONCILER_ACCOUNT_SID, RECONCILER_AUTH_TOKEN and RECONCILER_APP_ID")


class Settings(BaseSettings):
    """All settings, checked. A field's description is its accepted range; a message about a wrong value shows it.

    URLs that may contain a password are `SecretStr`. The properties `database_dsn`, `broker_dsn` and `result_dsn` give
    the URLs as plain text. If an argument is wrong, raises pydantic's ValidationError, which hides all values.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,  # `NAME=` in .env or in a compose file means "not set"
        enable_decoding=False,  # values are words and numbers, never JSON
    )

    database_url: DatabaseUrl = Field(default=SecretStr("sqlite:///reconciler.db"), description=addresses.DATABASE_RULE)
    broker_url: BrokerUrl = Field(default=SecretStr("redis://127.0.0.1:6379/0"), description=addresses.BROKER_RULE)
    result_backend: ResultBackend | None = unset(addresses.RESULT_RULE)

    # The platform's URL must come before the query window, because the shortest accepted window depends on the URL, and
    # pydantic checks the fields in the order of this class.
    platform_url: PlatformUrl = Field(default="http://api.ytx.net", description=addresses.PLATFORM_RULE)
    platform_version: str = Field(
        default="201512",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$",
        description=_("1 to 32 ASCII letters, digits, dots, dashes and underscores, such as 201512 or 201612"),
    )
    platform_bracketed_ids: bool = flag()
    platform_timezone: ZoneName = Field(default="Asia/Shanghai", description=ZONE_RULE)

    platform_ca_file: CaFile | None = unset(_("a file of one or more certificates in PEM form"))

    failed_amount: MeaningOfAmount = Field(default=FailedAmount.CHARGED, description=account_rules.FAILED_AMOUNT_RULE)

    # These three settings configure the account `default`. They must come before the accounts file, because its
    # accounts are checked against this account.
    account_sid: AccountSid | None = unset(_("%(rule)s; all of %(names)s, or none", account_rules.SID_RULE, _TRIO))
    auth_token: AuthToken | None = unset(_("%(rule)s; all of %(names)s, or none", account_rules.TOKEN_RULE, _TRIO))
    app_id: AppId | None = unset(_("%(rule)s; all of %(names)s, or none", ID_RULE, _TRIO))
    accounts_file: NamedAccounts | None = unset(account_rules.FILE_RULE)

    # The settings for notifications are only for the account `default`, except notify_keep_days. Each field is checked
    # against the fields before it.
    notify_allow_http: bool = flag()
    notify_url: WebhookUrl | None = unset(notify.URL_RULE)
    notify_secret: WebhookSecret | None = unset(notify.SECRET_RULE)
    notify_task: TaskName | None = unset(notify.TASK_RULE)
    notify_queue: TaskName | None = unset(notify.QUEUE_RULE)
    notify_broker_url: BrokerUrl | None = unset(addresses.BROKER_RULE)
    notify_events: EventTypes | None = unset(notify.EVENTS_RULE)
    notify_ca_file: CaFile | None = unset(_("a file of one or more certificates in PEM form"))
    notify_keep_days: int = whole(7, 1, 3650)

    # callback_token is only for the account `default`. The settings after it apply to all accounts.
    callback_token: CallbackToken | None = unset(TOKEN_RULE)
    callback_trust: CallbackTrust = Field(default=Trust.SETTLE, description=_("settle or check"))
    callback_allow: Networks | None = unset(ADDRESS_RULE)
    callback_reply: str = Field(
        default="Success", pattern=r"^[ -~]{0,1000}$", description=_("0 to 1000 printable ASCII characters")
    )
    trusted_proxies: int = whole(0, 0, 10)

    users_file: Path | None = unset(_("the path of a file that `reconciler user add` writes"))
    metrics_token: CallbackToken | None = unset(TOKEN_RULE)
    metrics_allow: Networks | None = unset(ADDRESS_RULE)

    query_window_seconds: Seconds = 60.0
    queries_per_window: int = whole(1, 1, 1000)
    query_margin_seconds: Seconds = 0.5
    batch_size: int = whole(100, 1, 100)
    callback_grace_seconds: Seconds = 600.0
    unresolved_after_seconds: Seconds = 259_200.0
    connect_timeout_seconds: Seconds = 5.0
    request_deadline_seconds: Seconds = 30.0
    tick_seconds: Seconds = 1.0
    log_level: LogLevel = Field(default="INFO", description=_("DEBUG, INFO, WARNING, ERROR or CRITICAL"))
    log_format: LogFormat = Field(default="console", description=_("console or json"))
    language: Language | None = unset(_("en or zh"))
    timezone: ZoneName = Field(default="Asia/Shanghai", description=ZONE_RULE)
    check_tick_seconds: Seconds = 30.0
    check_backlog_windows: int = whole(60, 1, 1_000_000)
    check_attention_orders: int = Field(default=1, ge=1, description=_("a whole number from 1 up"))
    check_notify_seconds: Seconds = 600.0

    _warnings: tuple[Sentence, ...] = PrivateAttr(default=())

    # Accept values of any type, since the fields check them. Without this method a type checker would require SecretStr
    # for a URL, although plain text works.
    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    @field_validator("auth_token", "app_id")
    @classmethod
    def _three_or_none(cls, value: Any, info: ValidationInfo) -> Any:
        # A SID that is wrong is missing in `data`. Then do not check here: the message already has a line about it.
        if "account_sid" in info.data and (info.data["account_sid"] is None) is not (value is None):
            sid = f"{PREFIX}ACCOUNT_SID"
            if value is None:
                raise Fault("is not set, though %(name)s is", sid)
            raise Fault("is set, though %(name)s is not", sid)
        return value

    @field_validator("accounts_file")
    @classmethod
    def _accounts_differ(
        cls, value: account_rules.AccountsFile | None, info: ValidationInfo
    ) -> account_rules.AccountsFile | None:
        own = account_rules.default_account(info.data)
        named = (value or _NO_FILE).accounts
        if own.keys() & named.keys():
            raise Fault("has an account 'default', which RECONCILER_ACCOUNT_SID configures already: rename one;")
        if faults := tuple(account_rules.conflicts({**own, **named})):
            raise Faults(faults)
        return value

    @field_validator(*notify.CHECKS, "callback_token")
    @classmethod
    def _fits_its_account(cls, value: Any, info: ValidationInfo) -> Any:
        key = info.field_name or ""
        has_no_account = "account_sid" in info.data and info.data["account_sid"] is None
        if value is not None and key in ("notify_url", "notify_task", "callback_token") and has_no_account:
            raise Fault(
                "is set, though RECONCILER_ACCOUNT_SID is not: it belongs to that account alone; others have %(key)s in"
                " their table of RECONCILER_ACCOUNTS_FILE",
                key,
            )
        given = {name: _plain(one) for name, one in (*info.data.items(), (key, value))}
        if fault := notify.combination_fault(key, given, lambda name: f"{PREFIX}{name.upper()}"):
            raise Fault("%(why)s", fault)
        return value

    @field_validator("query_window_seconds")
    @classmethod
    def _no_short_window_outside(cls, value: float, info: ValidationInfo) -> float:
        # Tests use a shorter window. It must never be used with the real platform, which allows one query a minute.
        url = info.data.get("platform_url")
        if value < _LIMIT_WINDOW_SECONDS and url is not None and not addresses.is_loopback(url):
            raise Fault(
                "is under 60 while the host of RECONCILER_PLATFORM_URL is not loopback (localhost,"
                " 127.0.0.0/8 or ::1), so that 60 is the least"
            )
        return value

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: Any, **sources: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read only keyword arguments. So a test's settings do not depend on the environment of its machine."""
        return (sources["init_settings"],)

    @property
    def database_dsn(self) -> str:
        """The database's URL in plain text, including the driver's name. It may contain a password."""
        return self.database_url.get_secret_value()

    @property
    def broker_dsn(self) -> str:
        """The broker's URL in plain text. It may contain a password."""
        return self.broker_url.get_secret_value()

    @property
    def result_dsn(self) -> str | None:
        """The result backend's URL in plain text; None if callers get no answers. It may contain a password."""
        return self.result_backend.get_secret_value() if self.result_backend is not None else None

    @property
    def platform_zone(self) -> ZoneInfo:
        """The time zone of the signature's timestamp."""
        return ZoneInfo(self.platform_timezone)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which times are shown to people."""
        return ZoneInfo(self.timezone)

    @property
    def accounts(self) -> Mapping[str, Credentials]:
        """The configured accounts by name. May be empty.

        The account `default` comes first. The accounts of the accounts file follow, in the order of the file.
        """
        return MappingProxyType({**account_rules.default_account(dict(self)), **self._named.accounts})

    @property
    def _named(self) -> account_rules.AccountsFile:
        return self.accounts_file or _NO_FILE

    def require_accounts(self) -> Mapping[str, Credentials]:
        """The same as `accounts`, but never empty: raises SettingsError if no account is configured."""
        if not self.accounts:
            remedy = _("set %(names)s, or RECONCILER_ACCOUNTS_FILE%(hint)s", _TRIO, self._hint())
            raise SettingsError([_("%(what)s: %(do)s", _("no account is configured"), remedy)])
        return self.accounts

    def _hint(self) -> str:
        """A hint for a person who has configured no account; empty if there is none."""
        return ""

    @property
    def endpoints(self) -> Mapping[str, EndpointSettings]:
        """The destination of notifications, by account. An account without notifications is missing."""
        own = notify.endpoint_of(account_rules.DEFAULT_ACCOUNT, {name: _plain(value) for name, value in self})
        return MappingProxyType({**({own.account: own} if own is not None else {}), **self._named.endpoints})

    @property
    def callback_tokens(self) -> Mapping[str, tuple[str, ...]]:
        """The tokens of callbacks, by account. An account whose callbacks do not come in over HTTP is missing."""
        own = self.callback_token
        of_own = {} if own is None else {account_rules.DEFAULT_ACCOUNT: read_tokens(own.get_secret_value())}
        return MappingProxyType({**of_own, **self._named.callback_tokens})

    @property
    def echoing_accounts(self) -> frozenset[str]:
        """The accounts for which the platform's answers repeat the price of a failed order.

        The account's table in the accounts file decides. If the table has no `failed_amount`, the setting decides.
        """
        own = self._named.failed_amounts
        return frozenset(name for name in self.accounts if own.get(name, self.failed_amount) is FailedAmount.ECHOED)

    @property
    def metrics_tokens(self) -> tuple[str, ...]:
        """The tokens that permit reading `/metrics` and `/healthz`; may be empty."""
        return () if self.metrics_token is None else read_tokens(self.metrics_token.get_secret_value())

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no log may show: all tokens, the passwords in URLs, and the secrets of endpoints."""
        tokens = [credentials.auth_token for credentials in self.accounts.values()]
        tokens += [token for some in self.callback_tokens.values() for token in some]
        tokens += self.metrics_tokens
        urls = (self.database_dsn, self.broker_dsn, self.result_dsn or "")
        passwords = (word for url in urls for word in addresses.passwords(url))
        of_endpoints = (text for endpoint in self.endpoints.values() for text in notify.hidden_texts(endpoint))
        return tuple(dict.fromkeys([*tokens, *passwords, *of_endpoints]))

    @property
    def warnings(self) -> tuple[Sentence, ...]:
        """Warnings to show to people at start, one line each, without secrets. The program can run nevertheless."""
        return (*self._warnings, *self._named.warnings)

    def with_warnings(self, warnings: tuple[Sentence, ...]) -> Self:
        """A copy with these warnings, such as those about unknown variables. It keeps the accounts file's warnings."""
        copy = self.model_copy()
        copy._warnings = warnings  # noqa: SLF001  # a copy of this very object
        return copy


def _plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
