"""Finding an order by whatever number a person holds: either id or its start, the row's id, or the phone number."""

import re
from dataclasses import dataclass, replace
from typing import Any

from worker.database.transactions import Connection
from worker.domain.field_rules import id_fault, normalise_mobile
from worker.stores.command_line_reads import order_by_id, orders_with_id
from worker.stores.newest_first import Key
from worker.stores.order_search import FoundOrders, OrderSearch, find_orders

Row = dict[str, Any]

_ROW_ID = re.compile(r"(id:)?([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hits:
    """What was found."""

    exact: list[Row]
    """The orders that have just this id, or this row id."""
    others: FoundOrders
    """A page of those that begin so, or have this phone number, the exact ones perhaps among them."""


def is_searchable(number: str) -> bool:
    """Whether any order could have this number, or an id that begins so."""
    return _ROW_ID.fullmatch(number) is not None or normalise_mobile(number) is not None or id_fault(number) is None


def search_orders(
    connection: Connection, number: str, wanted: OrderSearch, *, after: Key | None, most: int, seconds: float
) -> Hits:
    """The orders of all accounts that a searchable number names, among those that are wanted; newest first.

    On the first page those that have just this id, or row id, come first. In a snapshot.
    """
    named = orders_with_id(connection, number) if after is None and id_fault(number) is None else []
    row_id = _ROW_ID.fullmatch(number)
    by_row_id = order_by_id(connection, int(row_id[2])) if row_id and after is None else None
    exact = {row["id"]: row for row in [*named, *([by_row_id] if by_row_id else [])]}
    if len(named) == 1 or (row_id and row_id[1]):
        # It names an order, whatever else begins with it.
        rows = named if len(named) == 1 and not (row_id and row_id[1]) else list(exact.values())
        return Hits(exact=rows, others=FoundOrders(rows=[]))
    mobile = normalise_mobile(number)
    narrowed = replace(wanted, mobile=mobile) if mobile else replace(wanted, prefix=number)
    found = find_orders(connection, narrowed, after=after, most=most, seconds=seconds)
    return Hits(exact=list(exact.values()), others=found)
