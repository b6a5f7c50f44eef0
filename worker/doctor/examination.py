"""Takes the readings, and makes findings of them."""

import os
from collections.abc import Callable
from urllib.parse import urlsplit

from worker.adapters.certificates import authorities_fault, platform_authorities
from worker.adapters.error_text import first_words
from worker.adapters.log_redaction import Redactor
from worker.database.engine import shown_url
from worker.database.error_kinds import ErrorKind, kind_of
from worker.database.rights import missing_rights_words
from worker.database.server import PostgresqlReading, durability_settings
from worker.doctor import checks
from worker.doctor.checks import Check, fatal, ok, skipped, warning
from worker.doctor.console import console_check
from worker.doctor.endpoints import endpoint_checks, hosts_of
from worker.doctor.readings import (
    BrokerReading,
    DatabaseReading,
    NoDatabaseFile,
    read_broker,
    read_database,
    resolve,
    start_reading,
    unloadable,
)
from worker.doctor.shadow import shadow
from worker.settings import Settings, SettingsError
from worker.settings.addresses import is_loopback, schemes
from worker.settings.reading import hint_on_default

_FIX_SETTING = "fix it in the environment or in .env"
_REPLY_SECONDS = 5.0
_DATABASE_SECONDS = 15.0
_BROKER_SECONDS = 10.0
_RESOLVER_SECONDS = 5.0
# A worker that is ready must start its work soon.
_REPLY_SECONDS_AT_START = 1.0


def examine(settings: Settings) -> list[Check]:
    """Every check, in about 15 seconds at most. Sends nothing to the platform."""
    host = urlsplit(settings.platform_url).hostname or ""
    faults = unloadable(settings)
    # All at the same time, since a person waits.
    database = start_reading(lambda: _read_database(settings), seconds=_DATABASE_SECONDS)
    broker = start_reading(lambda: read_broker(settings.broker_dsn, seconds=_REPLY_SECONDS), seconds=_BROKER_SECONDS)
    address = _start_resolving(host)
    receivers = {one: _start_resolving(one) for one in hosts_of(settings.endpoints)}
    return _shown(
        settings,
        [
            *_settings_checks(settings),
            *_folder_checks(),
            *_credentials_checks(settings),
            *_database_checks(settings, database, faults.get("database")),
            _identity_check(database),
            *_broker_checks(broker, faults.get("broker")),
            *_backend_checks(settings, faults.get("result_backend")),
            _host_check(host, address),
            *_certificates_checks(settings),
            *endpoint_checks(settings.endpoints, receivers),
            console_check(settings.users_file),
        ],
    )


def _start_resolving(host: str) -> Callable[[], str]:
    return start_reading(lambda: resolve(host), seconds=_RESOLVER_SECONDS)


def examine_unreadable(error: SettingsError) -> list[Check]:
    """The findings where the settings themselves are wrong."""
    rest = ("credentials", "database", "broker", "platform_host")
    return [
        *(fatal("settings", fault, _FIX_SETTING) for fault in error.faults),
        *(skipped(name, "the settings cannot be used") for name in rest),
    ]


def examine_before_start(settings: Settings) -> list[Check]:
    """The checks that can prevent a worker's start, except those of the settings' values, which were made before."""
    fault = unloadable(settings).get("database")
    database = _database_checks(settings, lambda: _read_database(settings), fault)
    lasting = [check for check in database if check.name != checks.WRITES]
    return _shown(settings, [*_credentials_checks(settings), *lasting, *_certificates_checks(settings)])


def examine_running(settings: Settings) -> list[Check]:
    """The checks of a worker that is ready, besides those before its start: the quick ones."""
    broker = _broker_checks(lambda: read_broker(settings.broker_dsn, seconds=_REPLY_SECONDS_AT_START))
    return _shown(settings, broker)


def _shown(settings: Settings, found: list[Check]) -> list[Check]:
    redactor = Redactor(settings.secrets)
    return [check.shown_with(redactor) for check in found]


def _settings_checks(settings: Settings) -> list[Check]:
    if not settings.warnings:
        return [ok("settings", "each has a value that is accepted")]
    return [warning("settings", *_parted(text)) for text in settings.warnings]


def _folder_checks() -> list[Check]:
    found = shadow()
    return [] if found is None else [found]


def _parted(text: str) -> tuple[str, str]:
    """What is wrong, and what to do, which many warnings and errors have after a colon or a semicolon."""
    for separator in (": ", "; "):
        if separator in text:
            detail, _, remedy = text.rpartition(separator)
            return detail, remedy
    return text, _FIX_SETTING


def _credentials_checks(settings: Settings) -> list[Check]:
    try:
        accounts = settings.require_accounts()
    except SettingsError as error:
        return [fatal("credentials", *_parted(str(error)))]
    return checks.credentials(accounts, are_platforms=not is_loopback(settings.platform_url))


def _read_database(settings: Settings) -> DatabaseReading:
    sids = {account.account_sid for account in settings.accounts.values()}
    return read_database(settings.database_dsn, sids=sids, slots_per_sid=settings.queries_per_window)


