"""Carry out the acts of operators on orders, accounts and slots. Also record acts that take many transactions, such as
a purge.

Each act is recorded in the transaction that does it: in `operator_acts` and, if it changes an order, also in the events
of that order.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog

from worker.adapters.clock import Clock
from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.accounts.waits import Resumed, pause, resume, without_pauses
from worker.domain.notifications.events import rank_of
from worker.domain.orders.operator_acts import Decided, Standing, refusal_of_selected
from worker.domain.queries.slots_and_clocks import hold
from worker.domain.records.accounts import AccountState, Pause, Rules, SlotRow
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.notifications import Rank
from worker.domain.records.operators import Act, ActEntry, ActKind
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Order
from worker.operations.maintain_slots import read_clocks
from worker.operations.save_orders import save_orders
from worker.stores.accounts import (
    lock_rows,
    lock_states,
    read_rows,
    save_pauses,
    save_slot,
    save_state,
    try_hosts_at,
)
from worker.stores.operators import add_act, add_acts, add_selection, read_orders_acted_on, read_selection, set_detail
from worker.stores.recharge_orders import lock_by_ids, read_event_counts

log = structlog.stdlib.get_logger(__name__)

MOST_AT_ONCE = 1_000
"""The most orders that one transaction changes. Their rows are locked until the transaction ends."""

Decide = Callable[[Order, Act], Decided]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """The orders that a person selected, as they were shown when the person confirmed an act on all of them."""

    orders: Mapping[int, Standing | None]
    """The standing of each order, by its id; None if the order did not exist any more."""
    selection: str = ""
    """The name under which `keep_selection` has stored how many events each order had."""
    event_counts: Mapping[int, int] | None = None
    """How many events each order had; None if this must be read from what `keep_selection` stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """Who acts, and why. In a `dry_run`, operations change nothing, and return the changes that they would make."""

    name: str
    reason: str | None = None
    dry_run: bool = False
    act_key: str = field(default_factory=lambda: uuid.uuid4().hex)
    """The key that all records of this act have in common."""
    shown: Shown | None = None
    """The selected orders as the operator saw them; None if no selection was shown. The act changes only orders that
    have not changed since then. It changes each order only once, even if the operator's confirmation is sent twice."""

    def act(self, now: datetime) -> Act:
        """Return the act of this operator at `now`."""
        return Act(actor=self.name, reason=self.reason, now=now, key=self.act_key)

    def left_alone(self, connection: Connection, orders: Collection[Order]) -> dict[int, CodedText | None]:
        """Return the ids of the locked orders that this act must not change, each with the reason. The reason is None
        if the act has already changed the order, because the same confirmation was sent twice."""
        if self.shown is None:
            return {}
        shown = self.shown.event_counts or read_selection(connection, self.shown.selection)
        counts = read_event_counts(connection, [*self.shown.orders])
        # The events are counted while the orders are locked, so the count includes each event that was written since
        # the page was shown. The highest id of an event would not show this reliably.
        changed = {one for one, count in counts.items() if shown is None or shown.get(one, count) != count}
        refused = {order.id: refusal_of_selected(order, self.shown.orders, changed) for order in orders}
        done = dict.fromkeys(read_orders_acted_on(connection, self.act_key))
        return {order_id: why for order_id, why in refused.items() if why} | done

    def log(self, kind: ActKind, **what: object) -> None:
        """Log what the operator has done; nothing in a dry run."""
        if self.dry_run:
            return
        said = {"act": kind.value, "actor": self.name, "reason": self.reason, **what}
        log.info("an operator acted", action="operator_act", **said)


@retry_contention
def keep_selection(database: Database, event_counts: Mapping[int, int]) -> str:
    """Keep for half a day how many events each of these orders had when a page showed it. Return a name by which this
    selection of orders is found again."""
    selection = uuid.uuid4().hex
    with database.write() as connection:
        add_selection(connection, selection, event_counts, database.now(connection))
    return selection


@dataclass(frozen=True, kw_only=True, slots=True)
class OrdersActedOn:
    """The results of an act for the orders of one transaction."""

    changes: tuple[Change, ...]
    refusals: dict[int, CodedText]
    """Maps the id of each refused order to the reason."""


