"""Reading one query: the orders that it polled, as they stand now, and what the answer left out or added."""

import json
from dataclasses import dataclass
from typing import Any

from worker.database.transactions import Connection
from worker.stores.query_reads import orders_of, query_by_id

Row = dict[str, Any]

_LISTS = ("polled_ids", "absent_ids", "added_items", "answer_excerpt")
_GONE = {"id": None, "state": None, "attention": None, "archived": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeQuery:
    """A query and what came of it."""

    query: Row
    """Its columns but the lists of ids; `answer_excerpt` is the start of the answer."""
    orders: list[Row]
    """For each id that it polled: `polled_id`, `absent`, and `id`, `state`, `attention`, `archived`, None if gone."""
    added: list[str]
    """What the answer said of orders that were not polled, an item each."""


def read_query(connection: Connection, query_id: int) -> WholeQuery | None:
    """The query with this id; None where there is none. In a snapshot: an order may be moved to the archive."""
    row = query_by_id(connection, query_id)
    if row is None:
        return None
    orders = orders_of(connection, row)
    absent = set((row["absent_ids"] or "").split(","))
    polled = [
        {"polled_id": name, **{key: orders.get(name, _GONE)[key] for key in _GONE}, "absent": name in absent}
        for name in row["polled_ids"].split(",")
    ]
    shown = {name: value for name, value in row.items() if name not in _LISTS}
    return WholeQuery(
        query={**shown, "answer_excerpt": row["answer_excerpt"]}, orders=polled, added=_added(row["added_items"])
    )


def _added(items: str | None) -> list[str]:
    if items is None:
        return []
    try:
        return [str(item) for item in json.loads(items)]
    except ValueError:
        # The store keeps the start of a very long list only.
        return [items]
