"""The settings, the database and the accounts of a command."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, overload

import typer

from worker.adapters.log import configure_logging
from worker.adapters.safe_text import Redactor, first_line, one_line
from worker.cli.app import CommandError
from worker.cli.output import say, show_times_in, time_text, warn
from worker.cli.times import read_time
from worker.database.engine import missing_file, shown_url
from worker.database.error_kinds import ErrorKind, kind_of
from worker.database.revisions import NotAtHead, check_at_head
from worker.database.transactions import Database, is_contention
from worker.domain.records.sentences import _
from worker.settings import Settings, load_settings
from worker.settings.reading import hint_on_default
from worker.views.orders import has_orders, read_deleted_before

# How long the database may take to answer: enough for a summary of millions of orders, but a command that hangs must
# end.
_ANSWER_SECONDS = 300.0
# The longest idle time within a transaction. When it is over, the database ends the connection.
_IDLE_SECONDS = 30.0
_PAUSE_SECONDS = 3600.0
_WEB_PACKAGES = ("flask", "gunicorn", "markupsafe", "prometheus_client", "werkzeug")


def account_option(help_: str) -> Any:
    """The option that names one or several accounts."""
    return typer.Option("--account", help=help_)


Accounts = Annotated[list[str] | None, account_option("Only this account; may be repeated.")]
OneAccount = Annotated[str | None, account_option("Only this account.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """The settings and the open database of a command."""

    settings: Settings
    database: Database

    def now(self) -> datetime:
        """The time by the database's clock."""
        with self.database.read() as connection:
            return self.database.now(connection)

    @overload
    def time_of(self, option: str, value: str) -> datetime: ...
    @overload
    def time_of(self, option: str, value: str | None) -> datetime | None: ...
    def time_of(self, option: str, value: str | None) -> datetime | None:
        """The time that an option names; None if the option is not given. Raises WrongUse if `value` is not a time."""
        return None if value is None else read_time(option, value, self.now(), self.settings.zone)


def read_settings(*, needs_accounts: bool = False) -> Settings:
    """Read the settings and print warnings about them. Raises SettingsError if they cannot be used."""
    settings = load_settings()
    if needs_accounts:
        settings.require_accounts()
    # Only errors are logged: log lines of operations would come between the lines of a table.
    configure_logging(
        logging.getLevelName(logging.ERROR), settings.log_format, zone=settings.zone, secrets=settings.secrets
    )
    shown = partial(one_line, redactor=Redactor(settings.secrets))
    for warning in settings.warnings:
        warn("%(what)s", warning.with_each(shown))
    return settings


def say_deleted(opened: Session, since: datetime | None = None) -> None:
    """Print on standard error the time before which orders were deleted. Print nothing if `since`, the start of the
    output, is not before that time. Must be called after all orders are read, because orders may be deleted during the
    reading."""
    with opened.database.read() as connection:
        before = read_deleted_before(connection)
    if before is not None and (since is None or since < before):
        say("Orders from before %(time)s were deleted.", time_text(before), err=True)


@contextmanager
def web_packages() -> Iterator[None]:
    """Raise CommandError if an import in the block lacks a package that only the extra `web` installs."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _WEB_PACKAGES:
            raise
        raise CommandError(
            "the package %(package)s is not installed: pip install 'recharge-reconciler[%(extra)s]'", error.name, "web"
        ) from None


def check_database(settings: Settings) -> None:
    """Raise CommandError if the database does not exist, cannot be reached, or is not at this release's revision."""
    redactor = Redactor(settings.secrets)
    shown, hint = redactor.text(shown_url(settings.database_dsn)), hint_on_default(settings, "database_url")
    with errors_in_one_line(settings):
        missing = missing_file(settings.database_dsn)
        if missing is not None:
            raise CommandError(
                "there is no database at %(path)s (%(url)s) yet: run `reconciler migrate`%(hint)s", missing, shown, hint
            )
        try:
            check_at_head(settings.database_dsn)
        except NotAtHead as error:
            why = error.sentence
            raise CommandError("%(what)s (RECONCILER_DATABASE_URL is %(url)s)%(hint)s", why, shown, hint) from None


@contextmanager
def errors_in_one_line(settings: Settings) -> Iterator[None]:
    """Turn errors of the database into CommandError."""
    try:
        yield
    except Exception as error:
        kind = kind_of(error) or (ErrorKind.CONTENDED if is_contention(error) else None)
        if kind is None:
            raise
        raise CommandError("%(what)s (%(why)s): %(do)s", kind.words, words_of(error, settings), kind.remedy) from None


def words_of(error: Exception, settings: Settings) -> str:
    """The first line of a database's error, without secrets."""
    return first_line(error, Redactor(settings.secrets))


def require_configured(settings: Settings, accounts: Collection[str]) -> None:
    """Raise CommandError for an account that the settings do not name."""
    for name in accounts:
        if name not in settings.accounts:
            known = ", ".join(settings.accounts) or _("none")
            raise CommandError("there is no account %(name)s; the settings name: %(names)s", one_line(name), known)


def require_known(opened: Session, accounts: Collection[str]) -> None:
    """Raise CommandError for an account that is not in the settings and has neither a state nor orders.

    An account that was removed from the settings may still have orders that a person wants to see.
    """
    unknown = [name for name in accounts if name not in opened.settings.accounts]
    if unknown:
        with opened.database.snapshot() as connection:
            unknown = [name for name in unknown if not has_orders(connection, name)]
    require_configured(opened.settings, unknown)


@contextmanager
def session(
    *,
    needs_accounts: bool = False,
    utc: bool = False,
    answer_seconds: float = _ANSWER_SECONDS,
    streams: bool = False,
) -> Iterator[Session]:
    """Open the settings and the database, which must be at this release's revision. From now on times are shown in
    RECONCILER_TIMEZONE.

    With `utc`, times are shown in UTC instead, for sentences in JSON. With `streams`, the database allows long idle
    times: rows are printed while they are read, and the program that reads the output may pause.

    Raises SettingsError if the settings cannot be used, and CommandError if the database cannot.
    """
    settings = read_settings(needs_accounts=needs_accounts)
    show_times_in(UTC if utc else settings.zone)
    check_database(settings)
    with errors_in_one_line(settings):
        database = Database(
            settings.database_dsn,
            answer_seconds=answer_seconds,
            idle_transaction_seconds=_PAUSE_SECONDS if streams else _IDLE_SECONDS,
            pool_size=1,
        )
        try:
            yield Session(settings=settings, database=database)
        finally:
            database.close()
