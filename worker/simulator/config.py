"""The configuration of a simulated platform: the accounts that it serves, and its settings."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from worker.simulator.faults import Faults
from worker.simulator.orders import Delay, Draws


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
    """Read `SID:TOKEN:APPID`. Raises ValueError where a part is missing."""
    parts = text.split(":")
    if len(parts) != 3 or not all(parts):
        raise ValueError("an account is SID:TOKEN:APPID, three parts without a colon in them")
    return Account(sid=parts[0], auth_token=parts[1], app_id=parts[2])


def registry(accounts: Iterable[Account]) -> dict[str, Registered]:
    """The accounts by SID. Raises ValueError for two tokens of one SID, or one application given twice."""
    known: dict[str, Registered] = {}
    for account in accounts:
        earlier = known.get(account.sid)
        if earlier and earlier.auth_token != account.auth_token:
            raise ValueError(f"account SID {account.sid} is given with two different tokens")
        if any(account.app_id in other.app_ids for other in known.values()):
            raise ValueError(f"application {account.app_id} is given twice")
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
