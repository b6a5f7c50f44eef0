"""List the acts of operators, newest first. An act is one row of the list, even if it has several accounts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from worker.database.bulk_statements import one_of
from worker.database.tables import ACTS
from worker.domain.records.coded_texts import CodedText, TextCode, with_code
from worker.domain.records.operators import ActKind
from worker.views.page import PAGE_SECONDS, Bound, Listed, Page, apart, between, read_page

Row = dict[str, Any]

_SHOWN = [column for column in ACTS.c if column.name not in ("order_count", "order_ids")]
_KEY = (ACTS.c.at, ACTS.c.id)


@dataclass(frozen=True, kw_only=True, slots=True)
class ActSearch:
    """The acts to find. An empty field sets no condition."""

    accounts: Sequence[str] = ()
    """Finds acts on any of these accounts, and acts on all accounts."""
    actor: str | None = None
    kinds: Sequence[ActKind] = ()
    since: datetime | None = None
    """Acts that began at this time or later."""
    until: datetime | None = None
    """Acts that began before this time."""


def recent_acts(
    connection: Connection, wanted: ActSearch, *, after: int | None = None, most: int, seconds: Bound = PAGE_SECONDS
) -> Page[Row]:
    """The next `most` acts that match, newest first, starting with the next older one than `after`; with the newest one
    if `after` is None.

    An act may have several rows in the table, and is listed with the columns of its first one. `orders` is the number
    of all its orders. `account` has all its accounts, separated by commas. `detail` names orders only if the act has a
    single row.
    """
    last = None if after is None else connection.execute(select(*_KEY).where(ACTS.c.id == after)).first()
    if after is not None and last is None:
        return Page(rows=[])
    began = between(ACTS.c.at, wanted.since, wanted.until)
    listed = Listed(key=_KEY, within=began, filters=_conditions(apart(connection, ACTS), wanted))
    key = None if last is None else tuple(last)
    page = read_page(connection, listed, ACTS, _SHOWN, after=key, most=most, seconds=seconds)
    return replace(page, rows=_whole(connection, page.rows))


def _conditions(columns: Any, wanted: ActSearch) -> list[ColumnElement[bool]]:
    other = ACTS.alias()
    of_act = select(other.c.id).where(other.c.act_key == columns.act_key)
    # An act may have several rows in the table. Only its first row is in the list.
    listed = [or_(columns.act_key.is_(None), ~of_act.where(other.c.id < columns.id).exists())]
    if wanted.accounts:
        # LIMIT is used instead of EXISTS, because a database may answer EXISTS by reading all acts.
        theirs = of_act.where(other.c.account.in_(wanted.accounts)).limit(1).scalar_subquery()
        listed.append(or_(columns.account.is_(None), columns.account.in_(wanted.accounts), theirs.is_not(None)))
    if wanted.actor is not None:
        listed.append(columns.actor == wanted.actor)
    if wanted.kinds:
        listed.append(columns.act.in_([kind.value for kind in wanted.kinds]))
    return listed


def _whole(connection: Connection, first: Iterable[Row]) -> list[Row]:
    """The whole acts, given the first row of each."""
    rows = [with_code(row) for row in first]
    by_account = (
        select(ACTS.c.act_key, ACTS.c.account, func.sum(ACTS.c.order_count), func.count())
        .where(one_of(connection, ACTS.c.act_key, [row["act_key"] for row in rows if row["act_key"]]))
        .group_by(ACTS.c.act_key, ACTS.c.account)
        .order_by(ACTS.c.account)
    )
    parts: dict[str, list[Any]] = {}
    for part in connection.execute(by_account):
        parts.setdefault(part.act_key, []).append(part)
    return [_act(row, parts.get(row["act_key"], [])) for row in rows]


def _act(row: Row, parts: Sequence[Any]) -> Row:
    # The count of orders is None for acts without orders, such as a pause of several accounts.
    orders = sum(int(orders or 0) for _, _, orders, _ in parts)
    if sum(rows for *_, rows in parts) > 1:
        row["account"] = ", ".join(account for _, account, _, _ in parts)
        row["detail"] = CodedText(TextCode.MANY_ORDERS, count=orders) if orders else row["detail"]
    return {**row, "orders": orders or None}
