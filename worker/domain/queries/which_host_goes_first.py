"""Hosts that are cut off from the platform: learn of them from query failures, and have other hosts take slots first.

A host may lose its network while other hosts keep theirs, or its address may be missing from the platform's allowlist.
A host that is cut off lets other hosts go first, because each of its failed queries costs an account a window.
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
from worker.domain.records.monitoring import NOT_CONNECTED, CutOff, PollingProcess
from worker.domain.records.queries import Query

A_TICK = 0.000_001
"""A patience (`CutOffHosts.patience`), in seconds, that is over by the next tick, however soon that comes."""
# A cut-off host sends a query as a probe after 15 windows, then after 30, 60, 120 and 240.
_PROBE_WINDOWS = 15
_MOST_DOUBLINGS = 4
_REFUSALS_BEFORE_CUT_OFF = 3
# After a refusal, another host takes the account's next two slots. One of any two slots is for suspects, so the other
# host, which the platform may not refuse, polls the orders of the refused query.
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
        """Hosts that were refused for two accounts, without an answer in between. They count as refused for all
        accounts."""
        self._refused = {(row.host, row.account) for row in refusals}
        due = {row.host for row in refusals if self._is_due(row)}
        tried = {row.host for row in refusals if not self._is_due(row) and self._was_tried_of_late(row)}
        self._probing = due - tried
        """Hosts that are due for a probe, and have not probed with any account for 15 windows."""

    def is_connected(self, host: str) -> bool:
        """Whether a host can connect to the platform, as far as is known."""
        return host not in self._not_connected

    def refused_elsewhere(self, own: PollingProcess) -> set[str]:
        """The accounts of a process for which another host was refused, but the process's own host was not."""
        refused = {account for _, account in self._refused} & own.accounts
        return {one for one in refused if self.is_connected(own.host) and not self._is_refused(own.host, [one])}

    def patience(self, opening: Opening, own: str, host: str, processes: Collection[PollingProcess]) -> float:
        """How many seconds a slot must have been open before the process `own` on this host takes it; 0 if it goes
        first.

        The result is infinite if the host is not connected. If several processes may go first, the opening's name
        selects one of them. Each opening has another name, so another process may be first after each query. A process
        that is not in `processes` goes first only if no process in `processes` has one of the slot's accounts.
        """
        if not self.is_connected(host):
            return inf
        sharing = self._connected(processes, opening.slot.app_ids)
        # Leave out accounts for which every host is refused: they say nothing about this host.
        accounts = self._polled_by_some(opening.slot.app_ids, sharing) or opening.slot.app_ids
        is_refused, longest = self._is_refused(host, accounts), self._rules.window_seconds / 2
        well = [one for one in sharing if not self._is_refused(one.host, accounts)]
        if well:
            # A probe is one query. So a host probes at only one of an SID's slots, number 0.
            may_probe = opening.slot.number == 0
            probing = [one for one in sharing if may_probe and self._has_probe(one.host, accounts)]
            first = probing or [one for one in well if not self._hesitates(one.host, accounts)] or well
        else:
            # If the hosts of all these processes are refused, all these processes take part as usual.
            first = sharing
        names = sorted(one.name for one in first)
        if names and names[crc32(opening.name.encode()) % len(names)] == own:
            return 0.0
        if is_refused and (well or not sharing):
            # If no connected process shares the accounts, this process may not know the other processes yet.
            return longest
        return A_TICK if sharing else 0.0

    def after_failure(
        self, error: QueryError, query: Query, state: AccountState, host: str, processes: Collection[PollingProcess]
    ) -> tuple[CutOff | None, Blame]:
        """Return the host's row of `cut_off_hosts` after its query failed, and whether the host is to blame.

        The row is None if no row changes. `state` is the account's state before the failure.
        """
        kind, account, why = failure_kind_of(error), query.account, str(error)[:_LONGEST_WHY]
        if kind is QueryFailureKind.UNREACHABLE:
            begun = CutOff(host=host, since=self._now, why=why, probe_at=self._now)
            return begun if self.is_connected(host) else None, Blame.NONE
        # A reply with Retry-After asks us to wait, so it is not a certain refusal of this host: other hosts must not
        # query the account instead.
        is_certain = isinstance(error, HttpError) and error.http_status in _REFUSING_STATUSES and not error.retry_after
        is_certain |= kind is QueryFailureKind.CONFIGURATION
        is_refusal = is_certain or kind is QueryFailureKind.REFUSED
        answers = state.answered_by_either
        row = before = self._rows.get((host, account)) or CutOff(
            host=host, account=account, probe_at=self._now, answers_before=answers
        )
        if row.since is not None:
            # The host is cut off already, so any failure counts as a failed try. Failures of queries that were under
            # way together count as one try.
            tried = replace(row, tries=row.tries + 1, answers_before=answers)
            row = self._probed_later(tried) if self._is_due(row) else row
        elif is_certain or (is_refusal and not all(order.lane.is_suspect for order in query.orders)):
            row = self._refused_again(row, state, is_certain=is_certain)
        else:
            # Either the failure is no refusal, or the platform may have refused one of the suspects and not the host.
            return None, Blame.NONE
        if not is_refusal:
            return row, Blame.NONE
        row = replace(row, why=why, is_answered=False)
        others = (one.host for one in self._connected(processes, [account]) if one.host != host)
        is_refused = all(self._is_refused(one, [account]) for one in others)
        # This host is to blame for its first refusal. After that, it is to blame only if the account got an answer
        # meanwhile, because the other hosts may get no answers either. Refusals of queries that were under way together
        # count as one.
        is_first = before.since is None and before.tries == 0
        is_expected = is_first or (before.since is not None and query.sent_at <= self._last_try(before))
        if is_refused or not (is_expected or answers > before.answers_before):
            return row, Blame.NONE
        return row, Blame.DOUBTED if row.since is None else Blame.REFUSED

    def _refused_again(self, row: CutOff, state: AccountState, *, is_certain: bool) -> CutOff:
        tries = row.tries + 1
        # An answer to this host would have deleted the row. So any answer since the first refusal went to another host.
        is_of_host = tries >= _REFUSALS_BEFORE_CUT_OFF and state.answered_by_either > row.answers_before
        if is_certain or is_of_host or row.host in self.refused_for_all:
            return self._probed_later(replace(row, since=self._now, tries=0))
        return replace(row, tries=tries, probe_at=self._now + self._rules.windows(_HESITATION_WINDOWS))

    def _probed_later(self, row: CutOff) -> CutOff:
        return replace(row, probe_at=self._now + self._until_probe(row))

    def _last_try(self, row: CutOff) -> datetime:
        return row.probe_at - self._until_probe(row)

    def _was_tried_of_late(self, row: CutOff) -> bool:
        return self._now < self._last_try(row) + self._rules.windows(_PROBE_WINDOWS)

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
        """Whether the host was refused for an account a moment ago, but not often enough to prove that the platform
        refuses the host."""
        rows = (self._rows.get((host, account)) for account in accounts)
        return any(row.since is None and not self._is_due(row) for row in rows if row is not None)

    def _has_probe(self, host: str, accounts: Collection[str]) -> bool:
        """Whether the host may now probe at a slot that has these accounts.

        If the host was refused for some of the accounts, it probes only once each of those is due for a probe. If one
        due account were enough and had nothing to poll, the host would query the others before they are due. If the
        host counts as refused for all accounts, it may also probe with accounts for which it was never refused.
        """
        if own := [(host, account) for account in accounts if (host, account) in self._refused]:
            return all(self._is_due(self._rows[one]) for one in own)
        return host in self.refused_for_all and host in self._probing

    def _is_due(self, row: CutOff) -> bool:
        longest = self._now + self._rules.windows(_PROBE_WINDOWS * 2.0**_MOST_DOUBLINGS)
        # If the time is further ahead than the longest wait for a probe, a clock was set back since it was written.
        return not self._now < row.probe_at <= longest
