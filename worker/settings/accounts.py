"""Check the credentials of accounts at the platform, and read the file of accounts.

Errors are `Fault`s, as in `worker.settings.addresses`. The sentence of each is worded to follow "RECONCILER_... ", and
quotes no credential.
"""

import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.adapters.text_files import SUFFIX, SecretFiles, read_secret_files, read_toml
from worker.domain.records.accounts import FailedAmount
from worker.domain.records.notifications import EndpointSettings
from worker.domain.records.sentences import Fault, Faults, Sentence, _
from worker.domain.tokens_and_sign_ins import TOKEN_RULE as CALLBACK_TOKEN_RULE
from worker.domain.tokens_and_sign_ins import read_tokens
from worker.domain.wire.fields import ID_RULE, bare_id_fault
from worker.domain.wire.query_request import Credentials
from worker.settings import notify
from worker.settings.addresses import of_form

DEFAULT_ACCOUNT = "default"
"""The account that is configured by variables. An order that names no account belongs to it too."""

SID_RULE = _("1 to 64 ASCII letters, digits, dots, dashes and underscores")
TOKEN_RULE = _("1 to 256 printable ASCII characters, no white space")
FAILED_AMOUNT_RULE = _("charged or echoed")
FILE_RULE = _(
    'a TOML file with one table per account: [NAME] and account_sid, auth_token and app_id, each a "string", and where'
    " its notifications go: notify_url with notify_secret, or notify_task; where its callbacks come in over HTTP:"
    " callback_token; what an amount beside a failure means: failed_amount, charged or echoed;"
    " auth_token_file, notify_url_file, notify_secret_file, notify_broker_url_file and"
    " callback_token_file may name files that hold these; NAME: %(rule)s",
    ID_RULE,
)

# The accepted form of a SID. A request has the SID in the path of its URL, and before the `|` of its Authorization
# header. Other characters than these would change the meaning of the request. The platform issues SIDs of 32 letters
# and digits.
_SID = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,64}")
_TOKEN = re.compile(r"[!-~]{1,256}")
_KEYS = ("account_sid", "auth_token", "app_id")
# Maps each setting whose value may be in a separate file to a placeholder. A key `SETTING_file` names the file. If the
# file cannot be read, the placeholder replaces the secret: it passes every check, so that only the fault of the file is
# reported.
_STAND_INS = {"auth_token": "-", "callback_token": "-" * 24, **notify.SECRET_KEYS}


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountsFile:
    """A file of named accounts that was read and checked."""

    path: Path
    accounts: Mapping[str, Credentials]
    """The accounts by name, in the file's order; may be empty."""
    endpoints: Mapping[str, EndpointSettings] = field(default_factory=dict)
    """The destinations of notifications, by account. An account without notifications is missing."""
    callback_tokens: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """The tokens of callbacks, by account. An account whose callbacks do not come in over HTTP is missing."""
    failed_amounts: Mapping[str, FailedAmount] = field(default_factory=dict)
    """What an amount in a failed result means, by account. An account whose table does not have this is missing."""
    warnings: tuple[Sentence, ...] = ()
    """Warnings about this file and its secret files. The accounts can be used nevertheless."""

    @classmethod
    def read(cls, path: Path) -> "AccountsFile":
        """Read a file. Raises `Fault` if the file is unreadable, and `Faults` if entries in it are wrong."""
        try:
            tables = read_toml(path)
        except Fault as fault:
            raise Fault("names a file that %(fault)s", fault.sentence) from None
        faults: list[Sentence] = []
        files: list[Path] = []
        for name, table in tables.items():
            if isinstance(table, dict):
                secrets = _put_secrets(table, path.parent)
                files += secrets.paths
                faults += (_wrong_key(name, f"{key}{SUFFIX}", fault) for key, fault in secrets.faults.items())
            faults += _table_faults(name, table)
        if faults:
            raise Faults(faults)
        accounts = {name: Credentials(**{key: table[key] for key in _KEYS}) for name, table in tables.items()}
        endpoints = {name: notify.endpoint_of(name, table) for name, table in tables.items()}
        warnings = [*mode_warnings(path), *(line for file in files for line in secret_mode_warnings(file))]
        return cls(
            path=path,
            accounts=accounts,
            endpoints={name: endpoint for name, endpoint in endpoints.items() if endpoint is not None},
            callback_tokens={
                name: read_tokens(table["callback_token"])
                for name, table in tables.items()
                if "callback_token" in table
            },
            failed_amounts={
                name: FailedAmount(table["failed_amount"]) for name, table in tables.items() if "failed_amount" in table
            },
            warnings=tuple(warnings),
        )


def account_sid(text: str) -> str:
    """Check an account SID, and return it. Raises `Fault`."""
    return of_form(_SID, text)


def auth_token(text: str) -> str:
    """Check an auth token, and return it. Raises `Fault`."""
    return of_form(_TOKEN, text)


