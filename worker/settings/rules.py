"""Derive rules, accounts, slots and thresholds from the settings, for decisions."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from worker.domain.monitoring.findings import Thresholds
from worker.domain.monitoring.worker_processes import tick_allowance
from worker.domain.records.accounts import Rules, SlotKey
from worker.settings.model import Settings


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
        echoing_accounts=settings.echoing_accounts,
    )


def app_ids_of(settings: Settings) -> Mapping[str, str]:
    """The app id of each configured account."""
    return MappingProxyType({name: account.app_id for name, account in settings.accounts.items()})


def sids_of(settings: Settings) -> Mapping[str, str]:
    """The account SID of each configured account."""
    return MappingProxyType({name: account.account_sid for name, account in settings.accounts.items()})


def digest_of_credentials(settings: Settings) -> str:
    """A digest of the credentials of all accounts. It is 16 characters long."""
    lines = (
        f"{name}\n{one.account_sid}\n{one.auth_token}\n{one.app_id}" for name, one in sorted(settings.accounts.items())
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def accounts_by_sid(settings: Settings) -> dict[str, list[str]]:
    """The names of the configured accounts, by their account SID."""
    names: dict[str, list[str]] = {}
    for name, sid in sids_of(settings).items():
        names.setdefault(sid, []).append(name)
    return names


def slots_of(settings: Settings) -> list[SlotKey]:
    """The slots of every account SID. Accounts that share a SID share its slots."""
    by_sid: dict[str, dict[str, str]] = {}
    for name, account in sorted(settings.accounts.items()):
        by_sid.setdefault(account.account_sid, {})[name] = account.app_id
    return [
        SlotKey(account_sid=sid, number=number, app_ids=MappingProxyType(app_ids))
        for sid, app_ids in by_sid.items()
        for number in range(settings.queries_per_window)
    ]


def thresholds_of(settings: Settings) -> Thresholds:
    """The thresholds from which on reports say that something is wrong."""
    return Thresholds(
        tick_seconds=tick_allowance(settings.check_tick_seconds, settings.tick_seconds),
        backlog_windows=settings.check_backlog_windows,
        attention_orders=settings.check_attention_orders,
        notify_seconds=settings.check_notify_seconds,
    )
