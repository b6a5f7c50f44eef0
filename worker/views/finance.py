"""Reading what finance asks for. One moment's view of both tables: an order that is archived meanwhile counts once."""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from worker.database.transactions import Database
from worker.domain.finance_report import Grouping, Period, Report
from worker.domain.records.finance_rows import StatementRow, UnreadableRow
from worker.domain.statements import Comparison
from worker.stores.finance_reads import orders_by_request_id, own_orders, settled_orders, unresolved_orders

_ROWS_AT_ONCE = 500


def read_report(database: Database, period: Period, by: Grouping | None, accounts: Collection[str]) -> Report:
    """The figures of a period, of these accounts or of all. Orders pass one by one, however many there are."""
    report = Report(period=period, by=by)
    bounds = (period.start, period.end)
    with database.snapshot() as connection:
        report.count(
            settled_orders(connection, bounds, accounts),
            unresolved_orders(connection, bounds, accounts),
        )
    return report


def compare_statement(
    database: Database,
    rows: Iterable[StatementRow | UnreadableRow],
    period: Period,
    accounts: Sequence[str],
    time_column: str,
) -> Comparison:
    """A statement of these accounts (one or more) against our orders of a period.

    `time_column` is `submitted_at` or `settled_at`: by which of them an order belongs to the period. What is held in
    memory is the differences, and the ids that the statement names.
    """
    comparison = Comparison(period=period)
    every = iter(rows)
    with database.snapshot() as connection:
        while some := list(islice(every, _ROWS_AT_ONCE)):
            names = {row.request_id for row in some if isinstance(row, StatementRow)}
            found = orders_by_request_id(connection, time_column, accounts, names) if names else []
            comparison.compare_rows(some, found)
        comparison.compare_orders(own_orders(connection, time_column, (period.start, period.end), accounts))
    return comparison