def callback_tokens(text: str) -> str:
    """Check the tokens of callbacks, and return them unchanged. Raises `Fault`."""
    read_tokens(text)
    return text


def app_id(text: str) -> str:
    """Check an application's id, and return it. Raises `Fault`."""
    if fault := bare_id_fault(text):
        raise Fault("%(why)s", fault)
    return text


def default_account(fields: Mapping[str, Any]) -> dict[str, Credentials]:
    """The credentials of the account `default`, by its name; empty if any of its three variables is not set."""
    sid, token, app_id = (fields.get(name) for name in ("account_sid", "auth_token", "app_id"))
    if sid is None or token is None or app_id is None:
        return {}
    credentials = Credentials(account_sid=sid, auth_token=token.get_secret_value(), app_id=app_id)
    return {DEFAULT_ACCOUNT: credentials}


def conflicts(accounts: Mapping[str, Credentials]) -> Iterator[Sentence]:
    """Return a fault for each account that has the same SID and app id as an account before it.

    A callback names only its application. So a callback for one of these two accounts would match both.
    """
    seen: dict[tuple[str, str], str] = {}
    for name, credentials in accounts.items():
        first = seen.setdefault((credentials.account_sid, credentials.app_id), name)
        if first != name:
            yield _(
                "makes the accounts %(one)r and %(two)r the same: they share the account SID and the app id",
                first,
                name,
            )


def mode_warnings(path: Path, holds: str = _("auth tokens")) -> Iterator[Sentence]:
    """A warning if every user can read a file with secrets; `holds` names these. Raises OSError if there is no file."""
    if path.stat().st_mode & stat.S_IROTH:
        said = _("%(path)s holds %(what)s and can be read by every user of this machine", path, holds)
        yield _("%(what)s: %(do)s", said, _("chmod 600 %(path)s", path))


def secret_mode_warnings(path: Path) -> Iterator[Sentence]:
    """A warning if every user can read a file that contains a secret. Raises OSError if there is no file."""
    return mode_warnings(path, _("a secret"))


def _put_secrets(table: dict[str, Any], folder: Path) -> SecretFiles:
    """Replace each key of a table that names a secret file by the secret from this file.

    Relative paths, including that in `notify_ca_file`, start at `folder`.
    """
    secrets = read_secret_files(table, _STAND_INS, folder)
    for key in _STAND_INS:
        table.pop(f"{key}{SUFFIX}", None)
    table |= {key: _STAND_INS[key] for key in secrets.faults} | dict(secrets.values)
    if isinstance(certificates := table.get("notify_ca_file"), str):
        table["notify_ca_file"] = str(folder / certificates)
    return secrets


def _table_faults(name: str, table: object) -> Iterator[Sentence]:
    if not isinstance(table, dict):
        yield _("has the key %(key)s outside of any account's table", _short(name))
        return
    account = _short(name)
    if fault := bare_id_fault(name):
        yield _("has an account %(account)s whose name %(fault)s", account, fault)
    for key in _KEYS:
        if key not in table:
            yield _("has an account %(account)s that lacks %(key)s", account, key)
    for key, fault in _wrong_values(table):
        yield _wrong_key(name, key, fault)
    for key in table.keys() - _CHECKS.keys():
        yield _("has an account %(account)s with the unknown key %(key)s", account, _short(key))


def _wrong_values(table: Mapping[str, object]) -> Iterator[tuple[str, Sentence]]:
    """Each key of a table whose value is wrong, and what is wrong with it."""
    given: dict[str, object] = {}
    for key, check in _CHECKS.items():
        value = table.get(key, _ABSENT.get(key))
        try:
            if key in table and key not in _NO_TEXTS and not isinstance(value, str):
                raise Fault("is not a string")
            given[key] = check(value) if key in table else value
        except Fault as wrong:
            why = wrong.sentence
            accepted = _("%(why)s; accepted: %(rule)s", why, CALLBACK_TOKEN_RULE)
            yield key, accepted if key == "callback_token" else why
        else:
            if fault := notify.combination_fault(key, given, str):
                yield key, fault


def _failed_amount(value: object) -> object:
    if value not in list(FailedAmount):
        raise Fault("is not %(rule)s", FAILED_AMOUNT_RULE)
    return value


_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "account_sid": account_sid,
    "auth_token": auth_token,
    "app_id": app_id,
    **notify.CHECKS,
    "callback_token": callback_tokens,
    "failed_amount": _failed_amount,
}
_NO_TEXTS = ("notify_allow_http", "failed_amount")
_ABSENT: Mapping[str, object] = {"notify_allow_http": False}


def _wrong_key(name: str, key: str, fault: Sentence) -> Sentence:
    return _("has an account %(account)s whose %(key)s %(fault)s", _short(name), key, fault)


def _short(name: str) -> str:
    return repr(name if len(name) <= 64 else name[:64] + "...")
