"""Read reports and comparisons for finance, each in one snapshot."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, and_, case, select

from worker.database.bulk_statements import found_by, ids_of, one_of
from worker.database.tables import EVENTS, ORDERS, SETTLED, UNRESOLVED
from worker.database.transactions import Database
from worker.domain.finance.report import Grouping, OwnOrder, Period, Report, SettledOrder, StatementRow, UnreadableRow
from worker.domain.finance.statements import Comparison
from worker.domain.records.orders import OrderState, Source

T = TypeVar("T")

_COMPARED_AT_ONCE = 500
_ROWS_AT_ONCE = 2000
Bounds = tuple[datetime, datetime]
"""The start and the end of a period: its first moment, and the first moment after it."""
Check = Callable[[int], None]
"""A function that is called for each row, with the number of differences in memory. An error that it raises ends the
reading."""


def read_report(
    database: Database,
    period: Period,
    by: Grouping | None,
    accounts: Collection[str],
    check: Check = lambda _: None,
) -> Report:
    """The figures of a period for these accounts; for all accounts if `accounts` is empty. Orders are read one by one,
    so memory does not grow with the number of orders."""
    report = Report(period=period, by=by)
    bounds = (period.start, period.end)
    with database.snapshot() as connection:
        report.count(
            _checked(settled_orders(connection, bounds, accounts), check),
            _checked(unresolved_orders(connection, bounds, accounts), check),
        )
    return report


def compare_statement(
    database: Database,
    rows: Iterable[StatementRow | UnreadableRow],
    period: Period,
    accounts: Sequence[str],
    time_column: str,
    check: Check = lambda _: None,
) -> Comparison:
    """Compare a statement of these accounts (one or more) with our orders of a period.

    An order belongs to the period by its `time_column`: `submitted_at` or `settled_at`. Memory holds the differences
    and the ids that the statement names.
    """
    comparison = Comparison(period=period)
    every = _checked(rows, check, comparison.differences)
    with database.snapshot() as connection:
        while some := list(islice(every, _COMPARED_AT_ONCE)):
            names = {row.request_id for row in some if isinstance(row, StatementRow)}
            found = orders_by_request_id(connection, time_column, accounts, names) if names else []
            comparison.compare_rows(some, found)
        own = own_orders(connection, time_column, (period.start, period.end), accounts)
        comparison.compare_orders(_checked(own, check, comparison.differences))
    return comparison


def _checked(rows: Iterable[T], check: Check, held: Sequence[object] = ()) -> Iterator[T]:
    for row in rows:
        check(len(held))
        yield row


def settled_orders(connection: Connection, bounds: Bounds, accounts: Collection[str]) -> Iterator[SettledOrder]:
    """The orders of these accounts that became final within these bounds; of all accounts if `accounts` is empty."""
    # With LIMIT, PostgreSQL looks up the events of each order in the index. Without it, PostgreSQL may read all events.
    heard = select(EVENTS.c.id).where(EVENTS.c.order_id == ORDERS.c.id, EVENTS.c.source == Source.CALLBACK).limit(1)
    columns = [
        ORDERS.c[name] for name in ("account", "state", "settled_by", "submitted_at", "settled_at", "expected_amount")
    ]
    charge = case((ORDERS.c.amount_is_price.is_(False), ORDERS.c.ori_amount))
    asked = case((ORDERS.c.settled_by == Source.QUERY, heard.scalar_subquery()))
    chosen = _within("settled_at", bounds, accounts)
    statement = select(*columns, charge, asked).where(SETTLED, *chosen)
    for row in _stream(connection, statement):
        account, state, settled_by, submitted_at, settled_at, expected, charged, event = row
        yield SettledOrder(
            account=account,
            state=state,
            settled_by=settled_by,
            submitted_at=submitted_at,
            settled_at=settled_at,
            expected_amount=expected,
            charged_amount=charged,
            heard_callback=event is not None,
        )


def unresolved_orders(
    connection: Connection, bounds: Bounds, accounts: Collection[str]
) -> Iterator[tuple[str, datetime]]:
    """The account and the submission time of each unresolved order that was submitted within these bounds."""
    chosen = _within("submitted_at", bounds, accounts)
    columns = (ORDERS.c.account, ORDERS.c.submitted_at)
    yield from map(tuple, _stream(connection, select(*columns).where(UNRESOLVED, *chosen)))


def own_orders(
    connection: Connection, time_column: str, bounds: Bounds, accounts: Collection[str]
) -> Iterator[OwnOrder]:
    """The orders whose `time_column` (`submitted_at` or `settled_at`) is within these bounds, in any state."""
    chosen = _own_columns(time_column).where(*_within(time_column, bounds, accounts))
    if time_column == "settled_at":
        chosen = chosen.where(SETTLED)
    yield from map(_own_order, _stream(connection, chosen))


def orders_by_request_id(
    connection: Connection, time_column: str, accounts: Sequence[str], request_ids: Collection[str]
) -> list[OwnOrder]:
    """The orders of these accounts that have any of these request ids, whenever they were submitted."""
    looks = [ids_of(connection, ORDERS, "request_id", request_ids, account=name, most=1) for name in accounts]
    if not (ids := found_by(connection, looks)):
        return []
    named = _own_columns(time_column).where(one_of(connection, ORDERS.c.id, ids))
    return list(map(_own_order, connection.execute(named)))


def _own_columns(time_column: str) -> Select[Any]:
    names = ("id", "account", "request_id", "custom_parm", "state", "ori_amount", "amount_is_price", time_column)
    return select(*(ORDERS.c[name] for name in names))


def _own_order(row: Any) -> OwnOrder:
    order_id, account, request_id, custom_parm, state, amount, is_price, at = row
    return OwnOrder(
        id=order_id,
        account=account,
        request_id=request_id,
        custom_parm=custom_parm,
        state=OrderState(state),
        charged_amount=None if is_price else amount,
        echoed_price=amount if is_price else None,
        at=at,
    )


def _within(time_column: str, bounds: Bounds, accounts: Collection[str]) -> list[ColumnElement[bool]]:
    start, end = bounds
    conditions: list[ColumnElement[bool]] = [and_(ORDERS.c[time_column] >= start, ORDERS.c[time_column] < end)]
    return [*conditions, ORDERS.c.account.in_(accounts)] if accounts else conditions


def _stream(connection: Connection, statement: Select[Any]) -> Iterator[Any]:
    """The rows that an SQL statement returns. The driver holds at most 2,000 of them at a time."""
    yield from connection.execute(statement, execution_options={"yield_per": _ROWS_AT_ONCE})
