"""The worker's parts as the fault suite composes them: the same, with points to strike at and clocks to step."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event

from tests.faults.pages import bound_pages
from tests.faults.points import Point, Points, commit_point, does, does_again, doing
from worker.adapters.clock import HostClock
from worker.database.transactions import Database
from worker.domain.queries.after_reply import QueryEffects
from worker.domain.records.accounts import SlotKey
from worker.domain.records.incoming import Answer, QueryError
from worker.domain.records.queries import Query
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack
from worker.operations.write_heartbeat import host_name

_FOLDER = Path(os.environ["FAULTS_FOLDER"])
_points = Points(_FOLDER)


def _step(clock: str) -> timedelta:
    """How far a clock (`host` or `database`) was stepped by the scenario."""
    try:
        return timedelta(seconds=float((_FOLDER / f"{clock}.step").read_text()))
    except (FileNotFoundError, ValueError):
        return timedelta(0)


class SteppedClock(HostClock):
    """The host's clocks; its wall clock can be stepped, its boot clock cannot."""

    def __init__(self) -> None:
        # FAULTS_BOOT_ID lets one machine simulate two hosts.
        super().__init__(boot_id=os.environ.get("FAULTS_BOOT_ID"))

    def now(self) -> datetime:
        """The wall clock as the scenario has set it."""
        return super().now() + _step("host")


def simulated_host() -> str:
    """The name of the host that FAULTS_BOOT_ID simulates, or of this one."""
    return os.environ.get("FAULTS_BOOT_ID") or host_name()


class PointedDatabase(Database):
    """The database, with points around its commits and a clock that can be stepped."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        event.listen(self.engine, "before_cursor_execute", _mark)
        if self.kind == "sqlite":
            event.listen(self.engine, "begin", partial(bound_pages, _FOLDER))

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction with a point before its commit and one after."""
        # A grant that is repeated after a lost race is an attempt again until it grants something.
        does_again("grant", "attempt")
        # The thread that claims notifications has one context for all its transactions.
        does_again("claim", "sending")
        does_again("note", "sending")
        with super().write() as connection:
            yield connection
            _pass(commit_point("before"))
        _pass(commit_point("after"))

    def now(self, connection: Connection) -> datetime:
        """The database's clock as the scenario has set it."""
        return super().now(connection) + _step("database")


class PointedMaintenance(SlotMaintenance):
    """The maintenance of slots, whose transactions are known as such."""

    def prepare(self, slots: Any) -> None:
        """Begin the rows; there is no point in it."""
        with doing("preparation"):
            super().prepare(slots)


class PointedGrants(Grants):
    """Grants, whose transactions are known as such."""

    def take(self, slot: SlotKey) -> Query | None:
        """Take a slot. Only a transaction that grants a query passes the points of a grant."""
        with doing("attempt"):
            return super().take(slot)


class PointedWriteBack(WriteBack):
    """The write-back whose transactions are marked as such."""

    def answered(self, query: Query, answer: Answer) -> QueryEffects:
        """Write an answer back."""
        _pass(Point.WRITE_BACK_BEGINS)
        with doing("write-back"):
            return super().answered(query, answer)

    def failed(self, query: Query, error: QueryError) -> QueryEffects:
        """Write a query failure back."""
        _pass(Point.WRITE_BACK_BEGINS)
        with doing("write-back"):
            return super().failed(query, error)


def _mark(_connection: object, _cursor: object, statement: str, *_: object) -> None:
    if statement.startswith("INSERT INTO platform_queries"):
        does("grant")
    elif statement.startswith("UPDATE notifications SET") and "lease_token" in statement:
        if "http_status" in statement:
            does("note")
        else:
            does("claim", unless="note")


def _pass(point: Point | None) -> None:
    if point is not None:
        _points.passes(point)
