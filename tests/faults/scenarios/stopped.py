"""Processes that get no time (SIGSTOP) in mid-pass, or no memory, for a while."""

import os
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from tests.faults.catalogue import fault
from tests.faults.exchanges import newest_query, outcome_of
from tests.faults.points import Point, Strike
from tests.faults.strangers import locked
from tests.faults.testbed import Scale, Testbed
from tests.support.processes import Program, stop_processes
from tests.support.waiting import eventually
from worker.domain.monitoring.worker_processes import hang_patience
from worker.domain.records.accounts import Rules

_TRIES = 8
_WHAT_A_STALE_TOKEN_MAY_NOT_MOVE = (
    "SELECT * FROM query_budgets",
    "SELECT * FROM account_states",
    "SELECT * FROM recharge_orders ORDER BY id",
)


@dataclass(frozen=True, kw_only=True)
class _Stopped:
    """A worker that was stopped while it held a query."""

    worker: Program
    processes: Sequence[int]
    query: int
    names: Sequence[str]
    """The orders that the query polls."""

    def resume(self) -> None:
        """Continue it, whole."""
        _signal(self.processes, signal.SIGCONT)


# A third of the deadline is enough to stop both workers once a query has arrived.
@fault(
    13,
    "the worker stopped (SIGSTOP) after the grant, in mid-exchange, after the answer; continued past the lease",
    scale=Scale(deadline=3.0),
)
def fault_13_the_worker_is_stopped_and_continued(testbed: Testbed) -> None:
    # Of one process each: a worker is stopped as a whole, and the other one continues.
    workers = [testbed.worker("one", processes=1), testbed.worker("two", processes=1)]
    testbed.beat()
    moments = [Point.GRANT_AFTER_COMMIT, Point.WRITE_BACK_BEGINS, None]
    testbed.rng.shuffle(moments)
    for moment in moments:
        with _stopped(testbed, workers, moment) as stopped:
            _continue_past_the_lease(testbed, stopped, is_sent=moment is not Point.GRANT_AFTER_COMMIT)
    with _stopped(testbed, workers, Point.GRANT_AFTER_COMMIT) as stopped:
        _continue_past_the_deadline(testbed, stopped)


def _continue_past_the_lease(testbed: Testbed, stopped: _Stopped, *, is_sent: bool) -> None:
    """The other worker polls the same orders and settles them; then the first one continues."""
    testbed.wait_until_settled(stopped.names)
    testbed.rest(testbed.scale.window)
    before, arrivals = _rows_that_a_token_changes(testbed), testbed.arrivals()
    polls = [arrival for arrival in arrivals if set(arrival["ids"]) & set(stopped.names)]
    assert len(polls) >= 1 + is_sent, "the other worker has not polled the orders"
    stopped.resume()
    line = _end_of_query_line(stopped)
    testbed.observed(f"stopped as query {stopped.query} was {'under way' if is_sent else 'granted'}, it logged: {line}")
    assert is_sent or "outcome=unsent" in line, line
    assert len(testbed.arrivals()) == len(arrivals), "something was sent late"
    assert _rows_that_a_token_changes(testbed) == before, "a stale token has changed something"
    assert _settled_by(testbed, stopped) == 0, "a stale token has settled something"
    assert outcome_of(testbed, stopped.query) == "lost"


def _continue_past_the_deadline(testbed: Testbed, stopped: _Stopped) -> None:
    """Its slot and its orders are still its own, but it is too late to send anything."""
    scale = testbed.scale
    testbed.rest(scale.reservation - 1.0, least=scale.deadline)
    stopped.resume()
    line = _end_of_query_line(stopped)
    assert "outcome=unsent" in line, line
    testbed.wait_until_settled(stopped.names)
    assert outcome_of(testbed, stopped.query) in ("unsent", "lost")
    assert _settled_by(testbed, stopped) == 0, "a query that was not sent has settled something"


@contextmanager
def _stopped(testbed: Testbed, workers: Sequence[Program], moment: Point | None) -> Iterator[_Stopped]:
    """A worker is stopped, with all its processes, at a point of a pass or (None) while the platform is answering."""
    if moment is None:
        stopped = _stop_in_mid_exchange(testbed, workers)
    else:
        testbed.points.arm(moment, Strike.WAIT)
        names = testbed.place(10)
        pid = testbed.wait_until_struck(moment)
        worker = next(one for one in workers if pid in one.children())
        processes = _processes(worker)
        eventually(partial(_stop_without_a_lock, testbed, processes), "a worker stopped between its transactions")
        # It goes on from the point once it is resumed.
        testbed.points.let_go(moment)
        stopped = _Stopped(worker=worker, processes=processes, query=newest_query(testbed), names=names)
    testbed.injected()
    try:
        yield stopped
    finally:
        stopped.resume()


