"""Waiting for the ticks of workers, as the command line shows them."""

from datetime import UTC, datetime
from typing import Any

from tests.support.command_line import CommandLine
from tests.support.waiting import eventually


def wait_for_a_new_tick(cli: CommandLine) -> None:
    """Wait until a worker ticks that is shown by `reconciler status`."""
    since = datetime.now(UTC)

    def ticks() -> list[Any]:
        rows = cli.json("status")["workers"]
        return [row for row in rows if row["last_tick_at"] and datetime.fromisoformat(row["last_tick_at"]) > since]

    eventually(ticks, "a tick since", seconds=60, every=0.2)
