"""`reconciler report` and `compare`, for finance: the figures of a period, and the comparison of a platform's statement
with our orders. A statement is CSV with a header."""

import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from worker.adapters.csv_files import NoHeader, StatementFault, read_rows
from worker.adapters.text_files import os_words
from worker.cli.app import CommandError
from worker.cli.declare import STDIN, WrongUse, file_or_stdin
from worker.cli.listing import Form, write_csv
from worker.cli.output import (
    SKIN,
    console,
    counted,
    in_words,
    print_fields,
    print_json,
    print_table,
    say,
    stored_name,
    text,
)
from worker.cli.session import Accounts, Session, account_option, require_known, say_deleted, session
from worker.cli.times import Days
from worker.domain.finance.report import (
    AMOUNTS,
    COUNTS,
    PERCENTILES,
    SOURCES,
    Grouping,
    Report,
    StatementRow,
    UnreadableRow,
)
from worker.domain.finance.statements import (
    DIFFERENCE_COLUMNS,
    USUAL_WORDS,
    Comparison,
    Difference,
    DifferenceKind,
    PeriodBy,
    Sum,
    state_words,
)
from worker.domain.records.orders import OrderState
from worker.domain.records.sentences import Fault
from worker.domain.wire.fields import amount_text
from worker.settings import DEFAULT_ACCOUNT
from worker.views.finance import compare_statement, read_report
from worker.words.catalogue import means, message

# The figures that fit in a table; JSON and CSV have all figures.
_FIGURES_SHOWN = (*COUNTS[:4], "expected_amount", "charged_amount", "mismatches", "unresolved")

Grouped = Annotated[Grouping | None, typer.Option("--by", help="A row for each day or account, too.")]


