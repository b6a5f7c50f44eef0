from datetime import datetime

import pytest
from pymysql.constants import FIELD_TYPE

from worker.database.column_types import pymysql_conversions


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-11-26 13:14:15.123456", datetime(2026, 11, 26, 13, 14, 15, 123456)),  # noqa: DTZ001 - MariaDB has no zones
        ("2026-11-26 13:14:15", datetime(2026, 11, 26, 13, 14, 15)),  # noqa: DTZ001 - MariaDB has no zones
        ("0000-00-00 00:00:00", "0000-00-00 00:00:00"),
    ],
)
def test_a_time_is_read_to_the_microsecond_and_what_is_none_stays_text(text: str, value: object) -> None:
    assert pymysql_conversions()[FIELD_TYPE.DATETIME](text) == value
