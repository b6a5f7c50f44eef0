"""Store input that could not be applied: refused input with its errors, and callbacks whose order is not known yet.

A callback whose order is unknown is found again by the ids that it names, and deleted once it is applied.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from worker.database.bulk_statements import found_by, ids_of, insert_rows, one_of
from worker.database.tables import ORDERS, REJECTED, UNMATCHED
from worker.domain.records.incoming import RefusedText, Trust
from worker.domain.records.orders import OrderKey
from worker.stores.recharge_orders import by_account_and_column

# The most kept callbacks that are read for one order at once. A later tick finds the rest.
_MOST_FOR_ONE_ORDER = 100


class KeptCallback(NamedTuple):
    """A kept callback: the id of its row, its account, its body as JSON, what it may do, and how often the same
    callback came again."""

    id: int
    account: str
    payload: str
    trust: Trust
    repeats: int


def keep_refused(connection: Connection, refused: Iterable[RefusedText], source: str, now: datetime) -> None:
    """Store refused input; `source` is the task or command that sent the input."""
    rows = [
        {"received_at": now, "source": source, **_texts_of(one)}
        | {name: getattr(one.key, name, None) for name in ("account", "request_id", "custom_parm")}
        for one in refused
    ]
    if rows:
        connection.execute(insert(REJECTED), rows)


def _texts_of(refused: RefusedText) -> dict[str, str | None]:
    return {name: getattr(refused, name) for name in ("payload", "errors", "errors_said")}


def close_refused(connection: Connection, ids: Collection[int]) -> int:
    """Close these rows of refused input, so that nobody has to deal with them any more. Return how many of them were
    open."""
    its = update(REJECTED).where(one_of(connection, REJECTED.c.id, ids), REJECTED.c.is_open)
    return connection.execute(its.values(is_open=False)).rowcount


def close_refused_of(connection: Connection, keys: Sequence[OrderKey]) -> None:
    """Close the open rows of refused orders that were accepted later. A row with a request_id is found by its
    request_id only: two orders that share a custom_parm, but not a request_id, are different orders."""
    reads = [
        select(REJECTED.c.id).where(
            REJECTED.c.is_open,
            REJECTED.c.account == account,
            one_of(connection, REJECTED.c[column], ids),
            *([] if column == "request_id" else [REJECTED.c.request_id.is_(None)]),
        )
        for account, column, ids in by_account_and_column(keys)
    ]
    if reads and (found := found_by(connection, reads)):
        close_refused(connection, found)


def keep_refused_once(connection: Connection, refused: Iterable[RefusedText], source: str, now: datetime) -> None:
    """Store refused input. If the same input is stored already, only count that it came again.

    Raise IntegrityError if another session stores the same input at this moment.
    """
    rows = [{"received_at": now, "source": source, **_texts_of(one)} for one in refused]
    # The digest needs no account: if a callback was refused at the address of an account, its errors name the account.
    named = [(_digest(row["source"], row["errors"], row["payload"]), row) for row in rows]
    # The rows are sorted, so that processes that keep the same input do not deadlock.
    _keep_once(connection, REJECTED, sorted(named, key=itemgetter(0)))


class RefusedRow(NamedTuple):
    """The columns of a row of refused input that are needed to retry the input."""

    source: str
    payload: str
    errors: str
    received_at: datetime


def lock_refused(connection: Connection, rejected_id: int) -> RefusedRow | None:
    """Lock and read a row of refused input. Return None if the row does not exist any more."""
    columns = (REJECTED.c.source, REJECTED.c.payload, REJECTED.c.errors, REJECTED.c.received_at)
    chosen = select(*columns).where(REJECTED.c.id == rejected_id)
    row = connection.execute(chosen.with_for_update()).first()
    return None if row is None else RefusedRow(*row)


def rewrite_refused(connection: Connection, rejected_id: int, refused: RefusedText) -> None:
    """Write into a locked row why its input was refused again."""
    written = {"errors": refused.errors, "errors_said": refused.errors_said}
    connection.execute(update(REJECTED).where(REJECTED.c.id == rejected_id).values(written))


def drop_refused(connection: Connection, rejected_id: int) -> None:
    """Delete a locked row of refused input."""
    connection.execute(delete(REJECTED).where(REJECTED.c.id == rejected_id))


def keep_callbacks(connection: Connection, callbacks: Iterable[tuple[OrderKey, str, Trust]], now: datetime) -> None:
    """Keep callbacks, each given as the key that it names, its body as JSON, and what it may do. If the same callback
    is kept already, only count that it came again. Raise IntegrityError if another session keeps the same callback at
    this moment."""
    # The callbacks are sorted by an id that they name, so that processes that keep the same callbacks hardly ever
    # deadlock. Callbacks with the same id stay in the sequence in which they came, because the first of them settles
    # the order. If two processes keep two callbacks of one order in opposite sequence, they may still deadlock; then
    # one transaction is repeated.
    in_order = sorted(callbacks, key=lambda one: (one[0].account, one[0].request_id or one[0].custom_parm or ""))
    rows = [
        {
            "account": key.account,
            "request_id": key.request_id,
            "custom_parm": key.custom_parm,
            "received_at": now,
            "payload": payload,
            "trust": trust,
        }
        for key, payload, trust in in_order
    ]
    _keep_once(connection, UNMATCHED, [(_digest(row["account"], row["trust"], row["payload"]), row) for row in rows])


def _keep_once(connection: Connection, table: Table, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Insert rows in this sequence; each is given with its digest. If a row with the digest exists, count in that row
    that the input came again."""
    if not rows:
        return
    times, first = Counter(digest for digest, _ in rows), dict(reversed(rows))
    known = select(table.c.digest).where(one_of(connection, table.c.digest, sorted(times))).order_by(table.c.digest)
    found = connection.scalars(known.with_for_update()).all()
    if found:
        again = func.coalesce(table.c.repeats, 0) + bindparam("again")
        counted = update(table).where(table.c.digest == bindparam("known")).values(repeats=again)
        connection.execute(counted, [{"known": digest, "again": times[digest]} for digest in found])
    new = [digest for digest in times if digest not in set(found)]
    insert_rows(connection, table, [_new_row(first[digest], digest, times[digest]) for digest in new])


