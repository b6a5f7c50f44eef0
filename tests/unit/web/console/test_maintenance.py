"""When the console proposes that a planned pause begins and ends."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from worker.web.console.maintenance import proposed_pause


@pytest.mark.parametrize(
    ("now", "evening", "morning"),
    [
        ("2016-01-31 00:30", "2016-01-31 23:00", "2016-02-01 06:00"),
        ("2016-01-31 22:59", "2016-01-31 23:00", "2016-02-01 06:00"),
        ("2016-01-31 23:00", "2016-02-01 23:00", "2016-02-02 06:00"),
        ("2016-01-31 23:59", "2016-02-01 23:00", "2016-02-02 06:00"),
    ],
)
def test_the_next_night_that_has_not_begun_is_proposed(now: str, evening: str, morning: str) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    read = [datetime.fromisoformat(one).replace(tzinfo=zone) for one in (now, evening, morning)]
    assert proposed_pause(read[0].astimezone(UTC), zone) == (read[1], read[2])
