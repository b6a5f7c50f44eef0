"""A step of the database's clock by an hour, in either direction, on one boot neither opens nor blocks the limit."""

from datetime import timedelta

import pytest

from tests.support.reconciling import Workbench, answer_to, item
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import DeadlineExceeded

HOUR = timedelta(hours=1)

pytestmark = pytest.mark.workbench(rules=Rules(grace_seconds=1.0, batch_size=2))


@pytest.fixture(autouse=True)
def orders(bench: Workbench) -> None:
    """More than a query polls, and due whatever the step. Only the test moves the database's clock."""
    bench.add(*(f"r{number}" for number in range(10)), age_seconds=10 * 3600.0)
    bench.database.stopped_at = bench.now()


@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
@pytest.mark.parametrize("moment", ["after the grant", "before the answer", "after the answer"])
def test_a_step_leaves_a_reservation_or_the_window_after_an_answer_as_it_is(
    bench: Workbench, step: timedelta, moment: str
) -> None:
    query = bench.take()
    if moment != "after the answer":
        bench.database.step = step
    if moment == "after the grant":
        bench.take_after(bench.rules.reservation_seconds)
        return
    bench.write_back.answered(query, answer_to(query, [item("r0")]))
    bench.database.step = step
    bench.take_after(bench.rules.spacing_seconds)


def test_a_back_off_lasts_no_longer_than_its_length_after_a_step_back(bench: Workbench) -> None:
    bench.write_back.failed(bench.take(), DeadlineExceeded("no answer"))
    length = timedelta(seconds=bench.state().backoff_seconds)
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.database.step = -HOUR
    assert bench.grants.take(bench.slot) is None
    until = bench.state().backoff_until
    assert until is not None
    assert (until - bench.now()) / length == pytest.approx(1)
    bench.database.step += length
    assert bench.take().ids


def test_a_back_off_that_a_step_forward_ends_opens_no_slot(bench: Workbench) -> None:
    bench.write_back.failed(bench.take(), DeadlineExceeded("no answer"))
    bench.database.step = HOUR
    bench.take_after(bench.rules.reservation_seconds)
