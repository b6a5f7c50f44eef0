"""Read the state of the whole deployment, for `reconciler status`, `reconciler health` and the overview."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, case, func, select

from worker.database.bounded_statements import bounded
from worker.database.read_identity import identity_beside
from worker.database.tables import BUDGETS, ORDERS, QUERIES, SCHEDULES
from worker.database.transactions import Connection, Database, DatabaseError
from worker.domain.accounts.waits import restart_stepped_backoff
from worker.domain.monitoring.worker_processes import (
    HEARTBEAT_SECONDS,
    full_disk,
    intake_findings,
    is_broker_silent,
    is_ticking,
)
from worker.domain.queries.slots_and_clocks import is_another
from worker.domain.records.accounts import AccountState, DatabaseChanges, Rules
from worker.domain.records.monitoring import AccountOverview, Finding, FindingKind, Overview, WorkerRow
from worker.domain.scheduling.stored_json import read_learned
from worker.stores.accounts import read_cut_off, read_rows
from worker.stores.notifications import read_endpoints
from worker.views import counts
from worker.views.accounts import known_accounts, read_states, read_workers
from worker.views.acts import ActSearch, recent_acts
from worker.views.queries import last_queries, past_queries, read_slots

Row = dict[str, Any]
_ACTS = 5
_WRITTEN_WITHIN = timedelta(seconds=4 * HEARTBEAT_SECONDS)
_MOST_COUNTED = 100_000
"""How many orders that need a person are counted at most. Counting them by account has to read each order's row."""