def act_on_orders(
    database: Database, operator: Operator, kind: ActKind, order_ids: Sequence[int], decide: Decide
) -> Iterator[OrdersActedOn]:
    """Carry out the same act on each of these orders, 1,000 orders in a transaction.

    Yield the results of each transaction once it is committed. If a transaction loses too many races, raise its error.
    """
    for start in range(0, len(order_ids), MOST_AT_ONCE):
        done = _act_on_some(
            database, operator, kind, order_ids[start : start + MOST_AT_ONCE], decide, rank_of(len(order_ids))
        )
        if done.changes:
            operator.log(kind, orders=len(done.changes), refused=len(done.refusals))
        yield done


@retry_contention
def _act_on_some(
    database: Database, operator: Operator, kind: ActKind, order_ids: Sequence[int], decide: Decide, rank: Rank
) -> OrdersActedOn:
    with writing(database, operator) as connection:
        # The rows are locked in ascending order of their ids, as in every other transaction.
        orders = lock_by_ids(connection, set(order_ids))
        left_alone = operator.left_alone(connection, orders)
        act = operator.act(database.now(connection))
        decided = [(order.id, decide(order, act)) for order in orders if order.id not in left_alone]
        changes = tuple(one for _, one in decided if isinstance(one, Change))
        save_orders(connection, changes, act.now, rank=rank)
        add_acts(connection, entries_of([change.after for change in changes], act, kind))
    refusals = {order_id: one for order_id, one in [*left_alone.items(), *decided] if isinstance(one, CodedText)}
    for gone in set(order_ids) - {order.id for order in orders}:
        refusals[gone] = CodedText(TextCode.NO_ORDER, number=f"id:{gone}")
    return OrdersActedOn(changes=changes, refusals=refusals)


def entries_of(orders: Collection[Order], act: Act, kind: ActKind) -> Iterator[ActEntry]:
    """Yield the record of an act: one row for each account, with the names of the changed orders. An operator knows an
    order by this name."""
    for account in sorted({order.account for order in orders}):
        of_account = [order for order in orders if order.account == account]
        names = ", ".join(order.request_id or order.custom_parm or f"id:{order.id}" for order in of_account)
        code = TextCode.ONE_ORDER if len(of_account) == 1 else TextCode.ORDERS
        said = CodedText(code, count=len(of_account), names=names)
        yield act.entry(kind, account, said, [order.id for order in of_account])


@retry_contention
def pause_accounts(
    database: Database,
    operator: Operator,
    accounts: Collection[str],
    *,
    lasts: timedelta | None = None,
    begins: datetime | None = None,
    ends: datetime | None = None,
) -> list[tuple[AccountState, AccountState]]:
    """Pause accounts in one act, from now on or from a later time. The pause lasts for a duration, until a time, or
    until somebody resumes the account. Return the states before and after, in the order of the accounts' names."""
    with writing(database, operator) as connection:
        states = lock_states(connection, accounts)
        act = operator.act(database.now(connection))
        until = ends if lasts is None else act.now + lasts
        done = [(states[account], pause(states[account], act, until, begins)) for account in sorted(states)]
        save_pauses(connection, [after for _, after in done])
        said = _paused(None if begins is None or begins <= act.now else begins, until)
        add_acts(connection, [act.entry(ActKind.PAUSE, account, said) for account in sorted(states)])
    for account in sorted(states):
        operator.log(ActKind.PAUSE, account=account, until=None if until is None else _utc(until), detail=said)
    return done


def _paused(begins: datetime | None, ends: datetime | None) -> CodedText:
    if ends is None:
        return CodedText(TextCode.UNTIL_RESUMED)
    if begins is None:
        return CodedText(TextCode.UNTIL, time=_utc(ends))
    return CodedText(TextCode.FROM_UNTIL, time=_utc(begins), until=_utc(ends))


def _cancelled(plans: Sequence[Pause]) -> CodedText:
    code, first = TextCode.PLAN_CANCELLED if len(plans) == 1 else TextCode.PLANS_CANCELLED, plans[0]
    return CodedText(code, count=len(plans), time=_utc(first.paused_at), until=_utc(first.ends_at))