def _new_row(row: dict[str, Any], digest: str, times: int) -> dict[str, Any]:
    return {**row, "digest": digest, "repeats": times - 1 or None}


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n\n".join(map(str, parts)).encode()).hexdigest()


def find_kept(connection: Connection, keys: Sequence[OrderKey]) -> list[int]:
    """Return the ids of the kept callbacks that name any of these orders."""
    found: set[int] = set()
    for account, column, ids in by_account_and_column(keys):
        statement = ids_of(connection, UNMATCHED, column, ids, account=account, most=_MOST_FOR_ONE_ORDER)
        found.update(connection.scalars(statement))
    return sorted(found)


def find_kept_of_known_orders(connection: Connection, last_id: int, limit: int) -> tuple[list[int], int]:
    """Read the next `limit` kept callbacks after `last_id`. Return the ids of those whose order is known by now, and
    the last id read.

    The last id is returned as 0 if the end of the table was reached.
    """
    page = select(UNMATCHED).where(UNMATCHED.c.id > last_id).order_by(UNMATCHED.c.id).limit(limit).subquery()
    ids = list(connection.scalars(select(page.c.id).order_by(page.c.id)))
    if not ids:
        return [], 0
    found: set[int] = set()
    same_account = ORDERS.c.account == page.c.account
    for names in (ORDERS.c.request_id == page.c.request_id, ORDERS.c.custom_parm == page.c.custom_parm):
        found.update(connection.scalars(select(page.c.id).join(ORDERS, same_account & names)))
    return sorted(found), ids[-1] if len(ids) == limit else 0


def lock_kept(connection: Connection, ids: Collection[int]) -> list[KeptCallback]:
    """Lock and read these kept callbacks, the oldest first. Leave out callbacks that another transaction has locked."""
    again = func.coalesce(UNMATCHED.c.repeats, 0)
    columns = (UNMATCHED.c.id, UNMATCHED.c.account, UNMATCHED.c.payload, UNMATCHED.c.trust, again)
    chosen = select(*columns).where(UNMATCHED.c.id.in_(ids)).order_by(UNMATCHED.c.id)
    return [KeptCallback(*row) for row in connection.execute(chosen.with_for_update(skip_locked=True))]


def drop_kept(connection: Connection, ids: Collection[int]) -> None:
    """Delete these kept callbacks."""
    if ids:
        connection.execute(delete(UNMATCHED).where(UNMATCHED.c.id.in_(ids)))
