"""Whether orders are being reconciled: what a person, or a program that watches, is to be told of an overview."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from worker.domain.accounts.back_off import FAILURES_OF_AN_OUTAGE
from worker.domain.notifications.endpoint_watch import late_notifications, warnings_of
from worker.domain.queries.after_failure import says_too_frequent
from worker.domain.queries.choose_batch import SINGLE_SHARE
from worker.domain.queries.cut_off_hosts import CutOffHosts
from worker.domain.queries.slots_and_clocks import database_findings
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.answers import Refused
from worker.domain.records.orders import IdKind, Lane
from worker.domain.records.watching import (
    NOT_CONNECTED,
    AccountOverview,
    BackOffReason,
    Finding,
    FindingKind,
    Level,
    Overview,
    PastQuery,
    PendingCount,
)
from worker.domain.watching.workers import (
    broker_and_beat,
    full_disk,
    intake_findings,
    is_ticking,
    last_tick,
    polled_accounts,
)

TOO_FREQUENT_WITHIN = timedelta(hours=1)
"""So long it is reported that the platform was queried too often."""
_QUIET_WINDOWS = 10
"""Orders that are due for so long, while nothing is asked, are not waiting for the budget."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """From when on something is reported."""

    tick_seconds: float = 30.0
    """Without a tick of any worker."""
    backlog_windows: float = 60.0
    """That due orders need at the budget, in windows."""
    attention_orders: int = 1
    """That need a person."""
    notify_seconds: float = 600.0
    """Since the change of an order that its billing system has not received."""


def queries_for(counts: Iterable[PendingCount], state: AccountState, now: datetime, rules: Rules) -> int:
    """How many queries it takes to poll all due orders of an account once."""
    one_by_one = batched = 0
    for count in counts:
        if _is_batched(count, state, now, rules):
            batched += count.due
        else:
            one_by_one += count.due
    return one_by_one + math.ceil(batched / rules.batch_size)


def drain_seconds(accounts: Sequence[AccountOverview], account: AccountOverview, now: datetime, rules: Rules) -> float:
    """How long it takes to poll all due orders once: those of every account that shares the account's SID."""
    queries = sum(queries_for(one.counts, one.state, now, rules) for one in _sharing(account, accounts))
    return rules.drain_seconds(queries)


def polled_alone(counts: Iterable[PendingCount], state: AccountState, now: datetime, rules: Rules) -> int:
    """How many pending orders of an account wait for a query of their own."""
    blind = not state.may_batch_custom_parm(now, rules)
    return sum(
        count.pending
        for count in counts
        if count.lane is Lane.ALONE or (blind and count.lane is Lane.BATCH and count.id_kind is IdKind.CUSTOM_PARM)
    )


def polls_alone_a_day(state: AccountState, rules: Rules, *, has_others: bool) -> int:
    """How many orders of an account can be polled one by one within a day; `has_others`: others are pending, too."""
    share = SINGLE_SHARE if has_others and not state.one_item_mode else 1
    return int(share * rules.slots * timedelta(days=1).total_seconds() / rules.spacing_seconds)


def too_frequent(queries: Iterable[PastQuery], now: datetime) -> list[PastQuery]:
    """The queries of the last hour that the platform refused because they come too often."""
    since = now - TOO_FREQUENT_WITHIN
    return [query for query in queries if query.sent_at >= since and _is_too_frequent(query)]


def back_off_reason(account: AccountOverview, accounts: Sequence[AccountOverview]) -> BackOffReason | None:
    """Why an account backs off; None where its last query says it. `accounts` are all of them."""
    if account.state.configuration_refused:
        return BackOffReason.CONFIGURATION_REFUSED
    # Then every account of the SID backs off, whose query it was.
    last = [one.queries[0] for one in _sharing(account, accounts) if one.queries]
    if last and _is_too_frequent(max(last, key=lambda query: query.sent_at)):
        return BackOffReason.TOO_FREQUENT
    return None


def check(overview: Overview, thresholds: Thresholds, rules: Rules) -> list[Finding]:
    """What is to be reported, the gravest first; nothing where all is well."""
    found = [*_of_workers(overview, thresholds), *database_findings(overview.database)]
    for account in overview.accounts:
        found += [*_of_waits(account, overview), *_of_orders(account, overview, thresholds, rules)]
    waiting = (overview.endpoints, overview.notifications, overview.now)
    found += [*warnings_of(*waiting), *late_notifications(*waiting, timedelta(seconds=thresholds.notify_seconds))]
    return sorted(found, key=lambda finding: -finding.level)


def _of_workers(overview: Overview, thresholds: Thresholds) -> Iterator[Finding]:
    now, within = overview.now, timedelta(seconds=thresholds.tick_seconds)
    # What a process that hangs or was killed has written last says nothing.
    ticking = [row for row in overview.workers if is_ticking([row], now, thresholds.tick_seconds)]
    if not ticking:
        kind, since = _without_tick(overview, within)
        values = {} if since is None else {"lasts": now - since}
        yield Finding(kind=kind, level=Level.CRITICAL, values=values)
    yield from broker_and_beat(ticking, now, within)
    yield from full_disk(overview.workers, now)
    yield from intake_findings(overview.workers, now)


