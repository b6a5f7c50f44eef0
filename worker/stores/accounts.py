"""Store accounts: slots, states, pauses, observations, poll schedules, hosts that are cut off, and worker processes.

A query depends on two rows: its slot's row in `query_budgets` and its account's row in `account_states`. Every
transaction locks the slot's row first, so that no two transactions wait for each other. Schedules are texts here;
`worker.domain.scheduling.stored_json` reads and writes them. Each worker process writes its own row in
`worker_processes`, and deletes the rows of processes that no longer write theirs.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, Update, bindparam, delete, func, insert, select, update

from worker.database.bulk_statements import held_of, insert_rows, one_of
from worker.database.tables import BUDGETS, CUT_OFF, DEPLOYMENT, OBSERVATIONS, PAUSES, SCHEDULES, STATES, WORKERS
from worker.domain.records.accounts import AccountState, DatabaseIdentity, Pause, Provenance, Slot, SlotRow
from worker.domain.records.monitoring import NOT_CONNECTED, CutOff, PollingProcess, WorkerRow

_SLOT_COLUMNS = (
    *(BUDGETS.c.id, BUDGETS.c.account_sid, BUDGETS.c.slot),
    *(BUDGETS.c.due_at, BUDGETS.c.boot_id, BUDGETS.c.boot_due_us, BUDGETS.c.wait_us, BUDGETS.c.token),
    *(BUDGETS.c.in_flight_query_id, BUDGETS.c.last_account, BUDGETS.c.window_us),
    *(BUDGETS.c.database_identity, BUDGETS.c.database_changes),
)
STATE_FIELDS = tuple(field.name for field in fields(AccountState) if field.name != "pauses")
"""The fields of `AccountState` that are columns of `account_states`."""
STATE_COLUMNS = (*(STATES.c[name] for name in STATE_FIELDS), STATES.c.has_pauses)

_PAUSES = select(PAUSES.c.account, *(PAUSES.c[field.name] for field in fields(Pause))).order_by(PAUSES.c.id)
_CUT_OFF = select(*(CUT_OFF.c[field.name] for field in fields(CutOff)))
_CUT_OFF_HOST = _CUT_OFF.where(CUT_OFF.c.host == bindparam("its_host"))
MICROSECONDS = 1_000_000

# These statements are made once, because making one takes as long as running it.
_SLOT = select(*_SLOT_COLUMNS).where(BUDGETS.c.account_sid == bindparam("sid"), BUDGETS.c.slot == bindparam("number"))
_LOCK_SLOT = _SLOT.with_for_update()
_LOCK_FREE_SLOT = _SLOT.with_for_update(skip_locked=True)
_SAVE_SLOT = update(BUDGETS).where(BUDGETS.c.id == bindparam("row_id"))
_LOCK_STATES = (
    select(*STATE_COLUMNS)
    .where(STATES.c.account.in_(bindparam("accounts", expanding=True)))
    .order_by(STATES.c.account)
    .with_for_update()
)
_SAVE_STATE = update(STATES).where(STATES.c.account == bindparam("saved_account"))


def read_rows(connection: Connection, sids: Collection[str]) -> list[SlotRow]:
    """Return all slot rows of these SIDs, including slots of other deployments. Lock nothing."""
    rows = connection.execute(select(*_SLOT_COLUMNS).where(one_of(connection, BUDGETS.c.account_sid, sids)))
    return [_to_slot_row(row) for row in rows]


def read_longest_windows(connection: Connection, slots_per_sid: int) -> dict[str, float]:
    """Return the longest window, in seconds, among the first `slots_per_sid` slots of each SID. Leave out a SID if none
    of these slots has a window yet."""
    longest = select(BUDGETS.c.account_sid, func.max(BUDGETS.c.window_us)).where(BUDGETS.c.slot < slots_per_sid)
    rows = connection.execute(longest.group_by(BUDGETS.c.account_sid)).all()
    return {sid: window_us / MICROSECONDS for sid, window_us in rows if window_us is not None}


def lock_rows(connection: Connection, ids: Collection[int], *, waits: bool) -> list[SlotRow]:
    """Lock these rows in the order of their ids, and read them. With `waits`, wait for rows that another transaction
    has locked; otherwise leave these rows out."""
    statement = select(*_SLOT_COLUMNS).where(BUDGETS.c.id.in_(ids)).order_by(BUDGETS.c.id)
    return [_to_slot_row(row) for row in connection.execute(statement.with_for_update(skip_locked=not waits))]


def lock_free_slot(connection: Connection, sid: str, number: int) -> SlotRow | None:
    """Lock and read a slot's row. Return None at once if another transaction has locked the row, or if there is no
    row."""
    row = connection.execute(_LOCK_FREE_SLOT, {"sid": sid, "number": number}).one_or_none()
    return None if row is None else _to_slot_row(row)


def lock_slot_of_token(connection: Connection, sid: str, number: int, token: str) -> SlotRow | None:
    """Lock and read a slot's row; wait while another transaction has it locked. Return None if there is no row, or if
    its token is not `token` any more."""
    row = connection.execute(_LOCK_SLOT, {"sid": sid, "number": number}).one_or_none()
    return None if row is None or row.token != token else _to_slot_row(row)


def save_slot(connection: Connection, row_id: int, slot: Slot, now: datetime) -> None:
    """Write the times, the window and the token of a locked slot."""
    connection.execute(_SAVE_SLOT, {"row_id": row_id, **_to_values(slot), "updated_at": now})


def save_provenance(connection: Connection, row_id: int, provenance: Provenance) -> None:
    """Write into a locked slot's row which database the row is in."""
    connection.execute(_SAVE_SLOT, {"row_id": row_id, **_provenance_values(provenance)})


