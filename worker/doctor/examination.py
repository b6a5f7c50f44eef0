"""Read the state of the servers, run the checks, and combine their findings."""

from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import urlsplit

from worker.adapters.log import VERSION
from worker.adapters.safe_text import Redactor, first_words
from worker.database.engine import shown_url
from worker.database.error_kinds import ErrorKind, kind_of
from worker.doctor import checks
from worker.doctor.files_and_hosts import (
    console_check,
    endpoint_checks,
    host_check,
    hosts_of,
    shadow,
)
from worker.doctor.finding import Check, fatal, ok, skipped, warning
from worker.doctor.readings import (
    BrokerReading,
    DatabaseReading,
    NoDatabaseFile,
    read_broker,
    read_database,
    resolve,
    start_reading,
)
from worker.domain.records.sentences import Sentence, _
from worker.settings import Settings, SettingsError
from worker.settings.addresses import is_loopback
from worker.settings.reading import hint_on_default
from worker.words.sentences import sentence_of

_FIX_SETTING = _("fix it in the environment or in .env")
_REPLY_SECONDS = 5.0
_DATABASE_SECONDS = 15.0
_BROKER_SECONDS = 10.0
_RESOLVER_SECONDS = 5.0
# Shorter than for a person's `reconciler doctor`, because a worker that is ready must start its work soon.
_REPLY_SECONDS_AT_START = 1.0


def examine(settings: Settings) -> list[Check]:
    """Run every check. Takes about 15 seconds at most, and sends nothing to the platform."""
    host = urlsplit(settings.platform_url).hostname or ""
    # Start all readings at the same time, because a person waits for the result.
    database = start_reading(lambda: _read_database(settings), seconds=_DATABASE_SECONDS)
    broker = start_reading(lambda: read_broker(settings.broker_dsn, seconds=_REPLY_SECONDS), seconds=_BROKER_SECONDS)
    addresses = {
        one: start_reading(partial(resolve, one), seconds=_RESOLVER_SECONDS)
        for one in {host, *hosts_of(settings.endpoints)}
    }
    return _shown(
        settings,
        [
            *_settings_checks(settings),
            *filter(None, [shadow()]),
            *_credentials_checks(settings),
            *_database_checks(settings, database),
            *_running_checks(database),
            *_broker_checks(broker),
            host_check(host, addresses[host]),
            *endpoint_checks(settings.endpoints, addresses),
            console_check(settings.users_file),
        ],
    )


def examine_unreadable(error: SettingsError) -> list[Check]:
    """The findings if the settings themselves are wrong."""
    rest = ("credentials", "database", "broker", "platform_host")
    return [
        *(fatal("settings", fault, _FIX_SETTING) for fault in error.faults),
        *(skipped(name, "the settings cannot be used") for name in rest),
    ]


def examine_before_start(settings: Settings) -> list[Check]:
    """Run the checks that can prevent a worker's start. The values of the settings were checked when they were read."""
    database = _database_checks(settings, lambda: _read_database(settings))
    lasting = [check for check in database if check.name != checks.WRITES]
    return _shown(settings, [*_credentials_checks(settings), *lasting])


def examine_running(settings: Settings) -> list[Check]:
    """Run the checks that a worker makes once it is ready. They are quick, and only about the broker."""
    broker = _broker_checks(lambda: read_broker(settings.broker_dsn, seconds=_REPLY_SECONDS_AT_START))
    return _shown(settings, broker)


def _shown(settings: Settings, found: list[Check]) -> list[Check]:
    redactor = Redactor(settings.secrets)
    return [check.shown_with(redactor) for check in found]


def _settings_checks(settings: Settings) -> list[Check]:
    if not settings.warnings:
        return [ok("settings", "each has a value that is accepted")]
    return [warning("settings", *_parted(one)) for one in settings.warnings]


def _parted(said: Sentence) -> Sequence[Sentence]:
    """The two parts of a message: what is wrong, and the remedy."""
    return said.parts if len(said.parts) == 2 else (said, _FIX_SETTING)


