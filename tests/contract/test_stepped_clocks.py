"""A step of the database's clock by an hour, in either direction, on one boot neither opens nor blocks the limit."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection

from tests.support.reconciling import Workbench, answer_to, item
from worker.database.transactions import Database
from worker.domain.records.query_errors import DeadlineExceeded
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack

HOUR = timedelta(hours=1)


class SteppedDatabase(Database):
    """A database whose clock the test steps."""

    step = timedelta(0)

    def now(self, connection: Connection) -> datetime:
        """The stepped clock's time."""
        return super().now(connection) + self.step


@pytest.fixture
def database(bench: Workbench) -> Iterator[SteppedDatabase]:
    """The workbench's own database from now on."""
    bench.add(*(f"r{number}" for number in range(300)), age_seconds=10 * 3600.0)
    database = SteppedDatabase(bench.url)
    bench.maintenance = SlotMaintenance(database, bench.clock, bench.rules)
    bench.grants = Grants(database, bench.clock, bench.rules)
    bench.write_back = WriteBack(database, bench.clock, bench.rules)
    yield database
    database.close()


@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
@pytest.mark.parametrize("moment", ["after the grant", "before the answer", "after the answer"])
def test_a_step_leaves_a_reservation_or_the_window_after_an_answer_as_it_is(
    bench: Workbench, database: SteppedDatabase, step: timedelta, moment: str
) -> None:
    query = bench.take()
    if moment != "after the answer":
        database.step = step
    if moment == "after the grant":
        bench.take_after(bench.rules.reservation_seconds)
        return
    bench.write_back.answered(query, answer_to(query, [item("r0")]))
    database.step = step
    bench.take_after(bench.rules.spacing_seconds)


def test_a_back_off_lasts_no_longer_than_its_length_after_a_step_back(
    bench: Workbench, database: SteppedDatabase
) -> None:
    bench.write_back.failed(bench.take(), DeadlineExceeded("no answer"))
    length = timedelta(seconds=bench.state().backoff_seconds)
    bench.clock.advance(bench.rules.reservation_seconds)
    database.step = -HOUR
    assert bench.grants.take(bench.slot) is None
    database.step += length
    assert bench.take().ids


def test_a_back_off_that_a_step_forward_ends_opens_no_slot(bench: Workbench, database: SteppedDatabase) -> None:
    bench.write_back.failed(bench.take(), DeadlineExceeded("no answer"))
    database.step = HOUR
    bench.take_after(bench.rules.reservation_seconds)