def save_turn(
    connection: Connection, row_id: int, slot: Slot, now: datetime, *, query_id: int | None, account: str
) -> None:
    """Write what `save_slot` writes, and also the query in flight in the slot and the account whose turn it was."""
    turn = {"in_flight_query_id": query_id, "last_account": account}
    connection.execute(_SAVE_SLOT, {"row_id": row_id, **_to_values(slot), **turn, "updated_at": now})


def add_slot(connection: Connection, sid: str, number: int, slot: Slot, provenance: Provenance, now: datetime) -> None:
    """Add a row for a slot that has none."""
    values = {**_to_values(slot), **_provenance_values(provenance)}
    connection.execute(insert(BUDGETS).values(account_sid=sid, slot=number, **values, updated_at=now))


def lock_states(connection: Connection, accounts: Collection[str]) -> dict[str, AccountState]:
    """Lock the rows of these accounts, in the order of their names, and read them. A missing row is added."""
    rows = connection.execute(_LOCK_STATES, {"accounts": list(accounts)}).mappings()
    states = {state.account: state for state in read_with_pauses(connection, rows)}
    for account in sorted(set(accounts) - states.keys()):
        new = states[account] = AccountState(account=account)
        connection.execute(insert(STATES).values({name: getattr(new, name) for name in STATE_FIELDS}))
    return states


def read_with_pauses(connection: Connection, rows: Iterable[RowMapping | Mapping[str, Any]]) -> list[AccountState]:
    """Return the states of these rows, with their pauses. The rows have all or some of `STATE_COLUMNS`.

    A second statement reads the pauses. If one statement read rows and pauses together, and waited for the lock of a
    row, it would return the pauses as they were before the wait. It would miss a pause that was committed during the
    wait.
    """
    states, found = [dict(row) for row in rows], defaultdict[str, list[Pause]](list)
    if paused := [state["account"] for state in states if state.pop("has_pauses")]:
        for row in connection.execute(_PAUSES.where(one_of(connection, PAUSES.c.account, paused))).mappings():
            found[row["account"]].append(Pause(**{name: value for name, value in row.items() if name != "account"}))
    return [AccountState(**state, pauses=tuple(found[state["account"]])) for state in states]


def save_state(connection: Connection, before: AccountState, after: AccountState) -> None:
    """Write the changed columns of a locked account's row. If any pause of the account has changed, write all its
    pauses."""
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in STATE_FIELDS)
    changed = {name: new for name, old, new in pairs if new != old}
    if after.pauses != before.pauses:
        save_pauses(connection, [after])
    if changed:
        connection.execute(_SAVE_STATE, {"saved_account": after.account, **changed})


def save_pauses(connection: Connection, states: Collection[AccountState]) -> None:
    """Write all pauses of these locked accounts. There must be at least one account."""
    accounts = [state.account for state in states]
    connection.execute(delete(PAUSES).where(one_of(connection, PAUSES.c.account, accounts)))
    rows = [{"account": state.account, **asdict(pause)} for state in states for pause in state.pauses]
    if rows:
        connection.execute(insert(PAUSES), rows)
    has_pauses = [{"saved_account": state.account, "has_pauses": bool(state.pauses)} for state in states]
    connection.execute(_SAVE_STATE, has_pauses)


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
    # The columns are read by position, which is faster than by name: each tick reads the row of every slot.
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


# The `computed_at` of a schedule that was never computed.
_NEVER = datetime(1970, 1, 2, tzinfo=UTC)


class LearnedText(NamedTuple):
    """Two columns from the row of an account's schedule: what was learned, as text, and when the schedule was last
    computed."""

    learned: str
    computed_at: datetime


