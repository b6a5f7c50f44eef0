"""Reads what the plots of the overview show: without locks, and by indexes alone."""

from collections.abc import Mapping

from worker.database.transactions import Database
from worker.domain.plot_series import allowed_queries, backlog, bucket_starts, choose_span, count_delays, count_times
from worker.domain.records.orders import OrderState
from worker.domain.records.parameters import Rules
from worker.domain.records.plots import Passed, Plots, Span
from worker.stores import overview_counts, plot_reads
from worker.stores.todo_reads import accounts_with_pending


def read_plots(database: Database, sids: Mapping[str, str], rules: Rules, span: Span | None) -> Plots:
    """All plots of a span; None: the one that suits. `sids` are the SIDs of the accounts that the settings name."""
    with database.snapshot() as connection:
        overview_counts.bound_statements(connection)
        now = database.now(connection)
        span = choose_span(span, plot_reads.oldest_submitted(connection), now)
        starts = bucket_starts(now, span)
        counts = [
            count
            for account in sorted({*overview_counts.known_accounts(connection), *accounts_with_pending(connection)})
            for count in overview_counts.count_by_lane(connection, account, now)
        ]
        pending = sum(count.pending for count in counts)
        final = plot_reads.count_final(connection, starts)
        stopped = plot_reads.stopped_since(connection, starts[0])
        passed = Passed(
            submitted=count_times(starts, plot_reads.count_submitted(connection, starts)),
            succeeded=count_times(starts, final[OrderState.SUCCEEDED]),
            failed=count_times(starts, final[OrderState.FAILED]),
            stopped=count_times(starts, ((time, 1) for time in stopped)),
        )
        sent = plot_reads.sent_since(connection, starts[0])
        return Plots(
            now=now,
            span=span,
            starts=starts,
            passed=passed,
            pending=pending,
            due=sum(count.due for count in counts),
            backlog=backlog(pending, passed.submitted, _left(passed)),
            delays=count_delays(plot_reads.last_settled(connection)),
            queries=count_times(starts, ((time, 1) for time, _ in sent)),
            query_orders=count_times(starts, sent),
            allowed=allowed_queries(span.bucket, len({*sids.values()}), rules),
            batch_size=rules.batch_size,
            last_queries=plot_reads.last_queries(connection),
        )


def _left(passed: Passed) -> list[int]:
    return [sum(left) for left in zip(passed.succeeded, passed.failed, passed.stopped, strict=True)]
