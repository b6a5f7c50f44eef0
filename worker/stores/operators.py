"""Store the acts of operators, their sign-ins at the console, failed sign-ins, and selections of many orders."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from worker.database.bulk_statements import insert_rows
from worker.database.tables import ACTS, FAILURES, SELECTIONS, SESSIONS
from worker.domain.records.coded_texts import to_columns
from worker.domain.records.operators import ActEntry, Failures, SignIn

_SELECTION_KEPT = timedelta(hours=12)


def add_acts(connection: Connection, entries: Iterable[ActEntry]) -> None:
    """Append the records of acts."""
    insert_rows(connection, ACTS, [_row(entry) for entry in entries])


def add_act(connection: Connection, entry: ActEntry) -> int:
    """Append the record of an act, and return its id."""
    key = connection.execute(insert(ACTS).values(_row(entry))).inserted_primary_key
    assert key is not None
    return int(key.id)


def set_detail(connection: Connection, act_id: int, detail: str) -> None:
    """Write what an act has done so far."""
    connection.execute(update(ACTS).where(ACTS.c.id == act_id).values(to_columns(detail)))


def read_orders_acted_on(connection: Connection, act_key: str, most: int | None = None) -> set[int]:
    """Return the row ids of the orders that an act has changed so far.

    An act of a command may have changed millions of orders. With `most`, only the last rows of the act are read, as
    many as have `most` orders together. A row names up to 1,000 orders, so up to 999 orders more than `most` may be
    returned.
    """
    its = ACTS.c.act_key == act_key
    if most is not None:
        its = and_(its, ACTS.c.id >= _first_of_last(connection, act_key, most))
    recorded = connection.scalars(select(ACTS.c.order_ids).where(its))
    return {int(order_id) for ids in recorded for order_id in (ids or "").split()}


def read_number_acted_on(connection: Connection, act_key: str) -> int:
    """Return how many orders an act has changed so far."""
    return int(connection.scalar(select(func.sum(ACTS.c.order_count)).where(ACTS.c.act_key == act_key)) or 0)


def _first_of_last(connection: Connection, act_key: str, most: int) -> int:
    """Go back from an act's last row until the rows passed have at least `most` orders together. Return the id of the
    row reached."""
    counts = select(ACTS.c.id, ACTS.c.order_count).where(ACTS.c.act_key == act_key).order_by(ACTS.c.id.desc())
    first, total = 0, 0
    for row_id, count in connection.execute(counts.limit(most)):
        first, total = row_id, total + (count or 0)
        if total >= most:
            break
    return first


def _row(entry: ActEntry) -> dict[str, Any]:
    values = {field.name: getattr(entry, field.name) for field in fields(entry)} | to_columns(entry.detail)
    orders = {"order_count": len(entry.order_ids) or None, "order_ids": " ".join(map(str, entry.order_ids)) or None}
    return values | orders


def read_sign_in(connection: Connection, token_digest: str) -> SignIn | None:
    """Return the sign-in whose token has this digest; None if there is none."""
    columns = [column for column in SESSIONS.c if column.name != "token_digest"]
    row = connection.execute(select(*columns).where(SESSIONS.c.token_digest == token_digest)).mappings().first()
    return None if row is None else SignIn(**row)


def add_sign_in(connection: Connection, token_digest: str, sign_in: SignIn) -> None:
    """Add a sign-in."""
    connection.execute(insert(SESSIONS).values(token_digest=token_digest, **asdict(sign_in)))


def note_seen(connection: Connection, token_digest: str, at: datetime) -> None:
    """Write when the user of a sign-in was last seen."""
    connection.execute(update(SESSIONS).where(SESSIONS.c.token_digest == token_digest).values(seen_at=at))


def delete_sign_in(connection: Connection, token_digest: str) -> None:
    """Delete a sign-in, if there is one."""
    connection.execute(delete(SESSIONS).where(SESSIONS.c.token_digest == token_digest))


def delete_ended(connection: Connection, *, created_before: datetime, seen_before: datetime) -> None:
    """Delete sign-ins that began before `created_before`, or whose user was last seen before `seen_before`."""
    # The keys are read first, because a DELETE by time would lock every row of the table on MariaDB.
    is_old = (SESSIONS.c.created_at < created_before) | (SESSIONS.c.seen_at < seen_before)
    for digest in list(connection.scalars(select(SESSIONS.c.token_digest).where(is_old))):
        delete_sign_in(connection, digest)


def lock_failures(connection: Connection, subjects: Collection[str]) -> dict[str, Failures]:
    """Lock and read the failed sign-ins of these subjects: names of users, and addresses. Subjects without failures are
    left out."""
    statement = select(FAILURES).where(FAILURES.c.subject.in_(subjects)).order_by(FAILURES.c.subject).with_for_update()
    rows = [dict(row) for row in connection.execute(statement).mappings()]
    return {row.pop("subject"): Failures(**row) for row in rows}


def begin_failures(connection: Connection, subject: str, failures: Failures) -> None:
    """Insert the failed sign-ins of a name or address that `lock_failures` did not find. Raise IntegrityError if
    another session has inserted a row for the name or address meanwhile, because the counts of that session must not be
    overwritten."""
    connection.execute(insert(FAILURES).values(subject=subject, **asdict(failures)))


def save_failures(connection: Connection, subject: str, failures: Failures) -> None:
    """Store the failed sign-ins of a name or address, whose row the caller has locked."""
    connection.execute(update(FAILURES).where(FAILURES.c.subject == subject).values(asdict(failures)))


def delete_failures(connection: Connection, subject: str) -> None:
    """Delete the failed sign-ins of a name or address."""
    connection.execute(delete(FAILURES).where(FAILURES.c.subject == subject))


def delete_forgotten(connection: Connection, before: datetime) -> None:
    """Delete the failed sign-ins of each name or address whose last failure was before this time."""
    for subject in list(connection.scalars(select(FAILURES.c.subject).where(FAILURES.c.last_at < before))):
        connection.execute(delete(FAILURES).where(FAILURES.c.subject == subject, FAILURES.c.last_at < before))


def add_selection(connection: Connection, selection: str, event_counts: Mapping[int, int], now: datetime) -> None:
    """Store how many events each of these orders had when a page showed it. Delete selections that are over half a day
    old."""
    connection.execute(delete(SELECTIONS).where(SELECTIONS.c.shown_at < now - _SELECTION_KEPT))
    kept = json.dumps(event_counts, separators=(",", ":"))
    connection.execute(insert(SELECTIONS).values(id=selection, shown_at=now, event_counts=kept))


def read_selection(connection: Connection, selection: str) -> dict[int, int] | None:
    """Return how many events each order of a selection had when a page showed it; None if the selection was deleted."""
    kept = connection.scalar(select(SELECTIONS.c.event_counts).where(SELECTIONS.c.id == selection))
    return None if kept is None else {int(order_id): count for order_id, count in json.loads(kept).items()}