def _of_hosts(overview: Overview, rules: Rules) -> Iterator[Finding]:
    """The hosts with a worker that are cut off from the platform; one finding where a host is refused for all."""
    for_all = CutOffHosts(overview.cut_off, overview.now, rules).refused_for_all
    running, said = {row.host for row in overview.workers}, set[str]()
    for row in sorted(overview.cut_off, key=lambda row: (row.host, row.since or overview.now)):
        if row.host not in running or row.since is None:
            continue
        kind, account = FindingKind.HOST_NOT_CONNECTED, None
        if row.account != NOT_CONNECTED:
            is_for_all = row.host in for_all
            if is_for_all and row.host in said:
                continue
            said.add(row.host)
            kind = FindingKind.HOST_REFUSED_FOR_ALL if is_for_all else FindingKind.HOST_REFUSED
            account = None if is_for_all else row.account
        values = {"host": row.host, "lasts": overview.now - row.since, "why": row.why}
        yield Finding(kind=kind, account=account, values=values)


def _without_tick(overview: Overview, within: timedelta) -> tuple[FindingKind, datetime | None]:
    """Why no worker ticks, and since when where that is known."""
    if not overview.workers:
        return FindingKind.NO_WORKER, None
    # A process that was killed leaves its row, and others may have ended in order since: it says nothing of when.
    running = [row for row in overview.workers if overview.now - row.written_at <= within]
    latest = last_tick(running or overview.workers, overview.now)
    if not running:
        return (FindingKind.WORKERS_AWAY if latest is None else FindingKind.WORKER_KILLED), latest
    if latest is not None:
        return FindingKind.NO_TICK, latest
    hanging = [row.hanging_since for row in running if row.hanging_since is not None]
    if hanging:
        return FindingKind.HANGS, min(hanging)
    return FindingKind.NEVER_TICKED, max(row.started_at for row in running)


def _of_waits(account: AccountOverview, overview: Overview) -> Iterator[Finding]:
    state, now = account.state, overview.now
    found = partial(Finding, account=account.account)
    if pause := state.pause(now):
        yield found(kind=FindingKind.PAUSED, values={"by": pause.paused_by})
    if state.failures_in_row >= FAILURES_OF_AN_OUTAGE:
        yield found(kind=FindingKind.OUTAGE, values={"count": state.failures_in_row})
    if state.is_backed_off(now) and state.backoff_until is not None:
        reason = back_off_reason(account, overview.accounts)
        kind = FindingKind.BACK_OFF if reason is None else FindingKind.BACK_OFF_BECAUSE
        yield found(kind=kind, values={"why": reason, "lasts": state.backoff_until - now})
    if refused := too_frequent(account.queries, now):
        yield found(kind=FindingKind.TOO_FREQUENT, values={"count": len(refused)})


def _of_orders(account: AccountOverview, overview: Overview, thresholds: Thresholds, rules: Rules) -> Iterator[Finding]:
    found = partial(Finding, account=account.account)
    seconds = drain_seconds(overview.accounts, account, overview.now, rules)
    if account.due and seconds > thresholds.backlog_windows * rules.window_seconds:
        values = {"count": account.due, "lasts": timedelta(seconds=seconds)}
        yield found(kind=FindingKind.BACKLOG, values=values)
    alone = polled_alone(account.counts, account.state, overview.now, rules)
    most = polls_alone_a_day(account.state, rules, has_others=account.pending > alone)
    if alone > most:
        yield found(kind=FindingKind.POLLED_ALONE, values={"count": alone, "most": most})
    if account.due and _is_left_out(account, overview, thresholds.tick_seconds):
        yield found(kind=FindingKind.NOT_SERVED, values={"count": account.due})
    elif _is_stuck(account, overview, rules):
        last = _last_query_at(account, overview)
        if last is None:
            yield found(kind=FindingKind.NEVER_QUERIED)
        else:
            yield found(kind=FindingKind.NOT_QUERIED, values={"lasts": overview.now - last})
    if account.needs_a_person >= thresholds.attention_orders:
        yield found(kind=FindingKind.ATTENTION, values={"count": account.needs_a_person})


def _is_left_out(account: AccountOverview, overview: Overview, tick_seconds: float) -> bool:
    """Whether workers tick, and none of them has the account."""
    workers, now = overview.workers, overview.now
    return is_ticking(workers, now, tick_seconds) and not is_served(workers, account.account, now, tick_seconds)


def _is_stuck(account: AccountOverview, overview: Overview, rules: Rules) -> bool:
    """Whether nothing is asked for no reason that is known here: a worker with a longer window, perhaps."""
    now, long_ago = overview.now, overview.now - rules.windows(_QUIET_WINDOWS)
    due = account.oldest_due_at
    if due is None or due > long_ago or account.state.is_paused(now) or account.state.is_backed_off(now):
        return False
    last = _last_query_at(account, overview)
    return last is None or last <= long_ago


def _last_query_at(account: AccountOverview, overview: Overview) -> datetime | None:
    """When the last query of the account's SID was sent; None where there was none."""
    sharing = _sharing(account, overview.accounts)
    return max((one.last_query_at for one in sharing if one.last_query_at is not None), default=None)


def _is_batched(count: PendingCount, state: AccountState, now: datetime, rules: Rules) -> bool:
    if count.lane is not Lane.BATCH or state.one_item_mode or state.configuration_refused:
        return False
    return count.id_kind is IdKind.REQUEST_ID or state.may_batch_custom_parm(now, rules)


def _sharing(account: AccountOverview, accounts: Sequence[AccountOverview]) -> list[AccountOverview]:
    """The accounts of one SID: the account itself, and those that share the budget with it."""
    sid = account.account_sid
    return [one for one in accounts if one is account or (sid is not None and one.account_sid == sid)]


def _is_too_frequent(query: PastQuery) -> bool:
    return query.outcome == Refused.outcome and says_too_frequent(query.status_msg or "")