@retry_contention
def cancel_planned_pauses(
    database: Database, operator: Operator, accounts: Collection[str], shown: Pause | None = None
) -> dict[str, list[Pause]]:
    """Cancel pauses of accounts that are planned and have not begun yet. With `shown`, cancel only this pause. Return
    the cancelled pauses by account, the one that begins first at the front."""
    with writing(database, operator) as connection:
        states = lock_states(connection, accounts)
        act = operator.act(database.now(connection))
        planned = {account: states[account].planned_pauses(act.now) for account in sorted(states)}
        chosen = {account: [one for one in plans if shown in (None, one)] for account, plans in planned.items()}
        cancelled = {account: plans for account, plans in chosen.items() if plans}
        if cancelled:
            save_pauses(connection, [without_pauses(states[account], plans) for account, plans in cancelled.items()])
            entries = [act.entry(ActKind.RESUME, account, _cancelled(plans)) for account, plans in cancelled.items()]
            add_acts(connection, entries)
    for account in cancelled:
        operator.log(ActKind.RESUME, account=account)
    return cancelled


@retry_contention
def resume_account(database: Database, operator: Operator, account: str) -> Resumed:
    """End an account's pause, and also its back-off, except the part of the back-off that the platform asked for. The
    slots do not change. Hosts that are cut off from the account try again at once."""
    with writing(database, operator) as connection:
        before = lock_states(connection, [account])[account]
        act = operator.act(database.now(connection))
        done = resume(before, act.now)
        try_hosts_at(connection, account, act.now)
        if done.is_resumed:
            save_state(connection, before, done.after)
            add_acts(connection, [act.entry(ActKind.RESUME, account, _ended(done))])
    if done.is_resumed:
        operator.log(ActKind.RESUME, account=account)
    return done


def _ended(resumed: Resumed) -> CodedText | None:
    """Return a text about the back-off that a resume has ended or shortened; None if the resume has ended no
    back-off."""
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
    """Close every slot of these SIDs for a full reservation from now. Return the changed rows.

    A slot without a row begins with a full reservation anyway. If another transaction grants a query and has locked a
    row, wait until it ends.
    """
    with writing(database, operator) as connection:
        rows = lock_rows(connection, [row.id for row in read_rows(connection, sids)], waits=True)
        # As in a grant, both clocks are read once the rows are locked, because the reservation begins at the time read.
        now = read_clocks(database, connection, clock)
        held = [replace(row, slot=hold(row.slot, now, rules, uuid.uuid4().hex)) for row in rows]
        for row in held:
            save_slot(connection, row.id, row.slot, now.database)
        if held:
            code = TextCode.SLOT_HELD if len(held) == 1 else TextCode.SLOTS_HELD
            words = CodedText(code, count=len(held), time=_utc(max(row.slot.due_at for row in held)))
            add_acts(connection, [operator.act(now.database).entry(ActKind.HOLD, None, words)])
    if held:
        operator.log(ActKind.HOLD, slots=len(held))
    return held


@contextmanager
def writing(database: Database, operator: Operator) -> Iterator[Connection]:
    """Open a transaction. In a dry run, the transaction is rolled back at its end."""
    with database.write() as connection:
        yield connection
        if operator.dry_run:
            connection.rollback()


def _utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


class LongAct:
    """An act that takes many transactions: who acts, and what was done so far. One row of `operator_acts` records the
    act, once something was done.

    Each transaction that does a part of the act updates this row. So even if the run is killed, the row shows the
    operator's name and what was done.
    """

    def __init__(self, operator: Operator, kind: ActKind, said: TextCode = TextCode.DONE, **values: str) -> None:
        """`said` is the text of the record. In this text, the counts of changed rows replace the name `done`, and
        `values` replace the other names."""
        self._operator, self._kind, self._said, self._values = operator, kind, said, values
        self._done = Counter[str]()
        self._row: int | None = None

    @contextmanager
    def part(self, database: Database) -> Iterator[tuple[Connection, Counter[str]]]:
        """Open a transaction for a part of the act. Yield the connection, and a counter in which the caller counts the
        changed rows by name."""
        part = Counter[str]()
        with database.write() as connection:
            yield connection, part
            row = self._record(database, connection, self._done + part) if part.total() else self._row
        # Set only once the part is committed: if a transaction is repeated, it begins with the values from before it.
        self._row, self._done = row, self._done + part

    def log_end(self) -> None:
        """Log what was done; nothing if nothing was done."""
        if self._row is not None:
            self._operator.log(self._kind, **self._done)

    def _record(self, database: Database, connection: Connection, done: Counter[str]) -> int:
        counts = {name: f"{count:,}" for name, count in done.items() if count}
        detail = CodedText(self._said, **counts, **self._values)
        if self._row is not None:
            set_detail(connection, self._row, detail)
            return self._row
        return add_act(connection, self._operator.act(database.now(connection)).entry(self._kind, None, detail))
