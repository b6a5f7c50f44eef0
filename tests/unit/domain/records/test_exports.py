from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.records.exports import LOST_AFTER, Export, ExportState

NOON = datetime(2016, 1, 31, 12, tzinfo=UTC)
EXPORT = Export(
    id="a" * 32,
    user_name="bob",
    list_name="orders",
    filters="state=pending",
    host="one",
    state=ExportState.RUNNING,
    row_count=7,
    asked_at=NOON,
    seen_at=NOON,
)


@pytest.mark.parametrize(
    ("silent", "state"),
    [(LOST_AFTER, ExportState.RUNNING), (LOST_AFTER + timedelta(seconds=1), ExportState.LOST)],
)
def test_an_export_without_a_sign_of_its_process_is_lost(silent: timedelta, state: ExportState) -> None:
    assert EXPORT.state_at(NOON + silent) is state


def test_what_has_ended_is_not_lost() -> None:
    done = replace(EXPORT, state=ExportState.DONE, ended_at=NOON)
    assert done.state_at(NOON + timedelta(days=1)) is ExportState.DONE