def _credentials_checks(settings: Settings) -> list[Check]:
    try:
        accounts = settings.require_accounts()
    except SettingsError as error:
        return [fatal("credentials", *_parted(error.faults[0]))]
    return checks.credentials(accounts, are_platforms=not is_loopback(settings.platform_url))


def _read_database(settings: Settings) -> DatabaseReading:
    sids = {account.account_sid for account in settings.accounts.values()}
    return read_database(settings.database_dsn, sids=sids, slots_per_sid=settings.queries_per_window)


def _database_checks(settings: Settings, read: Callable[[], DatabaseReading]) -> list[Check]:
    shown = shown_url(settings.database_dsn)
    try:
        reading = read()
    except NoDatabaseFile as error:
        hint = hint_on_default(settings, "database_url")
        remedy = _("run `reconciler migrate`%(hint)s", hint)
        fault = fatal("database", _("%(what)s (%(why)s)", error.sentence, shown), remedy)
    except Exception as error:  # Drivers raise their own errors.
        fault = _unusable(shown, error)
    else:
        return _checks_of(settings, reading, shown)
    rest = ("database_revision", "query_window", "database_clock")
    return [fault, *(skipped(name, "the database cannot be used") for name in rest)]


def _checks_of(settings: Settings, reading: DatabaseReading, shown: str) -> list[Check]:
    behind, postgresql = reading.fault_of_revision, reading.server.postgresql
    at_head = ok("database_revision", "at head")
    found = [
        ok("database", "%(url)s answers: %(version)s", shown, reading.server.version),
        at_head if behind is None else fatal("database_revision", *_parted(behind)),
    ]
    # A SQLite database is a file, which has no roles.
    if not shown.startswith("sqlite"):
        unread = skipped("database_rights", "the database is not at head")
        found.append(unread if reading.rights is None else checks.rights(reading.rights))
    found += [fatal(checks.WRITES, sentence_of(one), ErrorKind.FULL.remedy) for one in reading.full_disk]
    if behind is None:
        found.append(checks.window(settings.query_window_seconds, reading.windows, settings.accounts))
    else:
        found.append(skipped("query_window", "the database is not at head"))
    if postgresql is not None:
        found += [checks.encoding(postgresql.encoding), checks.sessions(postgresql.keeps_session)]
    return [*found, checks.clock(reading.server.clock_ahead_seconds), *checks.durability(reading.server.settings)]


def _running_checks(read: Callable[[], DatabaseReading]) -> list[Check]:
    """Check the database's identity and the workers' versions.

    These checks do not run before a worker's start. If the slots were written in another database, the worker waits by
    itself. And the first worker of a new version always differs from the workers that still run.
    """
    try:
        reading = read()
    except Exception:  # The database's own checks report this error.
        return [checks.identity(None), checks.versions(VERSION, None)]
    return [checks.identity(reading.changes), checks.versions(VERSION, reading.workers)]


def _unusable(shown: str, error: Exception) -> Check:
    kind = kind_of(error)
    words = first_words(error)
    why = words if kind is None else _("%(what)s: %(reason)s", kind.words, words)
    remedy = (kind or ErrorKind.UNREACHABLE).remedy
    return fatal("database", _("%(url)s cannot be used (%(why)s)", shown, why), remedy)


def _broker_checks(read: Callable[[], BrokerReading]) -> list[Check]:
    try:
        reading = read()
    except Exception as error:  # Clients raise their own errors.
        remedy = _("see that it runs, and that RECONCILER_BROKER_URL is right; a worker waits for it")
        away = warning("broker", _("does not answer (%(why)s)", first_words(error)), remedy)
        return [away, *(skipped(name, "the broker does not answer") for name in checks.BROKER)]
    found = [checks.of_broker(name, *reply) for name, reply in reading.replies.items()]
    return [ok("broker", "%(url)s answers", reading.url), *found]