def add_observation_texts(connection: Connection, texts: Mapping[str, str], now: datetime) -> None:
    """Add a row of observations for each of these accounts."""
    rows = [{"account": account, "observed_at": now, "observations": text} for account, text in texts.items()]
    insert_rows(connection, OBSERVATIONS, rows)


def read_oldest_observations(connection: Connection, account: str, most: int) -> tuple[list[int], list[str], bool]:
    """Return the ids and texts of the account's oldest `most` rows of observations, and whether the account has no
    further rows."""
    oldest = (
        select(OBSERVATIONS.c.id, OBSERVATIONS.c.observations)
        .where(OBSERVATIONS.c.account == account)
        .order_by(OBSERVATIONS.c.id)
    )
    rows = connection.execute(oldest.limit(most + 1)).all()
    return [row.id for row in rows[:most]], [row.observations for row in rows[:most]], len(rows) <= most


def drop_observations(connection: Connection, ids: Collection[int]) -> None:
    """Delete these rows of observations."""
    if ids:
        connection.execute(delete(OBSERVATIONS).where(one_of(connection, OBSERVATIONS.c.id, ids)))


def first_with_observations(connection: Connection, accounts: Sequence[str]) -> str | None:
    """Return one of these accounts that has observations; None if no account has any."""
    first = connection.scalar(held_of(connection, OBSERVATIONS.c.account, accounts).limit(1)) if accounts else None
    return None if first is None else str(first)


def read_computed_at(connection: Connection, accounts: Sequence[str]) -> dict[str, datetime]:
    """Return when the schedule of each of these accounts was last computed. Accounts without a schedule are left
    out."""
    ours = select(SCHEDULES.c.account, SCHEDULES.c.computed_at).where(one_of(connection, SCHEDULES.c.account, accounts))
    return {row.account: row.computed_at for row in connection.execute(ours)}


def read_schedule_row(connection: Connection, account: str) -> tuple[datetime, str]:
    """Return when an account's schedule, which must exist, was last computed, and the schedule as text."""
    row = connection.execute(
        select(SCHEDULES.c.computed_at, SCHEDULES.c.schedule).where(SCHEDULES.c.account == account)
    ).one()
    return row.computed_at, row.schedule


def lock_learned(connection: Connection, account: str) -> LearnedText | None:
    """Lock and read the row of an account's schedule; add the row if it is missing. Return None if another transaction
    has locked it."""
    statement = select(SCHEDULES.c.learned, SCHEDULES.c.computed_at).where(SCHEDULES.c.account == account)
    locking = statement.with_for_update(skip_locked=True)
    row = connection.execute(locking).one_or_none()
    if row is None and connection.execute(statement).one_or_none() is None:
        connection.execute(insert(SCHEDULES).values(account=account, learned="{}", schedule="{}", computed_at=_NEVER))
        row = connection.execute(locking).one_or_none()
    return None if row is None else LearnedText(*row)


def save_learned(connection: Connection, account: str, computed_at: datetime, texts: Mapping[str, str]) -> None:
    """Write into the locked row of an account's schedule when the schedule was computed, and the changed texts. `texts`
    gives these by column name."""
    values = {"computed_at": computed_at, **texts}
    connection.execute(update(SCHEDULES).where(SCHEDULES.c.account == account).values(values))


def save_worker(connection: Connection, row: WorkerRow) -> None:
    """Update a process's row, or insert it if it is missing."""
    values = asdict(row)
    # The accounts are written only with a new row: they stay the same while the process lives, and may be many.
    accounts = ",".join(values.pop("accounts") or ())
    if connection.execute(update(WORKERS).where(WORKERS.c.name == row.name).values(values)).rowcount == 0:
        connection.execute(insert(WORKERS).values({**values, "accounts": accounts}))


def read_processes(
    connection: Connection, since: datetime, until: datetime, known: Mapping[str, PollingProcess]
) -> dict[str, PollingProcess]:
    """Return, by name, the processes in which nothing hangs and whose last tick ended between `since` and `until`.

    A process in `known` is not read again, because the accounts of a process stay the same, and may be many.
    """
    is_well = WORKERS.c.last_tick_at.between(since, until) & WORKERS.c.hanging_since.is_(None)
    names = list(connection.scalars(select(WORKERS.c.name).where(is_well)))
    columns = (WORKERS.c.name, WORKERS.c.host, WORKERS.c.accounts)
    new = select(*columns).where(WORKERS.c.name.in_([name for name in names if name not in known]))
    read = {
        name: PollingProcess(name=name, host=host, accounts=frozenset(filter(None, (accounts or "").split(","))))
        for name, host, accounts in (connection.execute(new) if set(names) - known.keys() else ())
    }
    return {name: one for name in names if (one := known.get(name) or read.get(name)) is not None}


