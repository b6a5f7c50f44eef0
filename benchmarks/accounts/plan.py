"""What is to be measured: so many accounts, all durations scaled alike."""

from dataclasses import dataclass

REAL_WINDOW = 60.0
"""Seconds. The durations of the next line are the defaults of the settings, too."""
_MARGIN, _DEADLINE, _CONNECT, _TICK = 0.5, 30.0, 5.0, 1.0
# Seconds until the platform answers.
_LATENCY = 0.3
WINDOWS = 3
"""How often each account is queried after its first query."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """One account, with a SID of its own."""

    name: str
    sid: str
    token: str
    app_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One run."""

    accounts: int
    hanging: int = 0
    """So many of the accounts get no answer, ever."""
    workers: int = 1
    """`celery worker` commands, each with processes of its own."""
    processes: int = 2
    """Of each worker."""
    window_seconds: float = REAL_WINDOW

    @property
    def scale(self) -> float:
        """What every duration is multiplied by."""
        return self.window_seconds / REAL_WINDOW

    @property
    def stands_for(self) -> int:
        """The accounts that, queried once in 60 s each, make as many queries a second."""
        return round(self.accounts / self.scale)

    @property
    def backlog(self) -> int:
        """Orders of each account: more than are polled."""
        return (WINDOWS + 2) * 100

    @property
    def latency(self) -> float:
        """Seconds until the platform answers, scaled."""
        return _LATENCY * self.scale

    @property
    def settings(self) -> dict[str, float]:
        """The worker's settings, by their names in the contract, without prefix."""
        return {
            "query_window_seconds": self.window_seconds,
            "query_margin_seconds": _MARGIN * self.scale,
            "request_deadline_seconds": _DEADLINE * self.scale,
            "connect_timeout_seconds": _CONNECT * self.scale,
            "tick_seconds": _TICK * self.scale,
        }

    def all_accounts(self) -> list[Account]:
        """The accounts, those that hang first."""
        return [
            Account(name=f"account-{n:05d}", sid=f"{n:032d}", token=f"{n:016x}{n:016x}", app_id=f"app-{n:05d}")
            for n in range(1, self.accounts + 1)
        ]

    def busy_accounts(self) -> list[Account]:
        """Those whose share of the budget is measured."""
        return self.all_accounts()[self.hanging :]

    def hanging_accounts(self) -> list[Account]:
        """Those that get no answer."""
        return self.all_accounts()[: self.hanging]
