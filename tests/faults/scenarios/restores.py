"""The database restored from a dump, with a query and with notifications lost that were made since."""

import time

from tests.faults.catalogue import fault
from tests.faults.testbed import Scale, Testbed
from tests.support.dumping import Dump
from tests.support.processes import Program
from tests.support.server_process import path_of

_REASON = ("--reason", "by the fault suite")
# A restore and the start of a worker take some seconds, many on a busy machine: the window is to be longer.
_LONG_WINDOW = Scale(window=30.0, deadline=4.0, connect=2.0)


def _can_dump() -> bool:
    return all(path_of(program) for program in ("mariadb-dump", "mariadb", "sqlite3"))


def _restore(testbed: Testbed, dump: Dump, worker: Program) -> None:
    """Restore the dump while no worker runs; then a worker starts."""
    worker.kill()
    dump.restore()
    testbed.injected()
    testbed.worker("worker-2")


@fault(
    46,
    "the database restored from a dump of before the last query",
    scale=_LONG_WINDOW,
    times=6,
    times_in_ci=3,
    seconds=180.0,
    needs=_can_dump,
)
def fault_46_the_last_query_is_lost_by_a_restore(testbed: Testbed) -> None:
    dump = Dump(testbed.database.direct_url, testbed.folder)
    worker = testbed.start()
    names = testbed.place(60, outcome="1")
    testbed.rest(testbed.scale.window)
    dump.take()
    # So that there is a query since, whatever was polled before.
    lost = testbed.place(20, outcome="1", wait=False)
    testbed.wait_for_arrivals(seconds=120.0)
    testbed.rest(2.0)
    sent_at = testbed.arrivals()[-1]["monotonic"]
    _restore(testbed, dump, worker)
    testbed.observed(f"a worker was ready {time.monotonic() - sent_at:.1f} s after the query that was lost")
    testbed.enqueue(lost)
    testbed.heal(bound=testbed.bound(queries=3, extra=testbed.scale.reservation))
    testbed.wait_until_settled([*names, *lost], seconds=120.0)
    is_logged = "database_changed" in (testbed.folder / "worker-2.log").read_text()
    testbed.observed("another database was noticed" if is_logged else "nothing was noticed")


@fault(
    47,
    "the database restored from a dump of before acts that the billing system was notified of",
    times=6,
    times_in_ci=3,
    seconds=120.0,
    needs=_can_dump,
)
def fault_47_receivers_know_newer_versions_than_a_restored_table(testbed: Testbed) -> None:
    recorder = testbed.record_notifications()
    dump = Dump(testbed.database.direct_url, testbed.folder)
    worker = testbed.start()
    names = testbed.place(20)
    testbed.wait_until_settled(names)
    testbed.wait_until_told()
    dump.take()
    chosen = testbed.rng.sample(names, 12)
    # Those that stay reopened are not to be settled again.
    testbed.command("pause", "default", *_REASON)
    testbed.command("reopen", *chosen, "--force", *_REASON)
    testbed.command("cancel", *chosen[:4], *_REASON)
    testbed.command("resolve", *chosen[4:8], "--state", "succeeded", "--amount", "9.99", *_REASON)
    lost = testbed.place(5)
    testbed.wait_until_told()
    testbed.lost_events |= {one["id"] for one in recorder.deliveries()}
    _restore(testbed, dump, worker)
    # As the page on restoring says.
    testbed.enqueue(lost)
    testbed.command("resend", "--renew", "--since", "1h", "--yes", *_REASON)
    testbed.wait_until_told()
