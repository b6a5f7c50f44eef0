"""The endpoint of a testbed's notifications: how it rests, and clocks that are stepped to the end of a wait."""

import time
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy

from tests.faults.recorder import NotificationConsumer, Recorder
from tests.faults.testbed import Testbed, utc
from tests.support.sql import session
from tests.support.waiting import eventually

_LONG_SECONDS = 60.0
_JUST_AFTER_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Rest:
    """A rest of the endpoint, in seconds since 1970 by the database's clock."""

    level: int
    begins: float
    ends: float


def rest_of(testbed: Testbed, account: str = "default") -> Rest | None:
    """How the endpoint rests now; None where it does not."""
    columns = "rest_level, rest_from, rest_until"
    ((level, begins, ends),) = testbed.rows(f"SELECT {columns} FROM notify_endpoints WHERE account = '{account}'")
    return None if begins is None else Rest(level=level, begins=_seconds(begins), ends=_seconds(ends))


def wait_for_rest(testbed: Testbed, account: str = "default", *, level: int = 1, seconds: float = 40.0) -> Rest:
    """Return once the endpoint rests on this level, or a higher one."""

    def rests() -> Rest | None:
        rest = rest_of(testbed, account)
        return rest if rest is not None and rest.level >= level else None

    rest = eventually(rests, f"an endpoint that rests on level {level}", seconds=seconds)
    assert rest is not None
    return rest


def is_in_doubt(testbed: Testbed) -> bool:
    """Whether the endpoint has refused so many events in a row that it is sent one at a time."""
    return bool(testbed.rows("SELECT 1 FROM notify_endpoints WHERE failing_since IS NOT NULL AND rest_level = 0"))


def seconds_to_tell(testbed: Testbed, name: str) -> float:
    """How long after the change of an order its first notification was delivered, by the database's clock."""
    order = f"(SELECT id FROM recharge_orders WHERE request_id = '{name}')"
    times = f"SELECT changed_at, delivered_at FROM notifications WHERE order_id = {order} ORDER BY id"
    changed_at, delivered_at = testbed.rows(times)[0]
    return _seconds(delivered_at) - _seconds(changed_at)


def step_to(testbed: Testbed, moment: float) -> float:
    """Step the database's clock forward to just after this moment; returns by how many seconds it is ahead then."""
    ahead = moment - time.time() + _JUST_AFTER_SECONDS
    testbed.step_clock("database", ahead)
    return ahead


def wait_until_told_after_waits(testbed: Testbed, *, seconds: float = 60.0) -> None:
    """Return once no notification waits. Where one waits for minutes, the database's clock is stepped to its end.

    An event that failed as the last one before another was accepted is to blame itself: the second time it waits for
    five minutes, although its broker was the reason both times.
    """

    def are_told() -> bool:
        pending = testbed.rows("SELECT due_at FROM notifications WHERE state = 'pending'")
        latest = max((_seconds(row[0]) for row in pending), default=0.0)
        if latest > time.time() + testbed.clock_step("database") + _LONG_SECONDS:
            step_to(testbed, latest)
        return not pending

    eventually(are_told, "no notification that waits", seconds=seconds, every=0.3)


def repeats(recorder: Recorder | NotificationConsumer) -> int:
    """How many deliveries only repeated what had been accepted."""
    accepted = [one["id"] for one in recorder.deliveries() if one["accepts"]]
    return len(accepted) - len(set(accepted))


def column_names(testbed: Testbed, table: str) -> set[str]:
    """The names of a table's columns."""
    with session(testbed.database.direct_url) as connection:
        return {column["name"] for column in sqlalchemy.inspect(connection).get_columns(table)}


def count_notifications(testbed: Testbed, condition: str) -> int:
    """How many rows of `notifications` there are with this condition."""
    return int(testbed.rows(f"SELECT count(*) FROM notifications WHERE {condition}")[0][0])


def _seconds(value: datetime | str) -> float:
    return utc(value).timestamp()
