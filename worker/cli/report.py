"""`reconciler report`: the figures of a period, for finance."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

import typer

from worker.cli.listing import Form, write_csv
from worker.cli.output import console, print_fields, print_json, print_table, stored_name, text
from worker.cli.session import Accounts, require_known, say_deleted, session
from worker.cli.times import Days
from worker.domain.finance.report import AMOUNTS, COUNTS, PERCENTILES, SOURCES, Grouping, Report
from worker.views.finance import read_report
from worker.words.catalogue import message

# What a table has room for; the rest stands in JSON and CSV.
_SHOWN = (*COUNTS[:4], "expected_amount", "charged_amount", "mismatches", "unresolved")

By = Annotated[Grouping | None, typer.Option("--by", help="A row for each day or account, too.")]


def report(*, days: Days, by: By = None, account: Accounts = None, form: Form) -> None:
    """Show how the orders of a period were settled, after how long, and for how much.

    An order counts on the day on which it was settled, an unresolved one on the day of its submission. A callback is
    lost where a query had to settle the order and none ever came. A delay counts from submission to the final state; it
    is given as median, and as what 95 and 99 percent of the orders do not exceed. Amounts are yuan, exact.

    Examples:
      reconciler report
      reconciler report --from 2016-01-01 --to 2016-01-31 --by day --csv
      reconciler report --from yesterday --by account --json
    """
    with session() as opened:
        require_known(opened, account or ())
        period = days.period(opened.settings.zone, opened.now())
        read = read_report(opened.database, period, by, account or ())
        say_deleted(opened, period.start)
    rows = [{str(by): name, **figures.as_row()} for name, figures in read.rows.items()]
    if form.as_json:
        print_json(_to_response(read, rows, opened.settings.timezone))
    elif form.as_csv:
        _write_csv(read, rows)
    else:
        _show(read, rows)


def _to_response(read: Report, rows: list[dict[str, Any]], zone: str) -> dict[str, Any]:
    period = read.period
    head = {"from": period.first.isoformat(), "to": period.last.isoformat(), "timezone": zone}
    whole = {**head, "from_time": period.start, "to_time": period.end, **read.total.as_row()}
    return whole if read.by is None else {**whole, f"{read.by}s": rows}


def _write_csv(read: Report, rows: list[dict[str, Any]]) -> None:
    total = read.total.as_row()
    if read.by is None:
        period = {"from": read.period.first.isoformat(), "to": read.period.last.isoformat()}
        write_csv([*period, *total], [{**period, **total}])
    else:
        # No line of totals: the sum of a column would count everything twice.
        write_csv([str(read.by), *total], rows)


def _show(read: Report, rows: list[dict[str, Any]]) -> None:
    out = console()
    first, last = read.period.first, read.period.last
    days = f"{first}" if first == last else text("%(first)s to %(last)s", first, last)
    total = read.total.as_row()
    if read.by is not None:
        columns = (str(read.by), *_SHOWN)
        shown = [*rows, {str(read.by): stored_name("total", "Total"), **total}]
        rows = [{name: row[name] for name in columns} for row in shown]
        print_table(out, columns, rows, title=days, ids=columns[:1], listed="report")
    else:
        out.print(days, style="bold")
        print_fields(out, {name: _with_words(name, total) for name in (*COUNTS, *AMOUNTS)})
        out.print()
    delays = [
        {
            "delay_of": stored_name(f"by {word}", message(source)),
            **{name: _delay(total[f"{word}_delay_{name}_seconds"]) for name in PERCENTILES},
        }
        for source, word in SOURCES.items()
    ]
    print_table(out, ("delay_of", *PERCENTILES), delays)


def _with_words(name: str, total: Mapping[str, Any]) -> object:
    value = total[name]
    return value if isinstance(value, Decimal) else f"{value:,}"


def _delay(seconds: float | None) -> str:
    """A delay to the second, as hours, minutes and seconds: `0:10:23`, from a day on `2 days 3:00:00`."""
    if seconds is None:
        return "-"
    return str(timedelta(seconds=round(seconds))).replace(",", "")
