"""Rows of `notifications` for the benchmarks, written and read with SQL."""

from typing import Any

import sqlalchemy
from sqlalchemy.pool import NullPool

_BODY = (
    '{"type":"order.succeeded","timestamp":"2026-11-26T08:00:00.000000Z","data":{"account":"default",'
    '"request_id":"2016010000000001","custom_parm":"order-1","mobile":"18800000001","state":"succeeded",'
    '"traffic_sts":1,"remark":"成功","ori_amount":"2.94","expected_amount":"2.94","attention":null,'
    '"settled_by":"query","settled_at":"2026-11-26T08:00:00.000000Z","source":"query","version":1795678901234}}'
)
_FILL = """
INSERT INTO notifications
    (event_id, account, order_id, type, version, rank, body, changed_at, state, due_at, tries)
SELECT 'msg_' || replace(gen_random_uuid()::text, '-', ''), 'default', n, 'order.succeeded', 1, 0, :body,
    clock_timestamp(), 'pending', clock_timestamp(), 0
FROM generate_series(1, :count) AS n
"""


class Rows:
    """The notifications of one database."""

    def __init__(self, url: str) -> None:
        self._engine = sqlalchemy.create_engine(url, poolclass=NullPool)

    def add(self, count: int) -> int:
        """Add pending ones, in one transaction; returns the highest id that there was before."""
        with self._engine.begin() as connection:
            last = connection.scalar(sqlalchemy.text("SELECT coalesce(max(id), 0) FROM notifications"))
            connection.execute(sqlalchemy.text(_FILL), {"count": count, "body": _BODY})
        return int(last or 0)

    def delivered(self, after: int) -> int:
        """How many with an id above this one were delivered."""
        return int(self._one("SELECT count(delivered_at) FROM notifications WHERE id > :after", after))

    def seconds_of_deliveries(self, after: int) -> float:
        """From the first to the last delivery of those with an id above this one."""
        span = "SELECT extract(epoch FROM max(delivered_at) - min(delivered_at)) FROM notifications WHERE id > :after"
        return float(self._one(span, after))

    def delays(self, after: int) -> list[float]:
        """From the change to the noted delivery, in seconds, for those with an id above this one."""
        delay = "SELECT extract(epoch FROM delivered_at - changed_at) FROM notifications WHERE id > :after"
        with self._engine.connect() as connection:
            return [float(value) for value in connection.scalars(sqlalchemy.text(delay), {"after": after})]

    def has_endpoint(self) -> bool:
        """Whether a worker has entered its endpoint."""
        return bool(self._one("SELECT count(*) FROM notify_endpoints WHERE :after = 0", 0))

    def _one(self, statement: str, after: int) -> Any:
        with self._engine.connect() as connection:
            return connection.scalar(sqlalchemy.text(statement), {"after": after})
