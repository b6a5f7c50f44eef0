"""`reconciler compare`: a statement of the platform, which is CSV with a header, against our orders."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.adapters.error_text import one_line
from worker.cli.csv_header import STDIN, USUAL_NAMES, Header, encoding_of, file_or_stdin, find_header, first_names
from worker.cli.errors import CommandError
from worker.cli.listing import Form, write_csv
from worker.cli.output import console, counted, print_json, print_table
from worker.cli.session import Session, account_option, require_known, session
from worker.cli.times import Days
from worker.domain.finance.report import StatementRow, UnreadableRow
from worker.domain.finance.statements import (
    USUAL_WORDS,
    Comparison,
    Difference,
    DifferenceKind,
    StateWords,
    Sum,
    plain_id,
    read_row,
    state_words,
)
from worker.domain.records.orders import OrderState
from worker.domain.wire.fields import amount_text
from worker.settings import DEFAULT_ACCOUNT
from worker.views.finance import compare_statement

OPTIONS = {"request_id": "--id-column", "state": "--state-column", "amount": "--amount-column"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """The three cells of a row that are compared, as text."""

    line: int
    request_id: str
    state: str
    amount: str
    fault: str | None = None
    """Why the row cannot be compared, whatever its cells hold."""


def read_cells(content: bytes, columns: Mapping[str, str | None]) -> Iterator[Cells]:
    """The rows below the header; `columns` has a name for each of `OPTIONS` that was given one.

    A row that ends early has empty cells; one without any text is passed over. Raises CommandError, at once for the
    header, and for a row that is no CSV when it comes.
    """
    text = _decoded(content)
    names = {column: [given] if given else USUAL_NAMES[column] for column, given in columns.items()}
    header = find_header(text, names, lambda places: all(len(found) == 1 for found in places.values()))
    if header is None:
        options = ", ".join(f"{option} NAME" for option in OPTIONS.values())
        names_shown = first_names(text)
        raise CommandError(
            one_line(
                "the statement has no header that names each column once;"
                f" its first row has {names_shown}: give {options}"
            ),
            status=2,
        )
    return (_cells(line, row, header) for line, row in _rows_below(text, header) if any(cell.strip() for cell in row))


def _cells(line: int, row: Sequence[str], header: Header) -> Cells:
    # 2,94 without quotes is two cells, and the amount would be the first of them.
    width = len(header.names)
    more = any(cell.strip() for cell in row[width:])
    fault = f"row: it has {len(row)} cells, while the header has {width}" if more else None
    named = {name: row[place] if place < len(row) else "" for name, (place,) in header.places.items()}
    return Cells(line=line, fault=fault, **named)


def _decoded(content: bytes) -> str:
    try:
        return content.decode(encoding_of(content.splitlines())).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise CommandError("the statement is neither UTF-8 nor GB18030: save it as CSV in one of these") from None


def _rows_below(text: str, header: Header) -> Iterator[tuple[int, list[str]]]:
    """Each row below the header with the number of its last line."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=header.delimiter, strict=True)
    try:
        for row in rows:
            if rows.line_num > header.line:
                yield rows.line_num, row
    except csv.Error as error:
        raise CommandError(f"line {rows.line_num} of the statement is no CSV ({error}): save it as CSV again") from None


_COLUMNS = tuple(field.name for field in fields(Difference))
_FEW_ALIKE = 5
"""So many rows that cannot be read for the same reason are listed; more of them are one line."""
_SHOWN = ("kind", "line", "order", "statement_state", "statement_amount", "state", "charged_amount")
_MEANINGS = {
    DifferenceKind.STATE: "another state than ours",
    DifferenceKind.AMOUNT: "another amount than ours",
    DifferenceKind.UNKNOWN: "in the statement, no order of ours",
    DifferenceKind.MISSING: "our order, not in the statement",
    DifferenceKind.DUPLICATE: "a second time in the statement",
    DifferenceKind.UNREADABLE: "rows that cannot be read",
}


