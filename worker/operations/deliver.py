"""Find due notifications, and in one short transaction record the results of deliveries and claim new ones.

This module sends nothing. So no transaction stays open while a delivery waits for the receiver's server.
"""

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime

from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.notifications.deliveries import (
    LEASE,
    choose_probe,
    fault_of,
    is_due,
    lease_ends_between,
    ranks_in_turn,
)
from worker.domain.notifications.resting_endpoints import (
    DeliveryEffects,
    after_deliveries,
    begin_probe,
    is_in_doubt,
    is_sound,
    permission,
    rows_needed,
)
from worker.domain.records.notifications import Claim, EndedTry, Endpoint, Notification, Permission
from worker.stores.notifications import (
    accounts_due,
    lease_rows,
    lock_endpoint,
    lock_first,
    lock_tried,
    note_delivered,
    note_failed,
    read_endpoints,
    save_endpoint,
    save_tried,
)


def read_due(database: Database, accounts: Collection[str], *, however_far: bool = False) -> set[str]:
    """Return the accounts among these to whose endpoint something may be sent now. Lock nothing.

    With `however_far`, also return accounts whose notifications are due later. If a clock was stepped back, their times
    may lie too far ahead; a claim of the notifications then finds that they are due.
    """
    with database.read() as connection:
        now = database.now(connection)
        due = accounts_due(connection, accounts, None if however_far else now, lease_ends_between(now))
        endpoints = read_endpoints(connection, due) if due else {}
    return {name for name, one in endpoints.items() if permission(one, now) is not Permission.NOTHING}


@retry_contention
def note_and_claim(
    database: Database, account: str, digest: str, ended: Sequence[EndedTry], *, places: int, claim_number: int
) -> tuple[list[Claim], DeliveryEffects | None]:
    """In one transaction, record the results of some deliveries to an account's endpoint, and then lease the
    notifications that may be sent to it.

    Up to `places` notifications are leased, but only one if the endpoint must be probed. `claim_number` counts the
    claims: of five claims in a row, four take results first. `digest` is the digest of the target that this process
    knows. If the endpoint has another target, nothing is claimed, and failed deliveries are ignored. Return the claims,
    and the effects of failures or of a recovery on the endpoint; None instead of the effects if there were none.
    """
    with database.write() as connection:
        endpoint = read_endpoints(connection, [account]).get(account)
        is_ours = endpoint is not None and endpoint.target_digest == digest
        effects = _note(database, connection, endpoint if is_ours else None, ended) if ended else None
        if endpoint is None or not is_ours or not places:
            return [], effects
        return _claim(database, connection, effects.endpoint if effects else endpoint, places, claim_number), effects


def _note(
    database: Database, connection: Connection, endpoint: Endpoint | None, ended: Sequence[EndedTry]
) -> DeliveryEffects | None:
    accepted = [one for one in ended if fault_of(one.result) is None]
    if endpoint is not None and not (is_sound(endpoint) and len(accepted) == len(ended)):
        locked = lock_endpoint(connection, endpoint.account)
        if locked is not None and locked.target_digest == endpoint.target_digest:
            return _note_failures(database, connection, locked, ended)
    note_delivered(connection, accepted, database.now(connection))
    return None


def _note_failures(
    database: Database, connection: Connection, endpoint: Endpoint, ended: Sequence[EndedTry]
) -> DeliveryEffects:
    rows = lock_tried(connection, rows_needed(endpoint, ended))
    now = database.now(connection)
    effects = after_deliveries(endpoint, rows, ended, now)
    note_delivered(connection, effects.delivered, now)
    note_failed(connection, effects.failed, now)
    save_tried(connection, effects.rows)
    if effects.endpoint != endpoint:
        save_endpoint(connection, effects.endpoint, now)
    return effects


def _claim(
    database: Database, connection: Connection, endpoint: Endpoint, places: int, claim_number: int
) -> list[Claim]:
    now = database.now(connection)
    if permission(endpoint, now) is Permission.PROBE:
        # Only one of all processes may send the probe, so the endpoint is locked and its permission is read again.
        locked = lock_endpoint(connection, endpoint.account)
        if locked is None or locked.target_digest != endpoint.target_digest:
            # The endpoint was forgotten or got another URL since it was read without a lock.
            return []
        endpoint = locked
        now = database.now(connection)
    allowed = permission(endpoint, now)
    if allowed is Permission.NOTHING:
        return []
    # For a probe, two notifications are read and one is sent. So at least one of the two is not the one that failed
    # last.
    most = places if allowed is Permission.ANY else 2
    rows = _first_due(connection, endpoint, claim_number, most, now)
    if allowed is Permission.PROBE:
        probe = choose_probe([row.id for row in rows], endpoint.last_failed_id)
        rows = [row for row in rows if row.id == probe]
        if rows:
            endpoint = begin_probe(endpoint, now)
            save_endpoint(connection, endpoint, now)
    token = secrets.token_hex(16)
    lease_rows(connection, [row.id for row in rows], token, now + LEASE)
    return [_to_claim(row, endpoint, token, now) for row in rows]


def _first_due(
    connection: Connection, endpoint: Endpoint, claim_number: int, most: int, now: datetime
) -> list[Notification]:
    rows: list[Notification] = []
    for rank in ranks_in_turn(claim_number, in_doubt=is_in_doubt(endpoint)):
        if len(rows) < most:
            found = lock_first(connection, endpoint.account, rank, most - len(rows), lease_ends_between(now))
            rows += [row for row in found if is_due(row.due_at, row.tries, now)]
    return rows


def _to_claim(row: Notification, endpoint: Endpoint, token: str, now: datetime) -> Claim:
    return Claim(
        id=row.id,
        account=endpoint.account,
        event_id=row.event_id,
        order_id=row.order_id,
        body=row.body,
        token=token,
        claimed_at=now,
        rest_from=endpoint.rest_from,
    )