def _stop_in_mid_exchange(testbed: Testbed, workers: Sequence[Program]) -> _Stopped:
    """The answer comes whole while the worker is stopped; when the worker can read it, its deadline is long past."""
    deadline = testbed.scale.deadline
    processes = [_processes(worker) for worker in workers]
    for _ in range(_TRIES):
        seen = len(testbed.arrivals())
        testbed.trouble(latency=f"fixed:{2 * deadline:g}", queries=1)
        names = testbed.place(10, wait=False)
        arrived = eventually(lambda known=seen: testbed.arrivals()[known:], "a query at the platform")[0]  # type: ignore[misc]  # mypy sees no default
        # Which worker queries is determined later: from the first byte on only a third of the deadline may be left.
        stop_processes([*processes[0], *processes[1]])
        is_in_time = time.monotonic() < float(arrived["monotonic"]) + deadline / 3
        query = newest_query(testbed)
        querying = next(number for number, one in enumerate(workers) if f"query_id={query} " in one.output)
        _signal(processes[1 - querying], signal.SIGCONT)
        if is_in_time and _may_write(testbed):
            return _Stopped(worker=workers[querying], processes=processes[querying], query=query, names=names)
        _signal(processes[querying], signal.SIGCONT)
        testbed.wait_until_settled(names)
    raise AssertionError(f"in {_TRIES} tries no worker was stopped in mid-exchange: the machine is too slow")


def _stop_without_a_lock(testbed: Testbed, processes: Sequence[int]) -> bool:
    """Stop processes, unless they hold a lock then. Their pass waits at a point, with no transaction open."""
    stop_processes(processes)
    if _may_write(testbed):
        return True
    _signal(processes, signal.SIGCONT)
    return False


def _may_write(testbed: Testbed) -> bool:
    """Whether others may write: on SQLite a process that is stopped in a transaction keeps the file locked."""
    if testbed.database.kind != "sqlite":
        return True
    try:
        with locked(testbed, "query_budgets"):
            return True
    except OperationalError:
        return False


def _processes(worker: Program) -> list[int]:
    return [worker.pid, *worker.children()]


def _signal(processes: Sequence[int], number: signal.Signals) -> None:
    for process in processes:
        os.kill(process, number)


def _settled_by(testbed: Testbed, stopped: _Stopped) -> int:
    """How many orders the stopped worker's query has settled."""
    return int(
        testbed.rows(
            f"SELECT count(*) FROM order_events WHERE query_id = {stopped.query}"
            " AND from_state <> to_state AND to_state IN ('succeeded', 'failed')"
        )[0][0]
    )


def _rows_that_a_token_changes(testbed: Testbed) -> list[Any]:
    return [testbed.rows(statement) for statement in _WHAT_A_STALE_TOKEN_MAY_NOT_MOVE]


def _end_of_query_line(stopped: _Stopped) -> str:
    """The line that the continued worker logs when it has written back the effects of its query."""
    end = re.compile(rf"^.*\bquery_(?:answered|failed)\b.*\bquery_id={stopped.query}\b.*$", re.MULTILINE)
    found = eventually(lambda: end.search(stopped.worker.output), f"the end of query {stopped.query}")
    assert found is not None
    return found[0]


_LACK_SECONDS = 12.0
_RESTART_SECONDS = 20.0


@fault(
    50,
    "no memory for 12 s in the processes of the pool",
    times=6,
    times_in_ci=2,
    seconds=240.0,
    needs=lambda: sys.platform == "linux",
)
def fault_50_no_memory_for_a_while(testbed: Testbed) -> None:
    testbed.record_notifications()
    worker = testbed.start(processes=1)
    testbed.wait_until_settled(testbed.place(5))
    before = worker.children()
    with _without_memory(before):
        ends = time.monotonic() + _LACK_SECONDS
        while time.monotonic() < ends:
            testbed.place(5, wait=False)
            testbed.rest(testbed.scale.window)
    testbed.injected()
    # What hangs has ended its process after twice its patience, and the pool has started another one.
    patience = hang_patience(
        Rules(
            window_seconds=testbed.scale.window,
            margin_seconds=testbed.scale.margin,
            deadline_seconds=testbed.scale.deadline,
        )
    )
    testbed.heal(bound=testbed.bound(queries=2, backoff_windows=15, extra=2 * patience + _RESTART_SECONDS))
    testbed.wait_until_settled(testbed.place(5), seconds=2 * patience + 60)
    testbed.wait_until_told(seconds=2 * patience + 60)
    hangs = re.findall(r"what=([^=]*?) \w+=", "\n".join(_lines_of_ends(worker.output)))
    testbed.observed(f"processes that ended themselves: {len(hangs)} ({', '.join(hangs) or 'nothing hung'})")


def _lines_of_ends(output: str) -> list[str]:
    return [line for line in output.splitlines() if "process_hangs" in line]


@contextmanager
def _without_memory(processes: list[int]) -> Iterator[None]:
    """These processes get no memory beyond what they have."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_AS) for pid in processes}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_AS, (_address_space(pid), hard))
    try:
        yield
    finally:
        for pid, limit in limits.items():
            # One may have ended itself.
            if Path(f"/proc/{pid}").exists():
                resource.prlimit(pid, resource.RLIMIT_AS, limit)


def _address_space(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