Counts = dict[str, Counter[Any]]
"""Numbers of orders, by account and then by source or reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """An overview, and further details of accounts and slots."""

    overview: Overview
    slots: Sequence[Row]
    last_queries: Mapping[str, Row | None]
    """The latest query of each account; None if the account has none."""
    acts: Sequence[Row]
    """The last acts of operators, newest first."""


def read_status(database: Database, sids: Mapping[str, str], rules: Rules, *, with_learned: bool = True) -> Status:
    """The whole status. `sids` are the SIDs of the accounts that the settings name. Without `with_learned`, the
    `lost_share` of each account is None. This saves time: reading what was learned takes a millisecond for each
    account."""
    with database.read() as connection, bounded(connection, counts.LONGEST_STATEMENT_SECONDS):
        workers = read_workers(connection)
        # The database's time is read after the workers' rows. Otherwise a tick between the two reads would be later
        # than `now`, and would look as if a clock was set back.
        now = database.now(connection)
        names = [*sids, *(name for name in known_accounts(connection) if name not in sids)]
        latest = last_queries(connection)
        queries = {name: latest.get(name) for name in names}
        overview = Overview(
            now=now,
            accounts=_read_accounts(connection, names, sids, queries, now, rules, with_learned=with_learned),
            workers=workers,
            endpoints=list(read_endpoints(connection).values()),
            notifications=counts.watched_notifications(connection, now),
            cut_off=read_cut_off(connection),
            database=read_changes(connection, set(sids.values()), rules.slots, now),
        )
        slots = read_slots(connection, slots_per_sid=rules.slots)
        acts = recent_acts(connection, ActSearch(), most=_ACTS, seconds=None).rows
        return Status(overview=overview, slots=slots, last_queries=queries, acts=acts)


def _read_accounts(
    connection: Connection,
    names: Sequence[str],
    sids: Mapping[str, str],
    queries: Mapping[str, Row | None],
    now: datetime,
    rules: Rules,
    *,
    with_learned: bool,
) -> list[AccountOverview]:
    pending = counts.pending(connection, names, now)
    hours, days = count_settled(connection, now)
    attention = _by_account(counts.attention(connection, _MOST_COUNTED))
    unresolved = _by_account(counts.unresolved(connection, _MOST_COUNTED, with_reason=True))
    in_flight = _count_in_flight(connection, now - timedelta(seconds=rules.reservation_seconds))
    states = {state.account: state for state in read_states(connection)}
    past = past_queries(connection, len(states))
    lost_shares = _read_lost_shares(connection, now, rules) if with_learned else {}
    return [
        AccountOverview(
            account=name,
            account_sid=sids.get(name),
            state=restart_stepped_backoff(states.get(name) or AccountState(account=name), now),
            counts=pending[name],
            in_flight=in_flight[name],
            settled_hour=hours.get(name, {}),
            settled_day=days.get(name, {}),
            attention=attention.get(name, {}),
            unresolved=unresolved.get(name, {}),
            last_query_at=(queries[name] or {}).get("sent_at"),
            queries=past.get(name, ()),
            lost_share=lost_shares.get(name),
        )
        for name in names
    ]


def count_settled(connection: Connection, now: datetime) -> tuple[Counts, Counts]:
    """How many orders were settled in the last hour and in the last day, by account and source."""
    hours: Counts = {}
    days: Counts = {}
    statement = _settled_since(now - timedelta(days=1), now - timedelta(hours=1))
    for account, source, of_hour, of_day in connection.execute(statement):
        word = "unknown" if source is None else source.value
        days.setdefault(account, Counter())[word] += of_day
        if of_hour:
            hours.setdefault(account, Counter())[word] += of_hour
    return hours, days


def _settled_since(since: datetime, hour: datetime) -> Select[Any]:
    """The statement that counts the orders settled since a time. Its columns: account, source, number of orders since
    `hour`, number of all orders."""
    of_hour = case((ORDERS.c.settled_at >= hour, 1))
    columns = (ORDERS.c.account, ORDERS.c.settled_by)
    return select(*columns, func.count(of_hour), func.count()).where(ORDERS.c.settled_at >= since).group_by(*columns)


def _by_account(counted: Mapping[tuple[str, Any], int]) -> Counts:
    """Numbers of orders, by account and then by reason. The reason is None for orders without a reason."""
    by: Counts = {}
    for (account, reason), orders in counted.items():
        by.setdefault(account, Counter())[reason] = orders
    return by


def _count_in_flight(connection: Connection, since: datetime) -> Counter[str]:
    """How many orders are in queries in flight, by account. A query that was sent before `since` is left out, because
    its worker was lost."""
    statement = (
        select(QUERIES.c.account, QUERIES.c.order_count)
        .join(BUDGETS, BUDGETS.c.in_flight_query_id == QUERIES.c.id)
        .where(QUERIES.c.outcome == "in_flight", QUERIES.c.sent_at >= since)
    )
    in_flight: Counter[str] = Counter()
    for account, orders in connection.execute(statement):
        in_flight[account] += orders
    return in_flight


def _read_lost_shares(connection: Connection, now: datetime, rules: Rules) -> dict[str, float | None]:
    rows = connection.execute(select(SCHEDULES.c.account, SCHEDULES.c.learned))
    known = ((account, read_learned(text, rules)) for account, text in rows)
    return {account: learned.lost_share(now.timestamp(), rules) for account, learned in known if learned is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Liveness:
    """Whether the workers do anything at all."""

    ticks: bool
    """Whether a worker process has ticked recently."""
    hangs: bool
    """Whether the work of a worker process hangs. A process whose work hangs does not count as ticking."""
    broker_is_silent: bool
    """Whether the broker answers none of the processes that tick."""
    takes_in: bool
    """False if messages wait at the broker and no process takes any of them in."""


def read_liveness(database: Database, within_seconds: float, *, host: str | None = None) -> Liveness:
    """The liveness of a host's worker processes; of all hosts' processes if `host` is None. `takes_in` is always about
    all hosts. A tick or an answer counts if it is at most `within_seconds` old."""
    with database.read() as connection:
        everywhere = read_workers(connection)
        rows = [row for row in everywhere if host in (None, row.host)]
        now = database.now(connection)
        ticking = [row for row in rows if is_ticking([row], now, within_seconds)]
        silent = is_broker_silent(ticking, timedelta(seconds=within_seconds))
        hangs = any(row.hanging_since is not None for row in rows)
        takes_in = all(one.kind is not FindingKind.NOTHING_TAKEN_IN for one in intake_findings(everywhere, now))
        return Liveness(ticks=bool(ticking), hangs=hangs, broker_is_silent=silent, takes_in=takes_in)


def read_changes(connection: Connection, sids: Collection[str], slots_per_sid: int, now: datetime) -> DatabaseChanges:
    """Return when the database was found to be another one, as the slots in use of these SIDs record it. No row is
    locked. `now` is the time on the database's clock."""
    written_in = [row.provenance for row in read_rows(connection, sids) if row.number < slots_per_sid]
    present = identity_beside(connection, [one.identity for one in written_in])
    return DatabaseChanges(
        now=now,
        is_another=any(is_another(one, present) for one in written_in),
        changes=max((one.changes for one in written_in if one.changes), key=lambda times: times[-1], default=()),
    )


def workers_and_full_disk(database: Database) -> tuple[Sequence[WorkerRow] | None, Sequence[Finding]]:
    """The worker processes that wrote their rows recently, and findings if the database's disk is full; None and no
    findings if the table of workers cannot be read. The database must be at head."""
    try:
        with database.read() as connection:
            rows, now = read_workers(connection), database.now(connection)
    except DatabaseError:
        # Other checks report that the table cannot be read.
        return None, ()
    return [row for row in rows if row.written_at >= now - _WRITTEN_WITHIN], list(full_disk(rows, now))


def database_changes(database: Database, sids: Collection[str], slots_per_sid: int) -> DatabaseChanges | None:
    """The result of `read_changes`; None if the table of slots cannot be read. The database must be at head."""
    try:
        with database.read() as connection:
            return read_changes(connection, sids, slots_per_sid, database.now(connection))
    except DatabaseError:
        # Other checks report that the table cannot be read.
        return None
