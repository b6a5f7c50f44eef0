"""The budget's rows: one per slot of an account SID."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, insert, select, update

from worker.adapters.clock import Clock
from worker.adapters.database.engine import Database
from worker.adapters.database.models import QueryBudget, table_of
from worker.domain.budget import Reading, Slot, reserve
from worker.domain.rules import Rules

BUDGETS = table_of(QueryBudget)
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotRow:
    """A slot with what its row says besides."""

    id: int
    account_sid: str
    number: int
    slot: Slot
    in_flight_query_id: int | None
    last_account: str | None


def read_clocks(database: Database, connection: Connection, clock: Clock) -> Reading:
    """Both clocks at this moment. A decision may rest on them only where the slot's row was locked before."""
    boot = clock.boot()
    return Reading(boot_id=clock.boot_id, boot=boot, database=database.now(connection))


def read_slots(connection: Connection, sids: Collection[str], rules: Rules) -> list[SlotRow]:
    """All slots of these SIDs, without a lock: a hint only. Rows beyond the number of slots are ignored."""
    statement = select(BUDGETS).where(BUDGETS.c.slot < rules.slots)
    rows = connection.execute(statement).mappings()
    return [_to_slot_row(row) for row in rows if row["account_sid"] in sids]


def lock_free_slot(connection: Connection, sid: str, number: int) -> SlotRow | None:
    """Lock a slot's row, or return None at once where somebody else holds it or it does not exist."""
    statement = (
        select(BUDGETS).where(BUDGETS.c.account_sid == sid, BUDGETS.c.slot == number).with_for_update(skip_locked=True)
    )
    row = connection.execute(statement).mappings().one_or_none()
    return None if row is None else _to_slot_row(row)


def lock_slot_of_token(connection: Connection, sid: str, number: int, token: str) -> SlotRow | None:
    """Lock a slot's row, waiting for it; None where the token is no longer the slot's."""
    statement = select(BUDGETS).where(BUDGETS.c.account_sid == sid, BUDGETS.c.slot == number).with_for_update()
    row = connection.execute(statement).mappings().one_or_none()
    return None if row is None or row["token"] != token else _to_slot_row(row)


def save_slot(connection: Connection, row_id: int, slot: Slot, now: datetime) -> None:
    """Write what a locked slot's row says of time and token."""
    connection.execute(update(BUDGETS).where(BUDGETS.c.id == row_id).values(**_to_values(slot), updated_at=now))


def mark_in_flight(connection: Connection, row_id: int, query_id: int | None, account: str) -> None:
    """Write which query is under way in a locked slot, and whose turn it was."""
    values = {"in_flight_query_id": query_id, "last_account": account}
    connection.execute(update(BUDGETS).where(BUDGETS.c.id == row_id).values(values))


def add_slot(connection: Connection, sid: str, number: int, now: Reading, rules: Rules) -> None:
    """A slot seen for the first time starts with one full reservation: who knows what asked before us."""
    values = _to_values(reserve(now, rules, token=""))
    connection.execute(insert(BUDGETS).values(account_sid=sid, slot=number, **values, updated_at=now.database))


def _to_values(slot: Slot) -> dict[str, object]:
    return {
        "due_at": slot.due_at,
        "boot_id": slot.boot_id,
        "boot_due_us": math.ceil(slot.boot_due * _MICROSECONDS),
        "wait_us": math.ceil(slot.wait_seconds * _MICROSECONDS),
        "token": slot.token,
    }


def _to_slot_row(row: RowMapping) -> SlotRow:
    return SlotRow(
        id=row["id"],
        account_sid=row["account_sid"],
        number=row["slot"],
        slot=Slot(
            due_at=row["due_at"],
            boot_id=row["boot_id"],
            boot_due=row["boot_due_us"] / _MICROSECONDS,
            wait_seconds=row["wait_us"] / _MICROSECONDS,
            token=row["token"],
        ),
        in_flight_query_id=row["in_flight_query_id"],
        last_account=row["last_account"],
    )
