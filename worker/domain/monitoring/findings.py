"""Check whether orders are being reconciled: find in an overview what people and monitoring programs must know."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from worker.domain.accounts.waits import FAILURES_OF_AN_OUTAGE
from worker.domain.monitoring.worker_processes import (
    broker_and_beat,
    full_disk,
    intake_findings,
    is_ticking,
    last_tick,
    polled_accounts,
)
from worker.domain.notifications.endpoint_watch import late_notifications, warnings_of
from worker.domain.queries.after_failure import says_too_frequent
from worker.domain.queries.choose_batch import SINGLE_SHARE
from worker.domain.queries.slots_and_clocks import database_findings
from worker.domain.queries.which_host_goes_first import CutOffHosts
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.incoming import Refused
from worker.domain.records.monitoring import (
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
from worker.domain.records.orders import IdKind, Lane

TOO_FREQUENT_WITHIN = timedelta(hours=1)
"""For how long after a refusal it is reported that the platform was queried too often."""
_QUIET_WINDOWS = 10
"""If orders have been due for this many windows and no query was sent, they are not waiting for the budget."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """The limits at which something is reported."""

    tick_seconds: float = 30.0
    """Report if no worker has ticked for this long."""
    backlog_windows: float = 60.0
    """Report if the budget needs more than this time, in windows, to poll all due orders once."""
    attention_orders: int = 1
    """Report if at least this many orders need a person."""
    notify_seconds: float = 600.0
    """Report if an order changed this long ago and its billing system has not received the change."""


def queries_for(counts: Iterable[PendingCount], state: AccountState, now: datetime, rules: Rules) -> int:
    """How many queries it takes to poll all due orders of an account once."""
    one_by_one = batched = 0
    for count in counts:
        if _is_batched(count, state, now, rules):
            batched += count.due
        else:
            one_by_one += count.due
    return one_by_one + math.ceil(batched / rules.batch_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedBudget:
    """The budget of an account SID, which its accounts share."""

    drain_seconds: float
    """How long it takes to poll once all due orders of the accounts that share the budget."""
    last_query_at: datetime | None
    """When the last query of the account SID was sent; None if there was none."""
    is_too_frequent: bool
    """Whether the platform refused the last query because queries come too often. If so, all accounts of the SID back
    off."""


def shared_budgets(accounts: Iterable[AccountOverview], now: datetime, rules: Rules) -> Mapping[str, SharedBudget]:
    """The budget of each account, by name. An account whose SID is not known does not share its budget."""
    by_sid: dict[tuple[str | None, str], list[AccountOverview]] = {}
    for one in accounts:
        by_sid.setdefault((one.account_sid, one.account if one.account_sid is None else ""), []).append(one)
    return {
        one.account: budget for group in by_sid.values() for budget in [_budget(group, now, rules)] for one in group
    }


def _budget(group: Sequence[AccountOverview], now: datetime, rules: Rules) -> SharedBudget:
    last = max((one.queries[0] for one in group if one.queries), key=lambda query: query.sent_at, default=None)
    queries = sum(queries_for(one.counts, one.state, now, rules) for one in group)
    return SharedBudget(
        drain_seconds=rules.drain_seconds(queries),
        last_query_at=max((one.last_query_at for one in group if one.last_query_at is not None), default=None),
        is_too_frequent=last is not None and _is_too_frequent(last),
    )


def polled_alone(counts: Iterable[PendingCount], state: AccountState, now: datetime, rules: Rules) -> int:
    """How many pending orders of an account wait for a query of their own."""
    blind = not state.may_batch_custom_parm(now, rules)
    return sum(
        count.pending
        for count in counts
        if count.lane is Lane.ALONE or (blind and count.lane is Lane.BATCH and count.id_kind is IdKind.CUSTOM_PARM)
    )


def polls_alone_a_day(state: AccountState, rules: Rules, *, has_others: bool) -> int:
    """How many orders of an account can be polled one by one within a day.

    `has_others`: whether other orders are pending, too.
    """
    share = SINGLE_SHARE if has_others and not state.one_item_mode else 1
    return int(share * rules.slots * timedelta(days=1).total_seconds() / rules.spacing_seconds)


def too_frequent(queries: Iterable[PastQuery], now: datetime) -> list[PastQuery]:
    """The queries of the last hour that the platform refused because queries come too often."""
    since = now - TOO_FREQUENT_WITHIN
    return [query for query in queries if query.sent_at >= since and _is_too_frequent(query)]


def back_off_reason(account: AccountOverview, budget: SharedBudget) -> BackOffReason | None:
    """Why an account backs off; None if its last query shows the reason."""
    if account.state.configuration_refused:
        return BackOffReason.CONFIGURATION_REFUSED
    return BackOffReason.TOO_FREQUENT if budget.is_too_frequent else None


def check(overview: Overview, thresholds: Thresholds, rules: Rules) -> list[Finding]:
    """The findings to report, the gravest first; none if all is well."""
    found = [*_of_workers(overview, thresholds), *_of_hosts(overview, rules), *database_findings(overview.database)]
    # Compute this once for all accounts, as there may be thousands of them.
    budgets = shared_budgets(overview.accounts, overview.now, rules)
    polled = polled_accounts(overview.workers, budgets, overview.now, thresholds.tick_seconds)
    not_connected = {row.host for row in overview.cut_off if row.account == NOT_CONNECTED}
    is_connected = not overview.workers or any(row.host not in not_connected for row in overview.workers)
    for account in overview.accounts:
        budget, is_polled = budgets[account.account], account.account in polled
        found += _of_waits(account, budget, overview.now)
        found += _of_orders(
            account, budget, overview.now, thresholds, rules, is_polled=is_polled, is_connected=is_connected
        )
    waiting = (overview.endpoints, overview.notifications, overview.now)
    found += [*warnings_of(*waiting), *late_notifications(*waiting, timedelta(seconds=thresholds.notify_seconds))]
    return sorted(found, key=lambda finding: -finding.level)


def _of_workers(overview: Overview, thresholds: Thresholds) -> Iterator[Finding]:
    now, within = overview.now, timedelta(seconds=thresholds.tick_seconds)
    # Leave out processes that hang or were killed: their last rows prove nothing.
    ticking = [row for row in overview.workers if is_ticking([row], now, thresholds.tick_seconds)]
    if not ticking:
        kind, since = _without_tick(overview, within)
        values = {} if since is None else {"lasts": now - since}
        yield Finding(kind=kind, level=Level.CRITICAL, values=values)
    yield from broker_and_beat(ticking, now, within)
    yield from full_disk(overview.workers, now)
    yield from intake_findings(overview.workers, now)


def _of_hosts(overview: Overview, rules: Rules) -> Iterator[Finding]:
    """The findings about hosts that have a worker and are cut off from the platform. A host that is refused for all
    accounts gets only one finding."""
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
    """Why no worker ticks, and since when; the time is None if it is not known."""
    if not overview.workers:
        return FindingKind.NO_WORKER, None
    # The row of a killed process stays. Other processes may have ticked later and deleted their rows when they ended.
    # So rows of killed processes are used only if no process runs.
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


def _of_waits(account: AccountOverview, budget: SharedBudget, now: datetime) -> Iterator[Finding]:
    state = account.state
    found = partial(Finding, account=account.account)
    if pause := state.pause(now):
        yield found(kind=FindingKind.PAUSED, values={"by": pause.paused_by})
    if state.failures_in_row >= FAILURES_OF_AN_OUTAGE:
        yield found(kind=FindingKind.OUTAGE, values={"count": state.failures_in_row})
    if state.is_backed_off(now) and state.backoff_until is not None:
        reason = back_off_reason(account, budget)
        kind = FindingKind.BACK_OFF if reason is None else FindingKind.BACK_OFF_BECAUSE
        yield found(kind=kind, values={"why": reason, "lasts": state.backoff_until - now})
    if refused := too_frequent(account.queries, now):
        yield found(kind=FindingKind.TOO_FREQUENT, values={"count": len(refused)})


def _of_orders(
    account: AccountOverview,
    budget: SharedBudget,
    now: datetime,
    thresholds: Thresholds,
    rules: Rules,
    *,
    is_polled: bool,
    is_connected: bool,
) -> Iterator[Finding]:
    """The findings about an account's orders.

    `is_polled`: whether a worker that ticks has the account, or no worker ticks. `is_connected`: whether the host of a
    worker is connected to the platform, or no worker runs.
    """
    found = partial(Finding, account=account.account)
    seconds = budget.drain_seconds
    if account.due and seconds > thresholds.backlog_windows * rules.window_seconds:
        values = {"count": account.due, "lasts": timedelta(seconds=seconds)}
        yield found(kind=FindingKind.BACKLOG, values=values)
    alone = polled_alone(account.counts, account.state, now, rules)
    most = polls_alone_a_day(account.state, rules, has_others=account.pending > alone)
    if alone > most:
        yield found(kind=FindingKind.POLLED_ALONE, values={"count": alone, "most": most})
    if account.due and not is_polled:
        yield found(kind=FindingKind.NOT_SERVED, values={"count": account.due})
    elif is_connected and _is_stuck(account, budget.last_query_at, now, rules):
        if budget.last_query_at is None:
            yield found(kind=FindingKind.NEVER_QUERIED)
        else:
            yield found(kind=FindingKind.NOT_QUERIED, values={"lasts": now - budget.last_query_at})
    if account.needs_a_person >= thresholds.attention_orders:
        yield found(kind=FindingKind.ATTENTION, values={"count": account.needs_a_person})


def _is_stuck(account: AccountOverview, last_query_at: datetime | None, now: datetime, rules: Rules) -> bool:
    """Whether orders are due but no query is sent, and no reason is known here. A worker with a longer window may be
    the cause."""
    long_ago = now - rules.windows(_QUIET_WINDOWS)
    due = account.oldest_due_at
    if due is None or due > long_ago or account.state.is_paused(now) or account.state.is_backed_off(now):
        return False
    return last_query_at is None or last_query_at <= long_ago


def _is_batched(count: PendingCount, state: AccountState, now: datetime, rules: Rules) -> bool:
    if count.lane is not Lane.BATCH or state.one_item_mode or state.configuration_refused:
        return False
    return count.id_kind is IdKind.REQUEST_ID or state.may_batch_custom_parm(now, rules)


def _is_too_frequent(query: PastQuery) -> bool:
    return query.outcome == Refused.outcome and says_too_frequent(query.status_msg or "")
