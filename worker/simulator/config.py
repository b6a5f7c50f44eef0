"""The configuration of a simulated platform: the accounts that it serves, and its settings.

Every user of the machine can see the arguments of a process, so tokens come from the environment or a file by default.
The variables and the file are those of the worker itself.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.simulator.answers import AnswerStyle
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay, Draws

_VARIABLES = ("RECONCILER_ACCOUNT_SID", "RECONCILER_AUTH_TOKEN", "RECONCILER_APP_ID")
_FILE_VARIABLE = "RECONCILER_ACCOUNTS_FILE"
_FILE_FIELDS = ("account_sid", "auth_token", "app_id")


class AccountsError(ValueError):
    """Accounts that cannot be used; the message says which and what to do, and never shows a token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """One application of one account SID. Several may share a SID, and then share its limit and its token."""

    sid: str
    auth_token: str = field(repr=False)
    app_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """What the platform knows about one SID."""

    sid: str
    auth_token: str = field(repr=False)
    app_ids: frozenset[str]


def parse_account(text: str) -> Account:
    """Read `SID:TOKEN:APPID`. Raises AccountsError where a part is missing."""
    parts = text.split(":")
    if len(parts) != 3 or not all(parts):
        raise AccountsError("an account is SID:TOKEN:APPID, three parts without a colon in them")
    return Account(sid=parts[0], auth_token=parts[1], app_id=parts[2])


def accounts_from_environment(environment: Mapping[str, str]) -> tuple[Account, ...]:
    """The accounts of RECONCILER_ACCOUNT_SID, _AUTH_TOKEN and _APP_ID, and of the TOML file RECONCILER_ACCOUNTS_FILE.

    Raises AccountsError where none is configured, one is incomplete or the file cannot be read.
    """
    sid, auth_token, app_id = values = [_from_environment(environment, name) for name in _VARIABLES]
    missing = [name for name, value in zip(_VARIABLES, values, strict=True) if not value]
    if missing and any(values):
        raise AccountsError(f"the account is incomplete: set {', '.join(missing)} too")
    accounts = [] if missing else [Account(sid=sid, auth_token=auth_token, app_id=app_id)]
    if path := environment.get(_FILE_VARIABLE):
        accounts.extend(_accounts_of_file(Path(path)))
    if not accounts:
        names = ", ".join(_VARIABLES)
        raise AccountsError(f"no account is configured: set {names}, or {_FILE_VARIABLE}, or give --account")
    return tuple(accounts)


def registry(accounts: Iterable[Account]) -> dict[str, Registered]:
    """The accounts by SID. Raises AccountsError for two tokens of one SID, or one application given twice."""
    known: dict[str, Registered] = {}
    for account in accounts:
        earlier = known.get(account.sid)
        if earlier and earlier.auth_token != account.auth_token:
            raise AccountsError(f"account SID {account.sid} is given with two different tokens")
        if any(account.app_id in other.app_ids for other in known.values()):
            raise AccountsError(f"application {account.app_id} is given twice")
        app_ids = (earlier.app_ids if earlier else frozenset()) | {account.app_id}
        known[account.sid] = Registered(sid=account.sid, auth_token=account.auth_token, app_ids=app_ids)
    return known


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatorConfig(Draws):
    """The platform's settings. Durations in seconds."""

    accounts: tuple[Account, ...]
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    version: str = "201512"
    window_seconds: float = 60.0
    queries_per_window: int = 1
    timestamp_ahead_seconds: float = 300.0
    """How far a signature's timestamp may be ahead of the platform's clock; behind it, 24 hours are documented."""
    adopt: bool = False
    """Take unknown ids for orders placed at that moment, whose truth is drawn from the seed and the id."""
    callback_delay: Delay = field(default_factory=lambda: Delay.parse("fixed:0"))
    """From an order's settling to its callback."""
    callback_tries: int = 1
    """How often a callback is pushed until it is accepted. Whether the platform repeats one is not documented."""
    answers: AnswerStyle = field(default_factory=AnswerStyle)
    faults: Faults = field(default_factory=Faults)
    record_path: Path | None = None
    """A file that every arrival is appended to, as one line of JSON, once its answer is decided."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 < self.window_seconds < math.inf or self.queries_per_window < 1:
            raise ValueError("the window must be longer than 0 s and allow at least 1 query")
        if self.callback_tries < 1:
            raise ValueError("a callback is pushed at least once")
        shares = (self.failed_share, self.stuck_share, self.lost_share, self.failed_share + self.stuck_share)
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError("shares must be from 0 to 1, and failed and stuck orders together at most 1")
        if self.delay.kind == "alternate" or self.callback_delay.kind == "alternate":
            raise ValueError("alternate is a latency; orders and callbacks take another distribution")


def _from_environment(environment: Mapping[str, str], name: str) -> str:
    """A variable's value; or, where it is not set, what the file holds that NAME_FILE names."""
    path = environment.get(f"{name}_FILE")
    return environment.get(name) or (_secret_of_file(Path(path), f"{name}_FILE") if path else "")


def _secret_of_file(path: Path, named_by: str) -> str:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        raise AccountsError(f"{named_by}: the file cannot be read: {error.__class__.__name__}") from error


def _accounts_of_file(path: Path) -> Iterable[Account]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AccountsError(f"{_FILE_VARIABLE}: {path} cannot be read: {error.__class__.__name__}") from error
    for name, table in tables.items():
        found = dict(table) if isinstance(table, dict) else {}
        if isinstance(token_file := found.get("auth_token_file"), str):
            found["auth_token"] = _secret_of_file(
                path.parent / token_file, f"{_FILE_VARIABLE}: [{name}] auth_token_file"
            )
        values = [value for value in map(found.get, _FILE_FIELDS) if isinstance(value, str) and value]
        if len(values) != len(_FILE_FIELDS):
            raise AccountsError(f"{_FILE_VARIABLE}: [{name}] needs {', '.join(_FILE_FIELDS)}, each a text")
        yield Account(sid=values[0], auth_token=values[1], app_id=values[2])