def read_cut_off(connection: Connection, *, host: str | None = None) -> list[CutOff]:
    """Read the rows about hosts whose queries fail: all such rows, or only those of `host`. Lock nothing."""
    statement = _CUT_OFF if host is None else _CUT_OFF_HOST
    return [CutOff(**row) for row in connection.execute(statement, {"its_host": host}).mappings()]


def save_cut_off(connection: Connection, row: CutOff) -> None:
    """Update the row about a host and an account, or insert it if it is missing."""
    values = asdict(row)
    if connection.execute(_update_cut_off(row.host, row.account).values(values)).rowcount == 0:
        connection.execute(insert(CUT_OFF).values(values))


def note_answer_of_host(connection: Connection, host: str, account: str, *, probe_at: datetime | None) -> None:
    """Delete the host's row about the account that got an answer. Note in the host's rows about other accounts that the
    host got an answer. The rows in which this is new get `probe_at` as the time of their next try. If `probe_at` is
    None, the time in these rows does not change."""
    others = {"is_answered": True} | ({} if probe_at is None else {"probe_at": probe_at})
    refused = (CUT_OFF.c.host == host) & (CUT_OFF.c.account != NOT_CONNECTED)
    # The update comes before the deletion, so that two answers at the same moment lock the rows in the same order.
    connection.execute(update(CUT_OFF).where(refused, ~CUT_OFF.c.is_answered).values(others))
    connection.execute(delete(CUT_OFF).where(refused, CUT_OFF.c.account == account))


def try_hosts_at(connection: Connection, account: str, now: datetime) -> None:
    """Make the next try due now for each host that is cut off from this account, or that may be cut off from all
    accounts."""
    its = (CUT_OFF.c.account == account) | ~CUT_OFF.c.is_answered
    connection.execute(update(CUT_OFF).where(its).values(probe_at=now))


def claim_connection(connection: Connection, host: str, now: datetime, every: timedelta) -> bool | None:
    """Claim a host's next try to connect. Return True if the try was due and the caller must make it now, else False.
    Return None if no row says that the host cannot connect."""
    row = next((one for one in read_cut_off(connection, host=host) if one.account == NOT_CONNECTED), None)
    if row is None:
        return None
    # A time that lies far in the future was written before a clock was set back, so that try is due, too.
    if now < row.probe_at <= now + 2 * every:
        return False
    # The row is changed only if no other process has claimed the try since the read.
    taken = _update_cut_off(host, NOT_CONNECTED).where(CUT_OFF.c.probe_at == row.probe_at)
    return connection.execute(taken.values(probe_at=now + every, tries=row.tries + 1)).rowcount > 0


def delete_not_connected(connection: Connection, host: str) -> None:
    """Delete the row of a host that is connected again."""
    connection.execute(delete(CUT_OFF).where(CUT_OFF.c.host == host, CUT_OFF.c.account == NOT_CONNECTED))


def delete_outdated_cut_off(connection: Connection, host: str, credentials: str, before: datetime) -> None:
    """Delete the host's rows that were written with credentials other than these. Also delete the rows of any host
    whose next try was due before `before`."""
    is_outdated = (CUT_OFF.c.host == host) & (CUT_OFF.c.credentials != credentials)
    connection.execute(delete(CUT_OFF).where(is_outdated | (CUT_OFF.c.probe_at < before)))


def read_unreachable(connection: Connection) -> list[str]:
    """Return the accounts that back off because a query got no connection."""
    return list(connection.scalars(select(STATES.c.account).where(STATES.c.backoff_unreachable)))


def read_refused(connection: Connection) -> list[str]:
    """Return the accounts whose last query was refused because of their configuration."""
    return list(connection.scalars(select(STATES.c.account).where(STATES.c.configuration_refused)))


def _update_cut_off(host: str, account: str) -> Update:
    return update(CUT_OFF).where(CUT_OFF.c.host == host, CUT_OFF.c.account == account)


def read_deployment(connection: Connection) -> str:
    """Return the random id of this database; empty if the row that holds the id is missing."""
    return str(connection.scalar(select(DEPLOYMENT.c.id)) or "")


def delete_worker(connection: Connection, name: str) -> None:
    """Delete a process's row."""
    connection.execute(delete(WORKERS).where(WORKERS.c.name == name))


def delete_unwritten(connection: Connection, before: datetime) -> None:
    """Delete the rows of processes that were last written before a time."""
    # The names are read first, because a DELETE by time would lock every row of the table on MariaDB.
    old = list(connection.scalars(select(WORKERS.c.name).where(WORKERS.c.written_at < before)))
    for name in old:
        connection.execute(delete(WORKERS).where(WORKERS.c.name == name, WORKERS.c.written_at < before))
