"""A worker and a platform that shows a certificate of a private authority."""

from pathlib import Path

import pytest

from tests.contract.platform.raw_server import CERTIFICATE, RawServer, http
from tests.support.processes import environment, open_slots, running_worker, send_tasks
from tests.support.servers import EmbeddedValkey
from tests.support.sql import rows_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

ANSWER = http(b'{"requestId":"2016010000000001","trafficSts":"1","oriAmount":"2.94"}')


@pytest.mark.databases("sqlite")
def test_a_private_authority_is_trusted_where_a_setting_names_it(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    statement = "SELECT q.outcome, o.state FROM platform_queries AS q, recharge_orders AS o ORDER BY q.id"

    def rows() -> list[tuple[str, ...]]:
        return [tuple(row) for row in rows_of(migrated_database_url, statement)]

    with RawServer(ANSWER, tls=True) as platform:
        urls = {
            "database_url": migrated_database_url,
            "broker_url": own_valkey.url,
            "platform_url": platform.url,
            "platform_ca_file": CERTIFICATE,
        }
        short = {"query_window_seconds": 1, "request_deadline_seconds": 20, "callback_grace_seconds": 0.05}
        env = environment(**urls, **short, tick_seconds=0.1)
        with running_worker(env, tmp_path, "--pool", "solo"):
            open_slots(migrated_database_url)
            order = {"request_id": "2016010000000001", "mobile": "18812340804"}
            send_tasks(own_valkey.url, ("reconciler.enqueue_order", [order]))
            eventually(lambda: ("answered", "succeeded") in rows(), "a query that is answered, and its order")
