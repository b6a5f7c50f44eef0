"""Reading what finance asks for. One moment's view of both tables: an order that is archived meanwhile counts once."""

from collections.abc import Collection

from worker.database.transactions import Database
from worker.domain.finance_report import Grouping, Report
from worker.domain.periods import Period
from worker.stores.finance_reads import settled_orders, unresolved_orders


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
