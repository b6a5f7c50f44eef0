"""Which files of the worker one order passes, from the task that takes it in to the pages that show it."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

import worker
from tests.support.command_line import ACCOUNT, APP_ID, SID, TOKEN, CommandLine
from tests.support.pages import pages_of
from tests.support.receiver import Receiver
from tests.support.sql import execute
from tests.support.waiting import eventually
from worker.process.runtime import close_current, current
from worker.settings import load_settings
from worker.settings.rules import slots_of
from worker.simulator.orders import Delay
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator
from worker.tasks import enqueue_order

PACKAGE = Path(worker.__file__).parent
MOST_FILES = 89
SETTINGS = {
    **ACCOUNT,
    "RECONCILER_NOTIFY_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "RECONCILER_QUERY_WINDOW_SECONDS": "0.3",
    "RECONCILER_CALLBACK_GRACE_SECONDS": "0.05",
    # No tick begins a pass of its own.
    "RECONCILER_TICK_SECONDS": "60",
}
# Settings, their files and log are passed by everything; the simulated platform is another program; the pauses that
# every page announces are known only once a thread has read them.
ASIDE = re.compile(r"settings/|simulator/|adapters/(log|text_files)|web/console/maintenance|domain/accounts/pauses")
OTHER_WORK = {"watchdog", "heartbeat", "broker-answers", "ticks", "connection-probe", "overview", "announcements"}
"""Threads of a process that work at no order: the last two read what every page shows."""


class Trace:
    """The files that define what is called while it is `on`, by threads that work at the order."""

    def __init__(self) -> None:
        self.on = False
        self.files: set[str] = set()

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """A profile function (`sys.setprofile`)."""
        if not self.on or event != "call" or threading.current_thread().name in OTHER_WORK:
            return
        name = frame.f_code.co_filename.removeprefix(f"{PACKAGE}/")
        if name.endswith(".py") and not name.startswith("/") and not ASIDE.match(name):
            self.files.add(name)


@contextmanager
def tracing() -> Iterator[Trace]:
    """A trace of this thread, and of those that start from here on."""
    trace = Trace()
    threading.setprofile(trace.note)
    sys.setprofile(trace.note)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.mark.databases("sqlite")
def test_the_way_of_an_order_passes_the_files_that_the_architecture_names(migrated_database_url: str) -> None:
    platform = SimulatorConfig(
        accounts=(Account(sid=SID, auth_token=TOKEN, app_id=APP_ID),), adopt=True, delay=Delay.parse("fixed:0")
    )
    with Simulator(platform) as simulator, Receiver() as receiver, tracing() as trace:
        urls = {"DATABASE": migrated_database_url, "PLATFORM": simulator.url, "NOTIFY": receiver.url}
        lines = [f"{name}={value}" for name, value in SETTINGS.items()]
        lines += [f"RECONCILER_{name}_URL={value}" for name, value in urls.items()]
        Path(".env").write_text("\n".join(lines), encoding="utf-8")
        try:
            runtime, cli = current(), CommandLine({})
            runtime.ticks.tick()
            # The slot waits for a reservation, as somebody may have sent a query before: here nobody has.
            execute(migrated_database_url, "UPDATE query_budgets SET boot_due_us = 0")
            (slot,) = slots_of(load_settings())
            with pages_of(migrated_database_url) as pages:
                # Imported before it is traced.
                cli.run("order", "--help")
                trace.on = True
                enqueue_order({"request_id": "r1", "submitted_at": "2026-01-01T00:00:00Z"})
                eventually(lambda: runtime.reconciler.reconcile(slot), "a query")
                eventually(lambda: receiver.requests, "a notification")
                eventually(lambda: "delivered" in pages.text("/orders/1").lower(), "its mark on the page")
                assert "succeeded" in cli.run("order", "r1").stdout
                trace.on = False
        finally:
            close_current()
    assert len(trace.files) <= MOST_FILES
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = page.partition("## Its files")[2].partition("```text")[2].partition("```")[0]
    named = {
        f"{folder}/{name}.py".removeprefix("./")
        for folder, *names in (line.split() for line in listed.strip().splitlines())
        for name in names
    }
    assert named == trace.files
