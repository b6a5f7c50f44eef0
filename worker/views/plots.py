"""Read the data for the plots of the overview.

Each statement scans a range of one index, and reads a limited number of rows of the table.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from worker.database.bounded_statements import bounded
from worker.database.tables import NOT_PENDING, ORDERS
from worker.database.transactions import Database
from worker.domain.monitoring.plots import (
    Plots,
    backlog,
    bucket_starts,
    count_delays,
    count_times,
)
from worker.domain.records.orders import OrderState, Source
from worker.views import counts
from worker.views.accounts import known_accounts

_MOST_CHANGED = 20_000
"""How many of the last changed orders are searched for unresolved and cancelled ones. There is a limit because the row
of each has to be read."""
_MOST_SETTLED = 1_000

Counted = tuple[datetime, int]
"""The start of a bucket (a part of the time that a plot shows), and a number of orders in it."""


def read_plots(database: Database) -> Plots:
    """Read the data for all plots."""
    with database.snapshot() as connection, bounded(connection, counts.LONGEST_STATEMENT_SECONDS):
        now = database.now(connection)
        starts = bucket_starts(now)
        by_account = counts.pending(connection, known_accounts(connection), now).values()
        of_lanes = [count for of_account in by_account for count in of_account]
        pending = sum(count.pending for count in of_lanes)
        final = count_final(connection, starts)
        submitted = count_times(starts, count_submitted(connection, starts))
        succeeded, failed = (count_times(starts, final[state]) for state in (OrderState.SUCCEEDED, OrderState.FAILED))
        stopped = count_times(starts, ((time, 1) for time in stopped_since(connection, starts[0])))
        left = [sum(some) for some in zip(succeeded, failed, stopped, strict=True)]
        return Plots(
            now=now,
            starts=starts,
            submitted=submitted,
            succeeded=succeeded,
            failed=failed,
            pending=pending,
            due=sum(count.due for count in of_lanes),
            backlog=backlog(pending, submitted, left),
            delays=count_delays(last_settled(connection)),
        )


def count_submitted(connection: Connection, starts: Sequence[datetime]) -> Iterator[Counted]:
    """How many orders were submitted in each bucket."""
    for start, within in _buckets(ORDERS.c.submitted_at, starts):
        yield start, connection.scalar(select(func.count()).select_from(ORDERS).where(*within)) or 0


def count_final(connection: Connection, starts: Sequence[datetime]) -> dict[OrderState, list[Counted]]:
    """How many orders succeeded and how many failed in each bucket."""
    counts: dict[OrderState, list[Counted]] = {OrderState.SUCCEEDED: [], OrderState.FAILED: []}
    for start, within in _buckets(ORDERS.c.settled_at, starts):
        for state, number in connection.execute(_final(within)):
            counts[state].append((start, number))
    return counts


def stopped_since(connection: Connection, since: datetime) -> list[datetime]:
    """When each unresolved or cancelled order last changed, if at `since` or later. Only the 20,000 orders that changed
    last are searched."""
    changed = (
        select(ORDERS.c.state, ORDERS.c.updated_at)
        # NOT_PENDING is the condition of the index on databases with partial indexes: without it, they would not use
        # this index.
        .where(NOT_PENDING, ORDERS.c.updated_at >= since)
        .order_by(ORDERS.c.updated_at.desc())
        .limit(_MOST_CHANGED)
    )
    for dialect in ("mysql", "mariadb"):
        # Without the hint, MariaDB would read and sort the whole table.
        changed = changed.with_hint(ORDERS, "FORCE INDEX (ix_recharge_orders_changed)", dialect)
    latest = changed.subquery()
    stopped = (OrderState.UNRESOLVED, OrderState.CANCELLED)
    return list(connection.scalars(select(latest.c.updated_at).where(latest.c.state.in_(stopped))))


def last_settled(connection: Connection) -> list[tuple[float, Source]]:
    """For each of the last settled orders: how many seconds it took to settle, and what settled it."""
    columns = (ORDERS.c.submitted_at, ORDERS.c.settled_at, ORDERS.c.settled_by)
    latest = select(*columns).where(ORDERS.c.settled_at.is_not(None)).order_by(ORDERS.c.settled_at.desc())
    return [
        # The difference is negative if a clock was set back, or if the given submission time was wrong.
        (max(0.0, (settled_at - submitted_at).total_seconds()), source)
        for submitted_at, settled_at, source in connection.execute(latest.limit(_MOST_SETTLED))
    ]


def _final(within: Sequence[ColumnElement[bool]]) -> Select[Any]:
    final = ORDERS.c.state.in_((OrderState.SUCCEEDED, OrderState.FAILED))
    return select(ORDERS.c.state, func.count()).where(*within, final).group_by(ORDERS.c.state)


def _buckets(
    column: ColumnElement[Any], starts: Sequence[datetime]
) -> Iterator[tuple[datetime, list[ColumnElement[bool]]]]:
    """The start of each bucket, and the condition that a time column is within it. The last bucket has no end, because
    times may lie in the future if a clock was set back."""
    for start, end in pairwise(starts):
        yield start, [column >= start, column < end]
    yield starts[-1], [column >= starts[-1]]
