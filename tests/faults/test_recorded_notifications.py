"""A testbed whose billing system is told: the product passes, and the checker finds what was taken away from it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.checker.notifications import check_notifications
from tests.faults.endpoints import wait_until_told_after_waits
from tests.faults.lanes import Lane
from tests.faults.notification_recorder import Answer
from tests.faults.testbed import Scale, Testbed
from tests.support.sql import session
from tests.support.waiting import eventually

pytestmark = pytest.mark.faults

_SCALE = Scale(window=1.0, deadline=2.0, tick=0.1)


@pytest.fixture(params=["sqlite", "postgresql"])
def testbed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Testbed]:
    with Lane(tmp_path / "lane") as lane, ExitStack() as stack:
        yield Testbed(
            stack=stack,
            folder=tmp_path,
            database=stack.enter_context(lane.database(request.param)),
            broker=stack.enter_context(lane.broker("redis")),
            seed="1",
            scale=_SCALE,
        )


def found_broken(testbed: Testbed) -> set[str]:
    evidence = testbed.notifications()
    assert evidence is not None
    return {one.partition(":")[0] for one in check_notifications(evidence)}


def change(testbed: Testbed, statement: str) -> None:
    with session(testbed.database.direct_url) as connection:
        assert connection.exec_driver_sql(statement).rowcount == 1


def test_every_result_reaches_a_receiver_that_is_killed_and_refuses(testbed: Testbed) -> None:
    recorder = testbed.record_notifications()
    testbed.start()
    first = testbed.place(20)
    recorder.wait_for(len(first), accepted=True)
    recorder.kill()
    testbed.wait_until_settled(testbed.place(20))
    moved = testbed.place(2)
    recorder.answers(orders={name: Answer(status=307, headers={"Location": "/elsewhere"}) for name in moved})
    recorder.start()
    eventually(lambda: sum(not one["accepts"] for one in recorder.deliveries()) >= len(moved), "a refusal of both")
    recorder.answers()
    wait_until_told_after_waits(testbed)
    testbed.finish()
    assert found_broken(testbed) == set()

    # What is wrong from here on, the product has not done.
    lost, *others = [delivery["id"] for delivery in recorder.deliveries()]
    one = f"event_id = '{next(told for told in others if told != lost)}'"
    change(testbed, f"UPDATE notifications SET state = 'gave_up' WHERE {one}")
    assert found_broken(testbed) == {"N4"}
    change(testbed, f"UPDATE notifications SET body = '{{}}' WHERE {one}")
    assert found_broken(testbed) == {"N4", "N5"}
    recorder.file.write_bytes(b"".join(recorder.file.read_bytes().splitlines(keepends=True)[1:]))
    assert found_broken(testbed) >= {"N1", "N2", "N3"}