def _database_checks(settings: Settings, read: Callable[[], DatabaseReading], fault: Check | None) -> list[Check]:
    shown = shown_url(settings.database_dsn)
    kind = shown.partition(":")[0].partition("+")[0]
    postgresql = ("database_encoding", "database_sessions") if kind == "postgresql" else ()
    rights = () if kind == "sqlite" else ("database_rights",)
    rest = ("database_revision", *rights, "query_window", *postgresql, "database_clock", *durability_settings(kind))
    if fault is not None:
        return [fault, *(skipped(name, "the database's driver cannot be loaded") for name in rest)]
    try:
        reading = read()
    except NoDatabaseFile as error:
        unreachable = fatal(
            "database", f"{error} ({shown})", "run `reconciler migrate`" + hint_on_default(settings, "database_url")
        )
    except Exception as error:  # Drivers raise errors of their own.
        unreachable = _unusable(settings, shown, error)
    else:
        behind = reading.fault_of_revision
        own = settings.query_window_seconds
        return [
            ok("database", f"{shown} answers: {reading.server.version}"),
            ok("database_revision", "at head") if behind is None else fatal("database_revision", *_parted(behind)),
            *(_rights_checks(reading) if rights else []),
            checks.window(own, reading.windows, settings.accounts)
            if behind is None
            else skipped("query_window", "the database is not at head"),
            *_postgresql_checks(reading.server.postgresql),
            checks.clock(reading.server.clock_ahead_seconds),
            *checks.durability(reading.server.settings),
        ]
    return [unreachable, *(skipped(name, "the database cannot be used") for name in rest)]


def _rights_checks(reading: DatabaseReading) -> list[Check]:
    if reading.rights is None:
        return [skipped("database_rights", "the database is not at head")]
    return [checks.rights(reading.rights)]


def _identity_check(read: Callable[[], DatabaseReading]) -> Check:
    """Not among those before a start: a worker waits by itself where the database is another one."""
    try:
        return checks.identity(read().changes)
    except Exception:  # Said by the check before it.
        return checks.identity(None)


def _unusable(settings: Settings, shown: str, error: Exception) -> Check:
    kind = kind_of(error)
    said = missing_rights_words(settings.database_dsn) if kind is ErrorKind.RIGHTS else None
    words = said or first_words(error)
    words = words if kind is None else f"{kind.words}: {words}"
    return fatal("database", f"{shown} cannot be used ({words})", (kind or ErrorKind.UNREACHABLE).remedy)


def _postgresql_checks(reading: PostgresqlReading | None) -> list[Check]:
    if reading is None:
        return []
    return [checks.encoding(reading.encoding), checks.sessions(reading.keeps_session)]


def _broker_checks(read: Callable[[], BrokerReading], fault: Check | None = None) -> list[Check]:
    if fault is not None:
        return [fault, skipped("maxmemory_policy", "the broker's transport cannot be loaded")]
    try:
        reading = read()
    except Exception as error:  # Clients raise errors of their own.
        remedy = "see that it runs, and that RECONCILER_BROKER_URL is right; a worker waits for it"
        away = warning("broker", f"does not answer ({first_words(error)})", remedy)
        rest = ("broker_rights", "maxmemory_policy", "persistence", "default_queue")
        return [away, *(skipped(name, "the broker does not answer") for name in rest)]
    found = [ok("broker", f"{reading.url} answers")]
    if reading.refused:
        found.append(checks.broker_rights(*reading.refused))
    if reading.policy and reading.persistence:
        found += [checks.maxmemory_policy(*reading.policy), checks.persistence(*reading.persistence)]
    return [*found, checks.default_queue(reading.default_queue, reading.why_queue_unread)]


def _backend_checks(settings: Settings, fault: Check | None) -> list[Check]:
    if settings.result_dsn is None:
        return []
    return [fault or ok("result_backend", f"{next(schemes(settings.result_dsn))} can be loaded")]


def _host_check(host: str, resolve: Callable[[], str]) -> Check:
    try:
        address = resolve()
    except (OSError, UnicodeError) as error:
        remedy = "see that RECONCILER_PLATFORM_URL is right, and that this host resolves names"
        return warning("platform_host", f"{host} cannot be resolved ({first_words(error)})", remedy)
    return ok("platform_host", f"{host} is an address" if address == host else f"{host} has the address {address}")


def _certificates_checks(settings: Settings) -> list[Check]:
    if not settings.platform_url.startswith("https:"):
        return []
    authorities = platform_authorities(settings.platform_ca_file, os.environ)
    if authorities.path is None:
        return [ok("platform_certificate", "checked by the public authorities")]
    fault = authorities_fault(authorities.path)
    if fault is None:
        named = f"{authorities.path} ({authorities.named_by})"
        return [ok("platform_certificate", f"checked by the authorities in {named}")]
    remedy = f"let {authorities.named_by} name a file of certificates in PEM form, or unset it"
    return [fatal("platform_certificate", f"{authorities.named_by} {fault} ({authorities.path})", remedy)]
