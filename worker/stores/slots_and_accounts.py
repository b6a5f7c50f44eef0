"""The two rows that a query depends on: the slot's in `query_budgets`, the account's in `account_states`.

Whoever locks both locks the slot first, so that no deadlock can arise.
"""

import math
from collections.abc import Collection
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from worker.database.tables import BUDGETS, STATES
from worker.domain.records.accounts import AccountState, DatabaseIdentity, Provenance, Slot, SlotRow

_SLOT_COLUMNS = (
    *(BUDGETS.c.id, BUDGETS.c.account_sid, BUDGETS.c.slot),
    *(BUDGETS.c.due_at, BUDGETS.c.boot_id, BUDGETS.c.boot_due_us, BUDGETS.c.wait_us, BUDGETS.c.token),
    *(BUDGETS.c.in_flight_query_id, BUDGETS.c.last_account, BUDGETS.c.window_us),
    *(BUDGETS.c.database_identity, BUDGETS.c.database_changes),
)
_STATE_COLUMNS = [STATES.c[field.name] for field in fields(AccountState)]
MICROSECONDS = 1_000_000


def read_rows(connection: Connection, sids: Collection[str]) -> list[SlotRow]:
    """All rows of these SIDs, without a lock: those of another deployment's slots as well."""
    return [_to_slot_row(row) for row in connection.execute(select(*_SLOT_COLUMNS)) if row.account_sid in sids]


def read_longest_windows(connection: Connection, slots_per_sid: int) -> dict[str, float]:
    """Each SID's longest window, in seconds, of its first slots; without those whose rows hold none yet."""
    longest = select(BUDGETS.c.account_sid, func.max(BUDGETS.c.window_us)).where(BUDGETS.c.slot < slots_per_sid)
    rows = connection.execute(longest.group_by(BUDGETS.c.account_sid)).all()
    return {sid: window_us / MICROSECONDS for sid, window_us in rows if window_us is not None}


def lock_rows(connection: Connection, ids: Collection[int], *, waits: bool) -> list[SlotRow]:
    """Lock these rows, in the order of their ids; those that somebody else holds are waited for, or left out."""
    statement = select(*_SLOT_COLUMNS).where(BUDGETS.c.id.in_(ids)).order_by(BUDGETS.c.id)
    return [_to_slot_row(row) for row in connection.execute(statement.with_for_update(skip_locked=not waits))]


def lock_free_slot(connection: Connection, sid: str, number: int) -> SlotRow | None:
    """Lock a slot's row, or return None at once where somebody else holds it or it does not exist."""
    statement = (
        select(*_SLOT_COLUMNS)
        .where(BUDGETS.c.account_sid == sid, BUDGETS.c.slot == number)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else _to_slot_row(row)


def lock_slot_of_token(connection: Connection, sid: str, number: int, token: str) -> SlotRow | None:
    """Lock a slot's row, waiting for it; None where the token is no longer the slot's."""
    statement = select(*_SLOT_COLUMNS).where(BUDGETS.c.account_sid == sid, BUDGETS.c.slot == number).with_for_update()
    row = connection.execute(statement).one_or_none()
    return None if row is None or row.token != token else _to_slot_row(row)


def save_slot(connection: Connection, row_id: int, slot: Slot, now: datetime) -> None:
    """Write times, window and token of a locked slot."""
    connection.execute(update(BUDGETS).where(BUDGETS.c.id == row_id).values(**_to_values(slot), updated_at=now))


def save_provenance(connection: Connection, row_id: int, provenance: Provenance) -> None:
    """Write in which database a locked slot's row is."""
    connection.execute(update(BUDGETS).where(BUDGETS.c.id == row_id).values(_provenance_values(provenance)))


def mark_in_flight(connection: Connection, row_id: int, query_id: int | None, account: str) -> None:
    """Write which query is under way in a locked slot, and whose turn it was."""
    values = {"in_flight_query_id": query_id, "last_account": account}
    connection.execute(update(BUDGETS).where(BUDGETS.c.id == row_id).values(values))


def add_slot(connection: Connection, sid: str, number: int, slot: Slot, provenance: Provenance, now: datetime) -> None:
    """Add the row of a slot that has none."""
    values = {**_to_values(slot), **_provenance_values(provenance)}
    connection.execute(insert(BUDGETS).values(account_sid=sid, slot=number, **values, updated_at=now))


def lock_states(connection: Connection, accounts: Collection[str]) -> dict[str, AccountState]:
    """Lock the rows of these accounts, in the order of their names, and read them. A missing row is added."""
    statement = (
        select(*_STATE_COLUMNS).where(STATES.c.account.in_(accounts)).order_by(STATES.c.account).with_for_update()
    )
    states = {row["account"]: AccountState(**row) for row in connection.execute(statement).mappings()}
    for account in sorted(set(accounts) - states.keys()):
        states[account] = AccountState(account=account)
        connection.execute(insert(STATES).values(asdict(states[account])))
    return states


def save_state(connection: Connection, state: AccountState) -> None:
    """Write a locked account's row."""
    connection.execute(update(STATES).where(STATES.c.account == state.account).values(asdict(state)))


def _to_values(slot: Slot) -> dict[str, object]:
    return {
        "due_at": slot.due_at,
        "boot_id": slot.boot_id,
        "boot_due_us": math.ceil(slot.boot_due * MICROSECONDS),
        "wait_us": math.ceil(slot.wait_seconds * MICROSECONDS),
        "token": slot.token,
        "window_us": round(slot.window_seconds * MICROSECONDS),
    }


def _provenance_values(provenance: Provenance) -> dict[str, object]:
    changes = " ".join(at.astimezone(UTC).isoformat() for at in provenance.changes)
    return {"database_identity": provenance.identity.text or None, "database_changes": changes or None}


def _to_slot_row(row: Any) -> SlotRow:
    # By position and not by name: a tick reads the row of every slot.
    row_id, sid, number, due_at, boot_id, boot_due_us, wait_us, token, in_flight_query_id, last_account, *rest = row
    window_us, identity, changes = rest
    slot = Slot(
        due_at=due_at,
        boot_id=boot_id,
        boot_due=boot_due_us / MICROSECONDS,
        wait_seconds=wait_us / MICROSECONDS,
        token=token,
        window_seconds=(window_us or 0) / MICROSECONDS,
    )
    return SlotRow(
        id=row_id,
        account_sid=sid,
        number=number,
        slot=slot,
        in_flight_query_id=in_flight_query_id,
        last_account=last_account,
        provenance=Provenance(
            identity=DatabaseIdentity(identity or ""),
            changes=tuple(map(datetime.fromisoformat, (changes or "").split())),
        ),
    )
