"""What operators do by hand: to orders, so many in a transaction; to accounts; to the slots.

Each act is recorded in the transaction that does it: in `operator_acts`, and of an order in its events as well.
"""

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from worker.adapters.clock import Clock
from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.notifications.events import rank_of
from worker.domain.orders.operator_acts import Decided, Resumed, pause, resume
from worker.domain.queries.budget import hold
from worker.domain.records.accounts import AccountState, Rules, SlotRow
from worker.domain.records.acts import Act, ActEntry, ActKind
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.notifications import Rank
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Order
from worker.operations.maintain_slots import read_clocks
from worker.operations.save_orders import save_orders
from worker.stores.accounts import lock_rows, lock_states, read_rows, save_slot, save_state
from worker.stores.recharge_orders import lock_by_ids
from worker.stores.recorded_acts import add_acts

log = structlog.stdlib.get_logger(__name__)

MOST_AT_ONCE = 1_000
"""How many orders one transaction changes: their rows are locked until it ends."""

Decide = Callable[[Order, Act], Decided]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """Who acts, and why; `dry_run`: nothing is changed, and what would be is returned."""

    name: str
    reason: str | None = None
    dry_run: bool = False

    def act(self, now: datetime) -> Act:
        """What they do now."""
        return Act(actor=self.name, reason=self.reason, now=now)


@dataclass(frozen=True, kw_only=True, slots=True)
class OrdersActedOn:
    """What became of the orders of one transaction."""

    changes: tuple[Change, ...]
    refusals: dict[int, CodedText]
    """By order id."""


def act_on_orders(
    database: Database, operator: Operator, kind: ActKind, order_ids: Sequence[int], decide: Decide
) -> Iterator[OrdersActedOn]:
    """Do the same to each of these orders, 1,000 in a transaction; archived ones are restored for it.

    Yields what became of each thousand once it is committed. Raises what a transaction raises that lost too many races.
    """
    for start in range(0, len(order_ids), MOST_AT_ONCE):
        done = _act_on_some(
            database, operator, kind, order_ids[start : start + MOST_AT_ONCE], decide, rank_of(len(order_ids))
        )
        if done.changes:
            _log(operator, kind, orders=len(done.changes), refused=len(done.refusals))
        yield done


@retry_contention
def _act_on_some(
    database: Database, operator: Operator, kind: ActKind, order_ids: Sequence[int], decide: Decide, rank: Rank
) -> OrdersActedOn:
    with _writing(database, operator) as connection:
        # In ascending order of their ids, as every other transaction locks them.
        orders = lock_by_ids(connection, set(order_ids))
        act = operator.act(database.now(connection))
        decided = [(order.id, decide(order, act)) for order in orders]
        changes = tuple(one for _, one in decided if isinstance(one, Change))
        save_orders(connection, changes, act.now, rank=rank)
        add_acts(connection, _entries(changes, act, kind))
    refusals = {order_id: one for order_id, one in decided if isinstance(one, CodedText)}
    for gone in set(order_ids) - {order_id for order_id, _ in decided}:
        refusals[gone] = CodedText(TextCode.NO_ORDER, number=f"id:{gone}")
    return OrdersActedOn(changes=changes, refusals=refusals)


def _entries(changes: Sequence[Change], act: Act, kind: ActKind) -> Iterator[ActEntry]:
    """A row for each account, with the names of its orders: an operator knows an order by these."""
    for account in sorted({change.after.account for change in changes}):
        orders = [change.after for change in changes if change.after.account == account]
        names = ", ".join(order.request_id or order.custom_parm or f"id:{order.id}" for order in orders)
        code = TextCode.ONE_ORDER if len(orders) == 1 else TextCode.ORDERS
        yield _entry(act, kind, account, CodedText(code, count=len(orders), names=names))


@retry_contention
def pause_account(
    database: Database, operator: Operator, account: str, lasts: timedelta | None
) -> tuple[AccountState, AccountState]:
    """Pause an account, for so long or until somebody resumes it; returns its state before and after."""
    with _writing(database, operator) as connection:
        before = lock_states(connection, [account])[account]
        act = operator.act(database.now(connection))
        after = pause(before, act, None if lasts is None else act.now + lasts)
        save_state(connection, after)
        ends = None if after.paused_until is None else _utc(after.paused_until)
        said = CodedText(TextCode.UNTIL_RESUMED) if ends is None else CodedText(TextCode.UNTIL, time=ends)
        add_acts(connection, [_entry(act, ActKind.PAUSE, account, said)])
    _log(operator, ActKind.PAUSE, account=account, until=ends)
    return before, after


@retry_contention
def resume_account(database: Database, operator: Operator, account: str) -> Resumed:
    """End an account's pause, and its back-off unless the platform asked for it. The slots stay as they are."""
    with _writing(database, operator) as connection:
        before = lock_states(connection, [account])[account]
        act = operator.act(database.now(connection))
        done = resume(before, act.now)
        if done.is_resumed:
            save_state(connection, done.after)
            add_acts(connection, [_entry(act, ActKind.RESUME, account, _ended(done))])
    if done.is_resumed:
        _log(operator, ActKind.RESUME, account=account)
    return done


def _ended(resumed: Resumed) -> CodedText | None:
    """What a resume has ended besides a pause."""
    if resumed.ended_back_off is None:
        return None
    ended, waits = _utc(resumed.ended_back_off), resumed.waits_until
    if waits is None:
        return CodedText(TextCode.BACK_OFF_ENDED, time=ended)
    return CodedText(TextCode.BACK_OFF_SHORTENED, time=ended, until=_utc(waits))


@retry_contention
def hold_slots(
    database: Database, clock: Clock, rules: Rules, operator: Operator, sids: Collection[str]
) -> list[SlotRow]:
    """Close every slot of these SIDs for a full reservation from now; returns their rows as they are then.

    Slots that have no row yet begin with one in any case. Locked rows are waited for: a grant that is under way counts.
    """
    with _writing(database, operator) as connection:
        rows = lock_rows(connection, [row.id for row in read_rows(connection, sids)], waits=True)
        # Both clocks after the locks, as in a grant: the reservation counts from here.
        now = read_clocks(database, connection, clock)
        held = [replace(row, slot=hold(row.slot, now, rules, uuid.uuid4().hex)) for row in rows]
        for row in held:
            save_slot(connection, row.id, row.slot, now.database)
        if held:
            code = TextCode.SLOT_HELD if len(held) == 1 else TextCode.SLOTS_HELD
            words = CodedText(code, count=len(held), time=_utc(max(row.slot.due_at for row in held)))
            add_acts(connection, [_entry(operator.act(now.database), ActKind.HOLD, None, words)])
    if held:
        _log(operator, ActKind.HOLD, slots=len(held))
    return held


@contextmanager
def _writing(database: Database, operator: Operator) -> Iterator[Connection]:
    """A transaction that is rolled back at its end, where nothing is to be changed."""
    with database.write() as connection:
        yield connection
        if operator.dry_run:
            connection.rollback()


def _entry(act: Act, kind: ActKind, account: str | None, detail: str | None) -> ActEntry:
    return ActEntry(at=act.now, actor=act.actor, act=kind, account=account, reason=act.reason, detail=detail)


def _utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def _log(operator: Operator, kind: ActKind, **what: object) -> None:
    if operator.dry_run:
        return
    log.info(
        "an operator acted",
        action="operator_act",
        act=kind.value,
        actor=operator.name,
        reason=operator.reason,
        **what,
    )
