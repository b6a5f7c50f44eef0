"""Two deployments whose settings name one Redis number: each takes orders of the other, and says so."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import DatabaseServer
from tests.support.processes import FAST, environment, running_worker, send_tasks
from tests.support.servers import EmbeddedValkey
from tests.support.sql import column_of
from tests.support.waiting import eventually
from worker.database.migrations import upgrade

pytestmark = [pytest.mark.slow, pytest.mark.databases("sqlite")]


def _findings(cli: CommandLine) -> list[dict[str, Any]]:
    return [one for one in cli.json("status")["findings"] if one["name"] == "shared_queues"]


def test_two_deployments_on_one_redis_number_report_each_other_and_continue(
    database_server: DatabaseServer, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(database_server.empty()) for _ in range(2)]
        for url in urls:
            upgrade(url)
        assert len({tuple(column_of(url, "SELECT id FROM deployment")) for url in urls}) == 2
        here = {**FAST, "broker_url": own_valkey.url, "platform_url": "http://127.0.0.1:9"}
        envs = [environment(**here, database_url=url) for url in urls]
        for number, env in enumerate(envs):
            stack.enter_context(running_worker(env, tmp_path, name=f"worker-{number}"))
        for env in envs:
            found = eventually(
                partial(_findings, CommandLine(env)),
                "the finding of another deployment",
                every=1.0,
            )
            assert found[0]["level"] == "critical"
        for number in range(2):
            log = (tmp_path / f"worker-{number}.log").read_text("utf-8")
            assert 1 <= log.count("another deployment uses the queues of this broker") <= 2
        orders = [{"request_id": f"2016{number:012d}"} for number in range(40)]
        send_tasks(own_valkey.url, *(("reconciler.enqueue_orders", [[order]]) for order in orders))
        taken = "SELECT request_id FROM recharge_orders"
        eventually(
            lambda: sum(len(column_of(url, taken)) for url in urls) == 40, "the orders in one table or the other"
        )
