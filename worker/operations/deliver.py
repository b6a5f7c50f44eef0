"""Delivering notifications: what is due, claims, and notes of how deliveries ended, each in one short transaction.

Nothing is sent here, so no transaction is open while somebody else's server is waited for.
"""

import secrets
from collections.abc import Collection, Sequence

from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.delivery import LEASE, choose_probe, fault_of, is_due, lease_ends_between, ranks_in_turn
from worker.domain.endpoint_rest import (
    DeliveryEffects,
    after_deliveries,
    begin_probe,
    is_sound,
    permission,
    rows_needed,
)
from worker.domain.records.delivery_tries import Claim, DueRow, EndedTry, Permission
from worker.domain.records.notifications import Endpoint
from worker.stores.deliveries import (
    Leased,
    accounts_due,
    lease_rows,
    lock_first,
    lock_tried,
    note_delivered,
    note_failed,
    save_tried,
)
from worker.stores.notify_endpoints import lock_endpoint, read_endpoints, save_endpoint


def read_due(database: Database, accounts: Collection[str]) -> set[str]:
    """Of these accounts those to whose endpoint something may be sent now, as far as one read without a lock tells."""
    with database.read() as connection:
        endpoints = read_endpoints(connection, accounts)
        if not endpoints:
            return set()
        now = database.now(connection)
        open_now = {name for name, one in endpoints.items() if permission(one, now) is not Permission.NOTHING}
        return accounts_due(connection, open_now, now, lease_ends_between(now)) if open_now else set()


@retry_contention
def claim(database: Database, account: str, digest: str, *, places: int, claim_number: int) -> list[Claim]:
    """Lease up to so many notifications of an account, or one where its endpoint is to be probed.

    `digest` is the target's, as this process knows it: for another one nothing is claimed. Of five claims in a row,
    which `claim_number` counts, four take results first.
    """
    with database.write() as connection:
        endpoint = read_endpoints(connection, [account]).get(account)
        if endpoint is not None and permission(endpoint, database.now(connection)) is Permission.PROBE:
            # Of all processes one sends the probe.
            endpoint = lock_endpoint(connection, account)
        if endpoint is None or endpoint.target_digest != digest:
            return []
        now = database.now(connection)
        allowed = permission(endpoint, now)
        if allowed is Permission.NOTHING:
            return []
        # Two, to have another one than the event that failed last.
        most = places if allowed is Permission.ANY else 2
        rows = [
            row
            for row in _first_rows(connection, account, claim_number, most, lease_ends_between(now))
            if is_due(row.due_at, row.tries, now)
        ]
        if allowed is Permission.PROBE:
            probe = choose_probe([row.id for row in rows], endpoint.last_failed_id)
            rows = [row for row in rows if row.id == probe]
            if rows:
                endpoint = begin_probe(endpoint, now)
                save_endpoint(connection, endpoint, now)
        token = secrets.token_hex(16)
        lease_rows(connection, [row.id for row in rows], token, now + LEASE)
        return [_to_claim(row, endpoint, token) for row in rows]


@retry_contention
def note(database: Database, account: str, digest: str, ended: Sequence[EndedTry]) -> DeliveryEffects | None:
    """Note how some deliveries to an account's endpoint ended; returns what failures changed, None where none did.

    Failures at another target than the present one say nothing about it, and are left to their leases.
    """
    accepted = [one for one in ended if fault_of(one.result) is None]
    with database.write() as connection:
        endpoint = read_endpoints(connection, [account]).get(account)
        if endpoint is not None and not (is_sound(endpoint) and len(accepted) == len(ended)):
            endpoint = lock_endpoint(connection, account)
            if endpoint is not None and endpoint.target_digest == digest:
                return _note_failures(database, connection, endpoint, ended)
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


def _first_rows(connection: Connection, account: str, claim_number: int, most: int, leased: Leased) -> list[DueRow]:
    rows: list[DueRow] = []
    for rank in ranks_in_turn(claim_number):
        if len(rows) < most:
            rows += lock_first(connection, account, rank, most - len(rows), leased)
    return rows


def _to_claim(row: DueRow, endpoint: Endpoint, token: str) -> Claim:
    return Claim(
        id=row.id,
        account=endpoint.account,
        event_id=row.event_id,
        order_id=row.order_id,
        body=row.body,
        token=token,
        rest_from=endpoint.rest_from,
    )
