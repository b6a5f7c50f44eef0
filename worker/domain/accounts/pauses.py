"""Pauses of accounts: what an operator begins, plans, ends and cancels, and which of them every page announces."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.accounts.back_off import end_wait, restart_stepped_backoff
from worker.domain.records.accounts import AccountState, Pause
from worker.domain.records.acts import Act
from worker.domain.records.coded_texts import TextCode

MOST_DAYS_AHEAD = 30
"""How many days ahead a pause may end: it is shown on every page until then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """An account before and after somebody has resumed it: its pause and its back-off have ended, or some of it."""

    before: AccountState
    after: AccountState
    now: datetime
    """By the database's clock."""

    @property
    def ended_back_off(self) -> datetime | None:
        """The end of a back-off that lasts no longer, or shorter; None if there was none that could be ended."""
        return None if self.after.backoff_until == self.before.backoff_until else self.before.backoff_until

    @property
    def waits_until(self) -> datetime | None:
        """Until when the account backs off all the same, because the platform asked for it."""
        return self.after.backoff_until if self.after.is_backed_off(self.now) else None

    @property
    def is_resumed(self) -> bool:
        """Whether there was anything to end; else nothing is recorded."""
        return self.before.is_paused(self.now) or self.ended_back_off is not None


def pause_fault(begins: datetime | None, ends: datetime, now: datetime) -> TextCode | None:
    """Why a pause cannot begin at one time, or now with None, and end at another; None if it can."""
    if ends <= now:
        return TextCode.PAUSE_IS_OVER
    if begins is not None and ends <= begins:
        return TextCode.PAUSE_ENDS_FIRST
    return TextCode.PAUSE_TOO_FAR_AHEAD if ends - now > timedelta(days=MOST_DAYS_AHEAD) else None


def pause(state: AccountState, act: Act, until: datetime | None, begins: datetime | None = None) -> AccountState:
    """The account with one more pause, from a time on or, with None, from now on; `until` None: an operator ends it.

    A pause from now on replaces what was paused by hand, its end as well. A pause with a begin replaces nothing. It is
    on at once if its begin has passed. Pauses that have ended are dropped, and one that is the same but for its act.
    """
    added = Pause(
        paused_at=begins or act.now,
        paused_until=until,
        paused_by=act.actor,
        pause_reason=act.reason,
        act_key=act.key,
        is_planned=begins is not None,
    )
    others = (one for one in state.lasting_pauses(act.now) if replace(one, act_key=act.key) != added)
    kept = [one for one in others if one.is_planned or begins is not None]
    return replace(state, pauses=(*kept, added))


def resume(state: AccountState, now: datetime) -> Resumed:
    """End all pauses that are on, and a back-off; what the platform asked for is waited for all the same. Plans
    stay."""
    before = restart_stepped_backoff(state, now)
    after = replace(before, pauses=tuple(before.planned_pauses(now)))
    return Resumed(before=before, after=end_wait(after, now), now=now)


def without_pauses(state: AccountState, cancelled: Collection[Pause]) -> AccountState:
    """The account without these of its pauses."""
    return replace(state, pauses=tuple(one for one in state.pauses if one not in cancelled))


def announced_pauses(states: Iterable[AccountState], now: datetime) -> list[tuple[Pause, list[str]]]:
    """Each pause with an end that is on or is the next plan of an account, with its accounts; the earliest comes first.
    A pause without an end may stay for good, so it is not announced. Accounts that were paused in one act are together.
    """
    found: defaultdict[Pause, list[str]] = defaultdict(list)
    announced: set[Pause] = set()
    for state in states:
        on, plans = state.pauses_on(now), state.planned_pauses(now)
        announced.update(one for one in (*on, *plans[:1]) if one.paused_until is not None)
        for one in (*on, *plans):
            found[one].append(state.account)
    return sorted(((one, found[one]) for one in announced), key=lambda item: (item[0].paused_at, item[1]))
