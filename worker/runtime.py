"""The parts of one process, put together from the settings: made after the fork, closed at its end."""

import os
from collections.abc import Mapping
from types import MappingProxyType

from worker.adapters.clock import Clock, HostClock
from worker.adapters.database.engine import Database
from worker.adapters.database.grants import Grants, SlotKey
from worker.adapters.database.write_back import WriteBack
from worker.adapters.platform.client import PlatformClient
from worker.domain.rules import Rules
from worker.intake import Intake
from worker.reconcile import Reconciler
from worker.settings import Settings, load_settings
from worker.ticks import Ticks

_TICKS_MISSED = 10
_SHORTEST_PATIENCE_SECONDS = 2.0


def rules_of(settings: Settings) -> Rules:
    """The settings that decisions depend on."""
    return Rules(
        window_seconds=settings.query_window_seconds,
        margin_seconds=settings.query_margin_seconds,
        deadline_seconds=settings.request_deadline_seconds,
        slots=settings.queries_per_window,
        batch_size=settings.batch_size,
        grace_seconds=settings.callback_grace_seconds,
        unresolved_after_seconds=settings.unresolved_after_seconds,
    )


def app_ids_of(settings: Settings) -> Mapping[str, str]:
    """The configured accounts, with the app id of each."""
    return MappingProxyType({name: account.app_id for name, account in settings.accounts.items()})


def slots_of(settings: Settings) -> list[SlotKey]:
    """The slots of every account SID: accounts that share a SID share its slots."""
    by_sid: dict[str, dict[str, str]] = {}
    for name, account in sorted(settings.accounts.items()):
        by_sid.setdefault(account.account_sid, {})[name] = account.app_id
    return [
        SlotKey(account_sid=sid, number=number, app_ids=MappingProxyType(app_ids))
        for sid, app_ids in by_sid.items()
        for number in range(settings.queries_per_window)
    ]


class Runtime:
    """What the tasks of one process work with. `clock` is given by a test that plays another host."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        clock = clock or HostClock()
        rules = rules_of(settings)
        self.database = Database(settings.database_dsn, idle_transaction_seconds=rules.deadline_seconds)
        self.intake = Intake(self.database, rules, app_ids_of(settings))
        grants = Grants(self.database, clock, rules)
        self.reconciler = Reconciler(
            grants=grants,
            client=PlatformClient(
                base_url=settings.platform_url,
                version=settings.platform_version,
                bracketed_ids=settings.platform_bracketed_ids,
                timezone=settings.platform_zone,
                connect_timeout=settings.connect_timeout_seconds,
                deadline=settings.request_deadline_seconds,
                clock=clock,
            ),
            write_back=WriteBack(self.database, clock, rules),
            clock=clock,
            credentials=settings.accounts,
            match_callbacks=self.intake.match_callbacks,
        )
        self.ticks = Ticks(
            grants=grants,
            slots=slots_of(settings),
            run_pass=self.reconciler.reconcile,
            each_tick=self.intake.match_some_callbacks,
            patience_seconds=max(_SHORTEST_PATIENCE_SECONDS, _TICKS_MISSED * settings.tick_seconds),
        )

    def close(self) -> None:
        """Wait for the passes that are under way, then close every connection."""
        self.ticks.close()
        self.database.close()


_current: tuple[int, Runtime] | None = None


def current() -> Runtime:
    """This process's runtime, made on first use: a child that a pool forks later must share no connection with it."""
    global _current
    if _current is None or _current[0] != os.getpid():
        _current = (os.getpid(), Runtime(load_settings()))
    return _current[1]


def close_current() -> None:
    """Close this process's runtime, if it has one."""
    global _current
    if _current is not None and _current[0] == os.getpid():
        _current[1].close()
    _current = None