class PeriodBy(StrEnum):
    """By which of its times an order belongs to the period."""

    SUBMITTED = "submitted"
    SETTLED = "settled"


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
By = Annotated[PeriodBy, typer.Option("--by", help="Which time of an order counts for the period.")]
Accounts = Annotated[list[str] | None, account_option("Whose the statement is; may be repeated.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="How many differences a table shows at most.")]


@dataclass(frozen=True, kw_only=True)
class StatementWords:
    """The options that say what a statement calls its columns and its states."""

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

    def rows(self, content: bytes) -> Iterator[StatementRow | UnreadableRow]:
        """The rows of a statement. Raises BadParameter for a word of two states, CommandError as `read_cells` does."""
        given = {OrderState.SUCCEEDED: self.succeeded, OrderState.FAILED: self.failed, OrderState.PENDING: self.pending}
        columns = {"request_id": self.id_column, "state": self.state_column, "amount": self.amount_column}
        try:
            words = state_words({state: texts or () for state, texts in given.items()})
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        return (_row_of(cells, words) for cells in read_cells(content, columns))


def compare(
    statement: Statement,
    *,
    days: Days,
    by: By = PeriodBy.SUBMITTED,
    account: Accounts = None,
    words: StatementWords,
    limit: Limit = 100,
    form: Form,
) -> None:
    """Compare a statement of the platform with the orders of a period: what differs, both ways, and the sums.

    A row of the statement is matched with its order whatever the order's day; an order of the period that no row names
    is missing from the statement. Archived orders count too. Changes nothing. Amounts are yuan; one beside a failed
    order is a charge, too. Differences leave the exit status at 0.

    Examples:
      reconciler compare statement.csv --from 2016-01-01 --to 2016-01-31
      reconciler compare 对账单.csv --from yesterday --id-column 流水号 --state-column 状态 --amount-column 金额
      reconciler compare statement.csv --from 2016-01-31 --succeeded 充值完成 --failed 已退款 --csv
    """
    rows = words.rows(_content(statement))
    with session() as opened:
        accounts = account or [_only_account(opened)]
        require_known(opened, accounts)
        period = days.period(opened.settings.zone, opened.now())
        found = compare_statement(opened.database, rows, period, accounts, f"{by}_at")
        if found.differences and not found.statement.count and (why := found.differences[0].why):
            raise CommandError(f"no row of the statement can be read; line {found.differences[0].line}: {why}")
    if form.as_json:
        print_json(_to_response(found, opened.settings.timezone, by, accounts))
    elif form.as_csv:
        write_csv(_COLUMNS, map(_row, found.differences))
    else:
        _show(found, limit)


def _content(statement: Path) -> bytes:
    if statement == STDIN:
        return sys.stdin.buffer.read()
    try:
        return statement.read_bytes()
    except OSError as error:
        raise CommandError(f"{statement} cannot be read ({error.strerror})") from None


def _row_of(cells: Cells, words: StateWords) -> StatementRow | UnreadableRow:
    if cells.fault is not None:
        return UnreadableRow(line=cells.line, request_id=plain_id(cells.request_id), why=cells.fault)
    return read_row(cells.line, cells.request_id, cells.state, cells.amount, words)


def _only_account(opened: Session) -> str:
    """The account that a statement is of where nobody says so."""
    names = list(opened.settings.accounts) or [DEFAULT_ACCOUNT]
    if len(names) > 1:
        raise CommandError(f"there are {', '.join(names)}: say with --account whose the statement is", status=2)
    return names[0]


def _to_response(found: Comparison, zone: str, by: PeriodBy, accounts: list[str]) -> dict[str, Any]:
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
    return {name: getattr(difference, name) for name in _COLUMNS}


def _show(found: Comparison, limit: int) -> None:
    out = console()
    sums = {"statement": found.statement, "our orders of the period": found.orders}
    sums |= {"our orders of other days": found.other_days} if found.other_days.count else {}
    rows = [{"of": name, **_sum(one, "count")} for name, one in sums.items()]
    period = found.period
    print_table(out, ("of", "count", "succeeded", "amount"), rows, title=f"{period.first} to {period.last}")
    if not found.differences:
        typer.echo(f"Nothing differs: {counted(found.agreeing, 'row')} agree, and no order of the period is missing.")
        return
    kinds = [
        {"kind": kind, "count": count, "yuan": _signed(_excess(found, kind)), "means": _MEANINGS[kind]}
        for kind in DifferenceKind
        if (count := found.count_of(kind))
    ]
    print_table(out, ("kind", "count", "yuan", "means"), kinds, title="What differs")
    alike = Counter(one.why for one in found.differences if one.kind is DifferenceKind.UNREADABLE)
    said_once = {why: count for why, count in alike.most_common() if count > _FEW_ALIKE}
    for why, count in said_once.items():
        typer.echo(f"{counted(count, 'row')} cannot be read, {why}: see --succeeded, --failed and --pending.")
    listed = [one for one in found.differences if one.why not in said_once]
    shown = [{**_row(one), "order": one.request_id or one.custom_parm} for one in listed[:limit]]
    columns = (*_SHOWN, "why") if any(one["why"] for one in shown) else _SHOWN
    print_table(out, columns, shown, ids=("order",), long_texts=("why",))
    if len(listed) > limit:
        typer.echo(f"{len(listed) - limit:,} more: --limit, --csv or --json shows them.")
    total = _signed(found.amount_difference)
    typer.echo(f"{counted(found.agreeing, 'row')} of the statement agree. Statement minus our orders: {total} yuan.")


def _excess(found: Comparison, kind: DifferenceKind) -> Decimal:
    return sum((one.excess for one in found.differences if one.kind is kind), Decimal(0))


def _signed(amount: Decimal) -> str:
    return f"+{amount_text(amount)}" if amount > 0 else amount_text(amount)