def report(*, days: Days, by: Grouped = None, account: Accounts = None, form: Form) -> None:
    """Show the results, delays and amounts of the orders of a period.

    An order counts on the day when it was settled; an unresolved one, on the day of its submission. A callback counts
    as lost if it never came and a query settled the order. A delay is the time from submission to the final state; its
    median and its 95th and 99th percentiles are shown. Amounts are exact, in yuan.

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
        print_json(_report_to_response(read, rows, opened.settings.timezone))
    elif form.as_csv:
        _write_report_csv(read, rows)
    else:
        _show_report(read, rows)


def _report_to_response(read: Report, rows: list[dict[str, Any]], zone: str) -> dict[str, Any]:
    period = read.period
    head = {"from": period.first.isoformat(), "to": period.last.isoformat(), "timezone": zone}
    whole = {**head, "from_time": period.start, "to_time": period.end, **read.total.as_row()}
    return whole if read.by is None else {**whole, f"{read.by}s": rows}


def _write_report_csv(read: Report, rows: list[dict[str, Any]]) -> None:
    total = read.total.as_row()
    if read.by is None:
        period = {"from": read.period.first.isoformat(), "to": read.period.last.isoformat()}
        write_csv([*period, *total], [{**period, **total}])
    else:
        # Print no line of totals: someone who adds up a column would count everything twice.
        write_csv([str(read.by), *total], rows)


def _show_report(read: Report, rows: list[dict[str, Any]]) -> None:
    out = console()
    first, last = read.period.first, read.period.last
    days = f"{first}" if first == last else text("%(first)s to %(last)s", first, last)
    total = read.total.as_row()
    if read.by is not None:
        columns = (str(read.by), *_FIGURES_SHOWN)
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
    """A delay to the second, such as `0:10:23`, or `2 days 3:00:00` if it is a day or more."""
    if seconds is None:
        return "-"
    return str(timedelta(seconds=round(seconds))).replace(",", "")


OPTIONS = {"request_id": "--id-column", "state": "--state-column", "amount": "--amount-column"}


_FEW_ALIKE = 5
"""The most unreadable rows with one reason that are listed one by one. If more rows have this reason, a single line
gives their number instead."""
_DIFFERENCE_SHOWN = ("kind", "line", "order", "statement_state", "statement_amount", "state", "charged_amount")


def _words(state: OrderState) -> Any:
    usual = ", ".join(USUAL_WORDS[state])
    help_ = f"A word for {state}, beside {usual}; may be repeated."
    return typer.Option(f"--{state}", metavar="WORD", help=help_)


def _column(option: str, what: str) -> Any:
    return typer.Option(option, metavar="NAME", help=f"The column with the {what}.")


Statement = Annotated[
    Path,
    typer.Argument(metavar="STATEMENT", help="CSV, UTF-8 or GB18030; - is standard input.", callback=file_or_stdin),
]
CountedBy = Annotated[PeriodBy, typer.Option("--by", help="Which time of an order counts for the period.")]
Whose = Annotated[list[str] | None, account_option("Whose the statement is; may be repeated.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="How many differences a table shows at most.")]


@dataclass(frozen=True, kw_only=True)
class StatementWords:
    """The options that name the columns of a statement and the words that it uses for states."""

    id_column: Annotated[
        str | None, _column("--id-column", "request id, where it is not called request_id, requestId or 平台订单号")
    ] = None
    state_column: Annotated[
        str | None, _column("--state-column", "state, where it is not called state, status or 状态")
    ] = None
    amount_column: Annotated[
        str | None, _column("--amount-column", "amount, where it is not called amount, oriAmount or 金额")
    ] = None
    succeeded: Annotated[list[str] | None, _words(OrderState.SUCCEEDED)] = None
    failed: Annotated[list[str] | None, _words(OrderState.FAILED)] = None
    pending: Annotated[list[str] | None, _words(OrderState.PENDING)] = None

    def rows(self, file: BinaryIO) -> Iterator[StatementRow | UnreadableRow]:
        """The rows of a statement. Raises WrongUse if a word is given for two states, and StatementFault like
        `read_rows`."""
        given = {OrderState.SUCCEEDED: self.succeeded, OrderState.FAILED: self.failed, OrderState.PENDING: self.pending}
        columns = {"request_id": self.id_column, "state": self.state_column, "amount": self.amount_column}
        try:
            words = state_words({state: texts or () for state, texts in given.items()})
        except Fault as fault:
            raise WrongUse("%(why)s", fault.sentence) from None
        return read_rows(file, columns, words)


def compare(
    statement: Statement,
    *,
    days: Days,
    by: CountedBy = PeriodBy.SUBMITTED,
    account: Whose = None,
    words: StatementWords,
    limit: Limit = 100,
    form: Form,
) -> None:
    """Compare a statement of the platform with the orders of a period: show the differences both ways, and the sums.

    A row of the statement is matched with its order, even if the order is of another day. An order of the period that
    no row names is missing from the statement. The command does not change anything. Amounts are in yuan; an amount in
    the row of a failed order counts as a charge, too. The exit status is 0 even if there are differences.

    Examples:
      reconciler compare statement.csv --from 2016-01-01 --to 2016-01-31
      reconciler compare 对账单.csv --from yesterday --id-column 流水号 --state-column 状态 --amount-column 金额
      reconciler compare statement.csv --from 2016-01-31 --succeeded 充值完成 --failed 已退款 --csv
    """
    with _opened(statement) as file, session() as opened, _faults_told():
        rows = words.rows(file)
        accounts = account or [_only_account(opened)]
        require_known(opened, accounts)
        period = days.period(opened.settings.zone, opened.now())
        found = compare_statement(opened.database, rows, period, accounts, f"{by}_at")
        # If a row names an order that we do not know, that order may be of any day and may have been deleted. So report
        # deletions whatever the period is.
        say_deleted(opened, None if found.count_of(DifferenceKind.UNKNOWN) else period.start)
        if found.differences and not found.statement.count and (why := found.differences[0].why):
            line = found.differences[0].line
            raise CommandError("no row of the statement can be read; line %(line)s: %(why)s", line, why)
    if form.as_json:
        print_json(_comparison_to_response(found, opened.settings.timezone, by, accounts))
    elif form.as_csv:
        write_csv(DIFFERENCE_COLUMNS, map(_row, found.differences))
    else:
        _show_comparison(found, limit)


def _opened(statement: Path) -> BinaryIO:
    if statement == STDIN:
        return io.BytesIO(sys.stdin.buffer.read())
    try:
        return statement.open("rb")
    except OSError as error:
        raise CommandError("%(path)s cannot be read (%(why)s)", statement, os_words(error)) from None


@contextmanager
def _faults_told() -> Iterator[None]:
    """Turn faults of a statement into CommandError."""
    try:
        yield
    except NoHeader as fault:
        options = ", ".join(f"{option} NAME" for option in OPTIONS.values())
        raise CommandError("%(what)s: give %(options)s", fault.sentence, options, status=2) from None
    except StatementFault as fault:
        raise CommandError("%(why)s", fault.sentence) from None


def _only_account(opened: Session) -> str:
    """The only account, for a statement without --account. Raises CommandError if there are several."""
    names = list(opened.settings.accounts) or [DEFAULT_ACCOUNT]
    if len(names) > 1:
        listed = ", ".join(names)
        raise CommandError("there are %(accounts)s: say with --account whose the statement is", listed, status=2)
    return names[0]


def _comparison_to_response(found: Comparison, zone: str, by: PeriodBy, accounts: list[str]) -> dict[str, Any]:
    return {
        "from": found.period.first.isoformat(),
        "to": found.period.last.isoformat(),
        "timezone": zone,
        "by": by,
        "accounts": accounts,
        "statement": _sum(found.statement, "rows"),
        "orders": _sum(found.orders, "orders"),
        "other_days": _sum(found.other_days, "orders"),
        "amount_difference": found.amount_difference,
        "agreeing": found.agreeing,
        "counts": {kind: found.count_of(kind) for kind in DifferenceKind},
        "differences": [_row(difference) for difference in found.differences],
    }


def _sum(one: Sum, what: str) -> dict[str, object]:
    return {what: one.count, "succeeded": one.succeeded, "amount": one.amount}


def _row(difference: Difference) -> dict[str, Any]:
    return {name: getattr(difference, name) for name in DIFFERENCE_COLUMNS}


def _show_comparison(found: Comparison, limit: int) -> None:
    out = console()
    sums = {stored_name("statement", "Statement"): found.statement}
    sums[stored_name("our orders of the period", "Our orders of these days")] = found.orders
    if found.other_days.count:
        sums[stored_name("our orders of other days", "Our orders of other days")] = found.other_days
    rows = [{"of": name, **_sum(one, "count")} for name, one in sums.items()]
    period = found.period
    days = text("%(first)s to %(last)s", period.first, period.last)
    print_table(out, ("of", "count", "succeeded", "amount"), rows, title=days)
    if not found.differences:
        agreeing = counted(found.agreeing, "row")
        say("Nothing differs: %(rows)s agree, and no order of the period is missing.", agreeing)
        return
    kinds = [
        {"kind": kind, "count": count, "yuan": _signed(found.excess_of(kind)), "means": means(kind, SKIN)}
        for kind in DifferenceKind
        if (count := found.count_of(kind))
    ]
    title = stored_name("What differs", "Differences")
    print_table(out, ("kind", "count", "yuan", "means"), kinds, title=title, listed="differences")
    alike = Counter(one.why for one in found.differences if one.why is not None)
    said_once = {why: count for why, count in alike.most_common() if count > _FEW_ALIKE}
    for why, count in said_once.items():
        unread = counted(count, "row")
        say("%(rows)s cannot be read, %(why)s: see --succeeded, --failed and --pending.", unread, why)
    listed = [one for one in found.differences if one.why not in said_once]
    shown = [
        {**_row(one), "order": one.request_id or one.custom_parm, "why": one.why and in_words(one.why)}
        for one in listed[:limit]
    ]
    columns = (*_DIFFERENCE_SHOWN, "why") if any(one["why"] for one in shown) else _DIFFERENCE_SHOWN
    print_table(out, columns, shown, ids=("order",), long_texts=("why",), listed="differences")
    if len(listed) > limit:
        say("%(count)s more: --limit, --csv or --json shows them.", f"{len(listed) - limit:,}")
    agreeing, total = counted(found.agreeing, "row"), _signed(found.amount_difference)
    say("%(rows)s of the statement agree. Statement minus our orders: %(total)s yuan.", agreeing, total)


def _signed(amount: Decimal) -> str:
    return f"+{amount_text(amount)}" if amount > 0 else amount_text(amount)
