"""The whole deployment: what `reconciler status` and `health` and the overview tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from worker.database.transactions import Connection, Database
from worker.domain.back_off import restart_stepped_backoff
from worker.domain.broker_and_beat import is_broker_silent
from worker.domain.monitoring import is_ticking
from worker.domain.records.overview import AccountOverview, Overview
from worker.domain.records.parameters import Rules
from worker.domain.scheduling.stored_json import read_learned
from worker.operations.note_database import read_changes
from worker.stores import overview_counts, poll_schedules
from worker.stores.notify_endpoints import read_endpoints
from worker.stores.recorded_acts import recent_acts
from worker.stores.slots_and_accounts import read_state
from worker.stores.todo_reads import accounts_with_pending
from worker.stores.worker_processes import read_workers
from worker.views.notifications import count_notifications
from worker.views.queries import last_query, read_slots

Row = dict[str, Any]
_ACTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """An overview, with what is shown of each account and slot besides."""

    overview: Overview
    slots: Sequence[Row]
    last_queries: Mapping[str, Row | None]
    """The latest query of each account."""
    acts: Sequence[Row]
    """The last acts of operators on accounts, the newest first."""


def read_status(database: Database, sids: Mapping[str, str], rules: Rules) -> Status:
    """The whole status. `sids` are the SIDs of the accounts that the settings name."""
    with database.read() as connection:
        overview_counts.bound_statements(connection)
        now = database.now(connection)
        # Orders may come in by a program whose settings name an account that no worker ever had.
        known = sorted({*overview_counts.known_accounts(connection), *accounts_with_pending(connection)})
        names = [*sids, *(name for name in known if name not in sids)]
        queries = {name: last_query(connection, name) for name in names}
        overview = Overview(
            now=now,
            accounts=_read_accounts(connection, names, sids, queries, now, rules),
            workers=read_workers(connection),
            endpoints=list(read_endpoints(connection).values()),
            notifications=count_notifications(connection, now),
            database=read_changes(connection, set(sids.values()), rules.slots, now),
        )
        slots = read_slots(connection, slots_per_sid=rules.slots)
        acts = recent_acts(connection, limit=_ACTS)
        return Status(overview=overview, slots=slots, last_queries=queries, acts=acts)


def _read_accounts(
    connection: Connection,
    names: Sequence[str],
    sids: Mapping[str, str],
    queries: Mapping[str, Row | None],
    now: datetime,
    rules: Rules,
) -> list[AccountOverview]:
    hours, days = overview_counts.count_settled(connection, now)
    attention = overview_counts.count_reasons(connection, overview_counts.attention_counts())
    unresolved = overview_counts.count_reasons(connection, overview_counts.unresolved_counts())
    in_flight = overview_counts.count_in_flight(connection, now - timedelta(seconds=rules.reservation_seconds))
    return [
        AccountOverview(
            account=name,
            account_sid=sids.get(name),
            state=restart_stepped_backoff(read_state(connection, name), now),
            counts=overview_counts.count_by_lane(connection, name, now),
            in_flight=in_flight[name],
            settled_hour=hours.get(name, {}),
            settled_day=days.get(name, {}),
            attention=attention.get(name, {}),
            unresolved=unresolved.get(name, {}),
            last_query_at=(queries[name] or {}).get("sent_at"),
            queries=overview_counts.past_queries(connection, name),
            lost_share=_read_lost_share(connection, name, now, rules),
        )
        for name in names
    ]


def _read_lost_share(connection: Connection, account: str, now: datetime, rules: Rules) -> float | None:
    text = poll_schedules.read_learned_text(connection, account)
    learned = None if text is None else read_learned(text, rules)
    return None if learned is None else learned.lost_share(now.timestamp(), rules)


@dataclass(frozen=True, kw_only=True, slots=True)
class Liveness:
    """Whether anything is done at all."""

    ticks: bool
    """Whether a worker process has ticked of late."""
    hangs: bool
    """Whether something hangs in one; such a process counts as one that does not tick."""
    broker_is_silent: bool
    """Whether the broker answers none of the processes that have."""


def read_liveness(database: Database, within_seconds: float, *, host: str | None = None) -> Liveness:
    """The same of the processes of this host, or of all. `within_seconds` is how far back counts."""
    with database.read() as connection:
        now = database.now(connection)
        rows = read_workers(connection, host=host)
        ticking = [row for row in rows if is_ticking([row], now, within_seconds)]
        silent = is_broker_silent(ticking, timedelta(seconds=within_seconds))
        hangs = any(row.hanging_since is not None for row in rows)
        return Liveness(ticks=bool(ticking), hangs=hangs, broker_is_silent=silent)
