"""Hosts that are cut off from the platform: which process takes a slot first, and what a failure says about its host.

A host may have a network of its own, and its address may be missing from an allowlist. A host that is cut off lets the
others go first, since each query that fails there costs an account a window.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf
from zlib import crc32

from worker.domain.queries.after_failure import Blame, QueryFailureKind, failure_kind_of
from worker.domain.records.accounts import AccountState, Opening, Rules
from worker.domain.records.incoming import HttpError, QueryError
from worker.domain.records.queries import Query
from worker.domain.records.watching import NOT_CONNECTED, CutOff, PollingProcess

A_TICK = 0.000_001
"""A patience, in seconds, that is over by the next tick, however short ticks are."""
# A cut-off host probes after 15 windows, then after 30, 60, 120 and 240.
_PROBE_WINDOWS = 15
_MOST_DOUBLINGS = 4
_REFUSALS_BEFORE_CUT_OFF = 3
# Another host takes the account's next two slots. Suspects get one of any two slots, so the refused orders are polled
# by a host that is perhaps not refused.
_HESITATION_WINDOWS = 2.5
_REFUSING_STATUSES = (401, 403)
_LONGEST_WHY = 255


class CutOffHosts:
    """What is known about all hosts at `now`, by the database's clock."""

    def __init__(self, rows: Iterable[CutOff], now: datetime, rules: Rules) -> None:
        self._now, self._rules = now, rules
        self._rows = {(row.host, row.account): row for row in rows}
        self._not_connected = {host for host, account in self._rows if account == NOT_CONNECTED}
        refusals = [row for row in self._rows.values() if row.account != NOT_CONNECTED and row.since is not None]
        counts = Counter(row.host for row in refusals if not row.is_answered)
        self.refused_for_all = {host for host, count in counts.items() if count > 1}
        """Hosts that were refused for two accounts, without an answer in between. They count as refused for all."""
        self._refused = {(row.host, row.account) for row in refusals}
        due = [row for row in refusals if self._is_due(row)]
        waiting = [row for row in refusals if row not in due]
        tried = {row.host for row in waiting if now < self._last_try(row) + rules.windows(_PROBE_WINDOWS)}
        self._probing = {row.host for row in due} - tried
        """Hosts that are due for a probe, and have not probed with any account for 15 windows."""

    def is_connected(self, host: str) -> bool:
        """Whether a host can connect to the platform, as far as is known."""
        return host not in self._not_connected

    def refused_elsewhere(self, own: PollingProcess) -> set[str]:
        """The accounts of a process for which other hosts were refused, but not its own host."""
        refused = {account for _, account in self._refused} & own.accounts
        return {one for one in refused if self.is_connected(own.host) and not self._is_refused(own.host, [one])}

    def patience(self, opening: Opening, own: str, host: str, processes: Collection[PollingProcess]) -> float:
        """Seconds for which a slot must be open before the process `own` on this host takes it; 0 if it goes first.

        Infinite if the host is not connected. If several processes may go first, the opening's name selects one of
        them: after each query, another one may be first. A process that is not in `processes` goes first only if no
        process there has one of the accounts.
        """
        if not self.is_connected(host):
            return inf
        sharing = self._connected(processes, opening.slot.app_ids)
        # An account that is refused everywhere says nothing about a host.
        accounts = self._polled_by_some(opening.slot.app_ids, sharing) or opening.slot.app_ids
        is_refused, longest = self._is_refused(host, accounts), self._rules.window_seconds / 2
        well = [one for one in sharing if not self._is_refused(one.host, accounts)]
        if well:
            # A probe is one query, so a host probes at one slot only.
            may_probe = opening.slot.number == 0
            probing = [one for one in sharing if may_probe and self._has_probe(one.host, accounts)]
            first = probing or [one for one in well if not self._hesitates(one.host, accounts)] or well
        else:
            # If all are refused, all take part as usual.
            first = sharing
        names = sorted(one.name for one in first)
        if names and names[crc32(opening.name.encode()) % len(names)] == own:
            return 0.0
        if is_refused and (well or not sharing):
            # A process that sees no others does not know them yet.
            return longest
        return A_TICK if sharing else 0.0

    def after_failure(
        self, error: QueryError, query: Query, state: AccountState, host: str, processes: Collection[PollingProcess]
    ) -> tuple[CutOff | None, Blame]:
        """Return the row that a failed query of this host leads to, and whether the host is to blame.

        The row is None if none changes. `state` is the account's state before the failure.
        """
        kind, account, why = failure_kind_of(error), query.account, str(error)[:_LONGEST_WHY]
        if kind is QueryFailureKind.UNREACHABLE:
            begun = CutOff(host=host, since=self._now, why=why, probe_at=self._now)
            return begun if self.is_connected(host) else None, Blame.NONE
        # Retry-After asks for a wait. A host that receives it must not pass the account on to the other hosts.
        is_certain = isinstance(error, HttpError) and error.http_status in _REFUSING_STATUSES and not error.retry_after
        is_certain |= kind is QueryFailureKind.CONFIGURATION
        is_refusal = is_certain or kind is QueryFailureKind.REFUSED
        answers = state.answered_by_either
        row = before = self._rows.get((host, account)) or CutOff(
            host=host, account=account, probe_at=self._now, answers_before=answers
        )
        if row.since is not None:
            # Any failure counts as a try. Queries that were under way together are one try.
            tried = replace(row, tries=row.tries + 1, answers_before=answers)
            row = self._probed_later(tried) if self._is_due(row) else row
        elif is_certain or (is_refusal and not all(order.lane.is_suspect for order in query.orders)):
            row = self._refused_again(row, state, is_certain=is_certain)
        else:
            # The platform may refuse a suspect order, and not the host.
            return None, Blame.NONE
        if not is_refusal:
            return row, Blame.NONE
        row = replace(row, why=why, is_answered=False)
        others = (one.host for one in self._connected(processes, [account]) if one.host != host)
        is_refused = all(self._is_refused(one, [account]) for one in others)
        # Another host may run, but get no answer either. So this host is to blame for its first refusal, and later only
        # if there was an answer since. Queries that were under way together are one refusal.
        is_first = before.since is None and before.tries == 0
        is_expected = is_first or (before.since is not None and query.sent_at <= self._last_try(before))
        if is_refused or not (is_expected or answers > before.answers_before):
            return row, Blame.NONE
        return row, Blame.DOUBTED if row.since is None else Blame.REFUSED

    def _refused_again(self, row: CutOff, state: AccountState, *, is_certain: bool) -> CutOff:
        tries = row.tries + 1
        # An answer since then came from another host, because an answer to this host deletes the row.
        is_of_host = tries >= _REFUSALS_BEFORE_CUT_OFF and state.answered_by_either > row.answers_before
        if is_certain or is_of_host or row.host in self.refused_for_all:
            return self._probed_later(replace(row, since=self._now, tries=0))
        return replace(row, tries=tries, probe_at=self._now + self._rules.windows(_HESITATION_WINDOWS))

    def _probed_later(self, row: CutOff) -> CutOff:
        return replace(row, probe_at=self._now + self._until_probe(row))

    def _last_try(self, row: CutOff) -> datetime:
        return row.probe_at - self._until_probe(row)

    def _until_probe(self, row: CutOff) -> timedelta:
        return self._rules.windows(_PROBE_WINDOWS * 2.0 ** min(row.tries, _MOST_DOUBLINGS))

    def _polled_by_some(self, accounts: Collection[str], processes: Collection[PollingProcess]) -> set[str]:
        """The accounts that at least one process can poll, because its host is not refused for them."""
        return {
            account
            for account in accounts
            if any(account in one.accounts and not self._is_refused(one.host, [account]) for one in processes)
        }

    def _connected(self, processes: Iterable[PollingProcess], accounts: Collection[str]) -> list[PollingProcess]:
        """The processes on connected hosts that have one of these accounts."""
        return [one for one in processes if self.is_connected(one.host) and not one.accounts.isdisjoint(accounts)]

    def _is_refused(self, host: str, accounts: Collection[str]) -> bool:
        return host in self.refused_for_all or any((host, account) in self._refused for account in accounts)

    def _hesitates(self, host: str, accounts: Collection[str]) -> bool:
        """Whether the host was refused a moment ago. That does not prove yet that the platform refuses the host."""
        rows = (self._rows.get((host, account)) for account in accounts)
        return any(row.since is None and not self._is_due(row) for row in rows if row is not None)

    def _has_probe(self, host: str, accounts: Collection[str]) -> bool:
        """Whether the host probes at a slot.

        If the host was refused for some of the slot's accounts, all of these must be due for a probe. If one were
        enough, it might have nothing to poll, and each query of the others would be a probe. A host that is refused for
        all accounts probes with an account that it was not refused for.
        """
        if own := [(host, account) for account in accounts if (host, account) in self._refused]:
            return all(self._is_due(self._rows[one]) for one in own)
        return host in self.refused_for_all and host in self._probing

    def _is_due(self, row: CutOff) -> bool:
        longest = self._now + self._rules.windows(_PROBE_WINDOWS * 2.0**_MOST_DOUBLINGS)
        # A time further ahead means that a clock was set back since.
        return not self._now < row.probe_at <= longest
