"""The ticks of workers: waiting for them, as the command line shows them, and rows as if one had ticked."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench
from tests.support.waiting import eventually
from worker.adapters.log import VERSION
from worker.domain.records.monitoring import WorkerRow
from worker.operations.write_heartbeat import host_name
from worker.stores.accounts import save_worker


def wait_for_a_new_tick(cli: CommandLine) -> None:
    """Wait until a worker ticks that is shown by `reconciler status`."""
    since = datetime.now(UTC)

    def ticks() -> list[Any]:
        rows = cli.json("status")["workers"]
        return [row for row in rows if row["last_tick_at"] and datetime.fromisoformat(row["last_tick_at"]) > since]

    eventually(ticks, "a tick since", every=0.2)


def let_a_worker_tick(
    bench: Workbench,
    seconds_ago: float | None = 1.0,
    host: str = "",
    *,
    orders_waiting: int | None = None,
    version: str = VERSION,
    **heard: float,
) -> None:
    """As if a process had written its row. `heard` are its times of broker and beat, in seconds before now."""
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        times: dict[str, Any] = {name: now - timedelta(seconds=seconds) for name, seconds in heard.items()}
        row = WorkerRow(
            name="host:1:start",
            host=host or host_name(),
            pid=1,
            started_at=now - timedelta(seconds=100),
            last_tick_at=None if seconds_ago is None else now - timedelta(seconds=seconds_ago),
            written_at=now,
            clock_offset_seconds=0.25,
            accounts=("default",),
            version=version,
            orders_waiting=orders_waiting,
            **times,
        )
        save_worker(connection, row)
