"""Synthetic orders as one SELECT over their numbers, so that the database itself makes millions of them.

The n-th order is always the same. Of the pending ones half were never polled; the others are spread over all age
buckets by the ages at which they were last polled (a minute to 5 days: few before the end of the grace, most soon
after it), and over the time since that poll (a minute to 8 hours, as many in each octave), the lanes and the id kinds.
Times are relative to BEGINNING, the moment at which the clocks of a benchmark start.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Select,
    String,
    case,
    cast,
    func,
    literal_column,
    null,
    select,
    text,
)

from worker.database.tables import ORDERS
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.orders import IdKind, Lane, OrderState, Source
from worker.domain.scheduling.ages_and_observations import BUCKETS, bucket_edges

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = AccountState(account="default").account
NAME_PREFIX = "bench3-"
"""What synthetic orders are called. The number goes up when they change, so that tables kept from before are known."""
COLUMNS = tuple(column.name for column in ORDERS.columns if column.name not in ("id", "amount_is_price"))
"""Without those that the database fills in alike."""

# The octaves of ages at the last poll, and of the time since then: so many parts of the orders fall into each.
_FIRST_POLL_SECONDS, _POLLS = 60, (1, 1, 1, 4, 8, 8, 7, 6, 5, 4, 3, 2, 1)
_FIRST_WAIT_SECONDS, _WAITS = 60, (1,) * 9
_GRACE_SECONDS = 600
# The settled ones were submitted one after the other, the first of them so long ago.
_HISTORY = timedelta(days=40)
_SETTLED_PER_SECOND = 3
_FIRST_REQUEST_ID = 2_016_010_000_000_000
_SUSPECTS_IN_GROUP = 50

Number = ColumnElement[int]
Condition = ColumnElement[bool]
Values = dict[str, ColumnElement[Any]]


def age_bucket_of(was_polled: Condition, is_polled_apart: Condition, poll_age: Number) -> Number:
    """`age_bucket` of an order, by whether it was polled, and its age in seconds at the last such query."""
    ends = [
        (poll_age < literal_column(str(edge)), _number(group)) for group, edge in enumerate(bucket_edges(Rules()), 1)
    ]
    return case((~was_polled, _number(0)), (is_polled_apart, _number(1)), *ends, else_=_number(BUCKETS - 1))


def orders(dialect: Dialect, *, first: int, count: int, pending: int, pending_before: int) -> Select[Any]:
    """The orders with the numbers from `first` on, `pending` of `count` pending, evenly spread; columns as COLUMNS.

    `pending_before`: how many pending ones there are already, so that each is unlike the others.
    """
    position = _series(dialect, count)
    waiting_so_far = position * _number(pending) // _number(count)
    waiting_before = (position - _number(1)) * _number(pending) // _number(count)
    numbered = select(
        (position + _number(first - 1)).label("number"),
        (waiting_so_far > waiting_before).label("waits"),
        (waiting_so_far + _number(pending_before)).label("waiting"),
    ).subquery("numbered")
    # Two numbers without a pattern.
    drawn = _computed_apart(
        select(
            numbered,
            (numbered.c.waiting * _number(7_919) % _number(10_007)).label("one"),
            (numbered.c.waiting * _number(104_729) % _number(20_011)).label("other"),
        )
    ).subquery("drawn")
    aged = _computed_apart(
        select(
            drawn,
            (drawn.c.waits & (drawn.c.one % 2 > 0)).label("was_polled"),
            _octaves(_FIRST_POLL_SECONDS, _POLLS, drawn.c.other, drawn.c.one).label("poll_age"),
            _octaves(_FIRST_WAIT_SECONDS, _WAITS, drawn.c.one, drawn.c.other).label("since_poll"),
        )
    ).subquery("aged")
    values = _values(dialect, dict(aged.c.items()))
    return select(*(values[name].label(name) for name in COLUMNS))


def _computed_apart(query: Select[Any]) -> Select[Any]:
    """The query as a subquery of its own: merged into the outer one, each column would be computed many times a row."""
    return query.offset(_number(0))


def _values(dialect: Dialect, row: Mapping[str, ColumnElement[Any]]) -> Values:
    age = case((row["was_polled"], row["poll_age"] + row["since_poll"]), else_=row["since_poll"] + _GRACE_SECONDS)
    settled_ago = _number(int(_HISTORY.total_seconds())) - row["number"] // _number(_SETTLED_PER_SECOND)
    submitted = _before(dialect, case((row["waits"], age), else_=settled_ago))
    # What is due since its grace has ended, or since its last poll: the worker orders by this.
    due = _before(dialect, case((row["waits"], row["since_poll"]), else_=settled_ago))
    nothing_yet: Values = {column.name: null() if column.nullable else _number(0) for column in ORDERS.columns}
    return {
        **nothing_yet,
        **_names(row),
        **_end(row, submitted),
        **_lane(row),
        "submitted_at": submitted,
        "created_at": submitted,
        "updated_at": submitted,
        "due_at": due,
        "queried_at": case((row["was_polled"], due)),
        "query_count": case((row["was_polled"], _number(3)), else_=_number(0)),
        "age_bucket": age_bucket_of(row["was_polled"], _lane(row)["lane"] != _text(Lane.BATCH), row["poll_age"]),
    }


def _names(row: Mapping[str, ColumnElement[Any]]) -> Values:
    number = row["number"]
    nameless = row["waits"] & (row["other"] % 100 == 0)
    return {
        "account": _text(ACCOUNT),
        "request_id": case((~nameless, cast(number + _number(_FIRST_REQUEST_ID), String(64)))),
        "custom_parm": _text(NAME_PREFIX) + cast(number, String(64)),
        "mobile": cast(number % _number(100_000_000) + _number(18_800_000_000), String(11)),
        # SQLite keeps amounts as text: the column converts the number.
        "expected_amount": literal_column("2.94"),
        "id_kind": case((nameless, _text(IdKind.CUSTOM_PARM)), else_=_text(IdKind.REQUEST_ID)),
    }


def _end(row: Mapping[str, ColumnElement[Any]], submitted: ColumnElement[Any]) -> Values:
    waits, failed = row["waits"], row["number"] % 20 == 7
    states = ((waits, _text(OrderState.PENDING)), (failed, _text(OrderState.FAILED)))
    return {
        "state": case(*states, else_=_text(OrderState.SUCCEEDED)),
        "traffic_sts": case((row["was_polled"], _number(0)), (waits, null()), (failed, _number(-1)), else_=_number(1)),
        "remark": case((~waits, _text("recharged"))),
        "ori_amount": case((~waits, literal_column("2.94"))),
        "settled_by": case((~waits, _text(Source.CALLBACK))),
        "settled_at": case((~waits, submitted)),
    }


def _lane(row: Mapping[str, ColumnElement[Any]]) -> Values:
    """Of a thousand pending orders one is polled alone, and up to 50 are suspects, in groups or alone."""
    alone = row["was_polled"] & (row["one"] % 1000 == 1)
    suspect = row["was_polled"] & (row["waiting"] % 10_000 < _SUSPECTS_IN_GROUP) & (row["other"] % 100 > 0)
    group = row["waiting"] // _number(10_000) + _number(1)
    lone = suspect & (row["waiting"] % 50 == 3)
    lanes = ((lone, _text(Lane.LONE_SUSPECT)), (suspect, _text(Lane.SUSPECT)), (alone, _text(Lane.ALONE)))
    return {
        "lane": case(*lanes, else_=_text(Lane.BATCH)),
        "suspect_group": case((lone, -row["waiting"]), (suspect, group)),
    }


def _octaves(shortest: int, parts: Sequence[int], octave: Number, chance: Number) -> Number:
    """Seconds from `shortest` on, in each doubling of it as often as its part says, evenly spread within one."""
    within = _number(shortest) + chance % _number(shortest)
    position = octave % _number(sum(parts))
    # Written out: SQLite may lack powers.
    doublings = [(position < _number(end), _number(2**number)) for number, end in enumerate(accumulate(parts))]
    return within * case(*doublings, else_=_number(1))


def _series(dialect: Dialect, count: int) -> Number:
    """The numbers from 1 to `count`."""
    if dialect.name == "postgresql":
        return cast(func.generate_series(_number(1), _number(count)).column_valued("position"), BigInteger)
    rows = select(_number(1).label("position")).cte("series", recursive=True)
    following = select(rows.c.position + _number(1)).where(rows.c.position < _number(count))
    return rows.union_all(following).c.position


def _before(dialect: Dialect, seconds: Number) -> ColumnElement[Any]:
    """The time so many seconds before BEGINNING, as the dialect stores times."""
    beginning = _text(BEGINNING.strftime("%Y-%m-%d %H:%M:%S"))
    if dialect.name == "postgresql":
        since = seconds * literal_column("interval '1 second'")
        return literal_column(f"timestamptz '{BEGINNING:%Y-%m-%d %H:%M:%S}+00'") - since
    if dialect.name == "sqlite":
        moved = func.datetime(beginning, cast(-seconds, String(20)) + _text(" seconds"), type_=String())
        return moved + _text(".000000")
    return func.timestampadd(text("SECOND"), -seconds, beginning)


def _number(value: int) -> Number:
    # Written out: a parameter would need a type on PostgreSQL.
    return literal_column(str(value), BigInteger())


def _text(value: str) -> ColumnElement[str]:
    return literal_column(f"'{value}'", String())
