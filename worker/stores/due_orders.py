"""The reads from which a batch is chosen: rows at both ends of each way of asking, whatever the size of the table.

At most two of them: a helping of each way, then more of those look groups whose first helping a batch would use up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Select,
    and_,
    bindparam,
    column,
    literal_column,
    select,
    true,
    union_all,
    values,
)
from sqlalchemy.types import TypeEngine

from worker.database.bulk_statements import one_of
from worker.domain.accounts import AccountState
from worker.domain.choice import Choice, choose
from worker.domain.orders import Lane, Order
from worker.domain.pricing.ages import GROUPS
from worker.domain.pricing.batch import Candidate, helping_of, last_helping_of
from worker.domain.pricing.prices import Prices
from worker.domain.reports import IdKind
from worker.domain.rules import Rules
from worker.domain.turns import Work
from worker.stores.recharge_orders import ORDER_COLUMNS, ORDERS, PENDING, to_order

_COLUMNS = [
    ORDERS.c.id,
    ORDERS.c.id_kind,
    ORDERS.c.lane,
    ORDERS.c.look_group,
    ORDERS.c.submitted_at,
    ORDERS.c.due_at,
    ORDERS.c.queried_at,
    ORDERS.c.check_requested_at,
    ORDERS.c.suspect_group,
]
# Orders that are asked about apart are few, and one of them is chosen: two groups of them are read.
_GROUPS = {Lane.BATCH: range(GROUPS), Lane.ALONE: range(2), Lane.SUSPECT: range(2), Lane.LONE_SUSPECT: range(2)}
_KIND = {kind.value: kind for kind in IdKind}
_LANE = {lane.value: lane for lane in Lane}
Way = tuple[Lane, IdKind, int]
"""How an order is asked about: its lane, its id kind and its look group."""
WAYS: Sequence[Way] = [(lane, kind, group) for lane in Lane for kind in IdKind for group in _GROUPS[lane]]
"""Every way of asking; the index of what is due has a place for each."""


def choose_due(
    connection: Connection, state: AccountState, prices: Prices, now: datetime, rules: Rules
) -> Choice | None:
    """Read what is due and choose what the account's next slot is spent on; None where nothing is due."""
    found = read_candidates(connection, state, now, rules)
    choice = choose(found, state, prices, now, rules)
    if choice is None or not choice.used_up:
        return choice
    more = _read(connection, _on(connection.dialect, choice.used_up, rules.batch_size), state, now)
    return choose(_each_once([*found, *more]), state, prices, now, rules)


def read_candidates(connection: Connection, state: AccountState, now: datetime, rules: Rules) -> list[Candidate]:
    """The due orders that the next query can be about, each once: a helping of each way of asking."""
    first = _first(connection.dialect, rules.batch_size, state.may_batch_custom_parm(now, rules))
    return _each_once(_read(connection, first, state, now))


def _each_once(candidates: Sequence[Candidate]) -> list[Candidate]:
    return list({candidate.order_id: candidate for candidate in candidates}.values())


def _read(connection: Connection, reading: "_Reading", state: AccountState, now: datetime) -> list[Candidate]:
    rows = connection.exec_driver_sql(reading.statement, reading.parameters(state.account, now)).all()
    time = reading.time
    return [
        Candidate(
            order_id=order_id,
            id_kind=_KIND[id_kind],
            lane=_LANE[lane],
            look_group=group,
            submitted_at=time(submitted_at),
            due_at=time(due_at),
            queried_at=None if queried_at is None else time(queried_at),
            check_requested_at=None if check_requested_at is None else time(check_requested_at),
            suspect_group=suspects,
        )
        for order_id, id_kind, lane, group, submitted_at, due_at, queried_at, check_requested_at, suspects in rows
    ]


def claim(connection: Connection, account: str, choice: Choice, now: datetime, limit: int) -> tuple[Order, ...]:
    """Lock what was chosen, as far as nobody else holds it and it is still due. What was locked is the batch."""
    return _read_chosen(connection, _chosen(connection, account, choice, now, limit, locks=True), choice)


def read_chosen(connection: Connection, account: str, choice: Choice, now: datetime, limit: int) -> tuple[Order, ...]:
    """What a claim would find, without a lock."""
    return _read_chosen(connection, _chosen(connection, account, choice, now, limit, locks=False), choice)


def _chosen(
    connection: Connection, account: str, choice: Choice, now: datetime, limit: int, *, locks: bool
) -> Select[tuple[Any, ...]]:
    if choice.work is Work.SUSPECTS:
        chosen = ORDERS.c.suspect_group == choice.suspect_group
    else:
        chosen = one_of(connection, ORDERS.c.id, choice.order_ids)
    # An order may have learned its requestId since it was read: a query carries ids of one kind only.
    chosen &= ORDERS.c.id_kind == choice.id_kind
    column: ColumnElement[str] = ORDERS.c.account
    if connection.dialect.name == "sqlite":
        # By the index of what is due SQLite would read every pending order; the plus keeps it to the ids.
        column = literal_column("+recharge_orders.account", ORDERS.c.account.type)
    statement = select(*ORDER_COLUMNS).where(is_due(account, now, column) & chosen).order_by(ORDERS.c.id).limit(limit)
    return statement.with_for_update(skip_locked=True) if locks else statement


