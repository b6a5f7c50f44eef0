"""Which pauses every page announces: those with an end, that hold or are planned. A pause without one may hold for
good."""

from collections.abc import Iterable
from datetime import datetime

from worker.domain.records.accounts import AccountState, Pause


def announced_pauses(states: Iterable[AccountState], now: datetime) -> list[tuple[Pause, list[str]]]:
    """Each such pause with its accounts, the earliest first. Accounts that were paused in one act are together."""
    found: dict[Pause, list[str]] = {}
    for state in states:
        for one in (state.pause(now), state.planned_pause(now)):
            if one is not None and one.paused_until is not None:
                found.setdefault(one, []).append(state.account)
    return sorted(found.items(), key=lambda item: item[0].paused_at)
