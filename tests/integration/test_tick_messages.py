"""Messages that request ticks: however many come, orders are taken in beside them."""

from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from tests.support.processes import environment, running_worker, send_tasks
from tests.support.servers import EmbeddedValkey

pytestmark = pytest.mark.slow


@pytest.mark.databases("postgresql")
def test_ticks_that_the_database_holds_up_keep_no_order_from_being_taken_in(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    env = environment(database_url=migrated_database_url, broker_url=own_valkey.url, result_backend=own_valkey.url)
    engine = sqlalchemy.create_engine(migrated_database_url, poolclass=NullPool)
    with running_worker(env, tmp_path), engine.begin() as holder:
        # Each tick reads this table, and waits ten seconds for it.
        holder.exec_driver_sql("LOCK TABLE query_budgets IN ACCESS EXCLUSIVE MODE")
        send_tasks(own_valkey.url, *[("reconciler.reconcile", [])] * 50)
        (answer,) = send_tasks(
            own_valkey.url, ("reconciler.enqueue_orders", [[{"request_id": "R1"}]]), backend=own_valkey.url
        )
    assert answer["accepted"] == 1