def _read_chosen(connection: Connection, statement: Select[tuple[Any, ...]], choice: Choice) -> tuple[Order, ...]:
    orders = [to_order(row) for row in connection.execute(statement)]
    place = {order_id: position for position, order_id in enumerate(choice.order_ids)}
    return tuple(sorted(orders, key=lambda order: place.get(order.id, order.id)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """The statement, as the driver takes it.

    Made once for a kind of database: to put it together each time, or only to recognize it, took longer than to run it.
    """

    statement: str
    constants: Mapping[str, Any]
    """What SQLAlchemy makes a parameter of that is the same each time."""
    positions: Sequence[str] | None
    """The parameters in their order, where the driver goes by that; None where it goes by their names."""
    bound_time: Callable[[datetime], object]
    time: Callable[[Any], Any]

    def parameters(self, account: str, now: datetime) -> Any:
        """What the driver is handed with the statement."""
        given = {**self.constants, "account": account, "now": self.bound_time(now)}
        return given if self.positions is None else tuple(given[name] for name in self.positions)


@lru_cache(maxsize=8)
def _first(dialect: Dialect, limit: int, batches_custom_parm: bool) -> _Reading:
    """A helping of both ends of each way; and what somebody wants checked, wherever it stands."""
    # SQLite takes ORDER BY and LIMIT inside a union only in a subquery.
    checked = select(_checked(limit).subquery())
    first = {way: 1 if _is_single(way, batches_custom_parm) else helping_of(way[2], limit) for way in WAYS}
    last = {way: last_helping_of(way[2], limit) for way in WAYS if not _is_single(way, batches_custom_parm)}
    ends = [*_reads(dialect, first), *_reads(dialect, {way: last[way] for way in last if last[way]}, is_last=True)]
    return _reading(dialect, [*ends, checked])


# Which groups give much is the same for hours: a few statements serve an account.
@lru_cache(maxsize=64)
def _on(dialect: Dialect, groups: Sequence[tuple[IdKind, int]], limit: int) -> _Reading:
    """As much of these groups as a batch can hold."""
    return _reading(dialect, _reads(dialect, {(Lane.BATCH, *group): limit for group in groups}))


def _is_single(way: Way, batches_custom_parm: bool) -> bool:
    """Whether its orders are asked about one by one: then the first of all is chosen."""
    lane, kind, _ = way
    return lane is not Lane.BATCH or (kind is IdKind.CUSTOM_PARM and not batches_custom_parm)


def _reading(dialect: Dialect, reads: Sequence[Select[tuple[Any, ...]]]) -> _Reading:
    kept_time: TypeEngine[Any] = ORDERS.c.due_at.type.dialect_impl(dialect)
    compiled = union_all(*reads).compile(dialect=dialect)
    return _Reading(
        statement=str(compiled),
        constants=compiled.params,
        positions=getattr(compiled, "positiontup", None),
        bound_time=kept_time.bind_processor(dialect) or _as_it_is,
        # PostgreSQL's driver tells times in the zone of the session, which is UTC.
        time=_as_it_is if dialect.name == "postgresql" else kept_time.result_processor(dialect, None) or _as_it_is,
    )


def _as_it_is(value: datetime) -> datetime:
    return value


def _reads(dialect: Dialect, most: Mapping[Way, int], *, is_last: bool = False) -> list[Select[tuple[Any, ...]]]:
    """For each way a read of the first rows, or of the last, so many at most."""
    if dialect.name == "postgresql":
        counts = sorted({*most.values()})
        return [_repeated([way for way in most if most[way] == count], count, is_last) for count in counts]
    reads = [
        _end_of(_text(lane), _text(kind), _number(group), count, is_last) for (lane, kind, group), count in most.items()
    ]
    return [select(read.subquery()) for read in reads]


def _repeated(ways: Sequence[Way], most: int, is_last: bool) -> Select[tuple[Any, ...]]:
    """One read, repeated for each way: to plan each apart took PostgreSQL longer than to run them all."""
    name = f"{'last' if is_last else 'first'}_{most}"
    columns = [column(name, ORDERS.c[name].type) for name in ("lane", "id_kind", "look_group")]
    listed = values(*columns, name=f"ways_of_{name}", literal_binds=True).data(ways)
    end = _end_of(listed.c.lane, listed.c.id_kind, listed.c.look_group, most, is_last).lateral(name)
    return select(end).select_from(listed).join(end, true())


def _text(value: StrEnum) -> ColumnElement[str]:
    return literal_column(f"'{value.value}'")


def _number(value: int) -> ColumnElement[int]:
    return literal_column(str(value))


def is_due(
    account: str | ColumnElement[str],
    now: datetime | ColumnElement[datetime],
    column: ColumnElement[str] = ORDERS.c.account,
) -> ColumnElement[bool]:
    """Whether an order of the account may be asked about at this time."""
    return (column == account) & (ORDERS.c.state == PENDING) & (ORDERS.c.due_at <= now)


def is_asked_by(lane: Lane, kind: IdKind, group: int) -> ColumnElement[bool]:
    """Whether an order is asked about in this way. Written out: there are dozens of them in one statement."""
    return _is_asked(_text(lane), _text(kind), _number(group))


def _is_asked(lane: Any, kind: Any, group: Any) -> ColumnElement[bool]:
    return and_(ORDERS.c.lane == lane, ORDERS.c.id_kind == kind, ORDERS.c.look_group == group)


def _end_of(lane: Any, kind: Any, group: Any, most: int, is_last: bool) -> Select[tuple[Any, ...]]:
    due = is_due(bindparam("account"), bindparam("now")) & _is_asked(lane, kind, group)
    # The same index, read backwards for the last.
    by_due = ORDERS.c.due_at.desc() if is_last else ORDERS.c.due_at
    return select(*_COLUMNS).where(due).order_by(by_due).limit(_number(most))


def _checked(limit: int) -> Select[tuple[Any, ...]]:
    due = is_due(bindparam("account"), bindparam("now"))
    checked = ORDERS.c.check_requested_at.is_not(None)
    return select(*_COLUMNS).where(due & checked).order_by(ORDERS.c.check_requested_at).limit(_number(limit))
