"""One run: real workers and beat, until each account that is measured was queried often enough."""

import contextlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import redis
import sqlalchemy
from celery import Celery

from benchmarks.accounts import usage
from benchmarks.accounts.outcome import Outcome, Usage, shares_of
from benchmarks.accounts.plan import WINDOWS, Plan
from benchmarks.accounts.platform import PlatformProcess, running_platform
from benchmarks.accounts.testbed import environment_of, filled_database, scalar, write_accounts
from benchmarks.bench import Bench
from benchmarks.processes import CeleryProcess, celery, environment, wait_until

_POSTMASTER = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int"


def measure(bench: Bench, plan: Plan) -> Outcome:
    """Run the plan. Raises TimeoutError where an account is not queried at all."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-bench-")))
        write_accounts(plan, folder / "accounts.toml")
        _show_progress(f"{plan.accounts:,} accounts: filling their backlogs")
        url = stack.enter_context(filled_database(bench.postgres.url, plan))
        platform = stack.enter_context(running_platform(plan))
        settings = {**plan.settings, "platform_url": platform.url, "log_level": "INFO"}
        env = environment_of(folder / "accounts.toml", environment(url, bench.broker.url, **settings))
        workers = [stack.enter_context(_worker(plan, number, env)) for number in range(plan.workers)]
        app = Celery(broker=bench.broker.url)
        wait_until(lambda: len(app.control.ping(timeout=1)) >= plan.workers, "the workers' answer", seconds=120)
        stack.enter_context(celery("beat", env=env))
        return _watch(plan, _Scene(platform=platform, workers=workers, url=url, broker=bench.broker.url))


def _worker(plan: Plan, number: int, env: dict[str, str]) -> "contextlib.AbstractContextManager[CeleryProcess]":
    name = f"worker-{number + 1}@bench"
    return celery("worker", "--concurrency", str(plan.processes), "--hostname", name, env=env)


class _Scene:
    """The parts of a run that are measured."""

    def __init__(self, *, platform: PlatformProcess, workers: Sequence[CeleryProcess], url: str, broker: str) -> None:
        self.platform = platform
        self.workers = workers
        self.url = url
        self._broker = broker
        self._postgres = _postmaster(url)

    def usage(self) -> Usage:
        """What each part has used so far."""
        processes = usage.all_processes()
        workers = usage.family([one.pid for one in self.workers], processes)
        postgres = usage.family(self._postgres, processes)
        with redis.Redis.from_url(self._broker, socket_timeout=10) as client:
            used = client.info("cpu")
        return Usage(
            at=time.monotonic(),
            cpu={
                "worker": usage.cpu_seconds(workers),
                "postgresql": usage.cpu_seconds(postgres),
                "platform": usage.cpu_seconds(usage.family([self.platform.pid], processes)),
                "broker": float(used["used_cpu_sys"]) + float(used["used_cpu_user"]),
            },
            # The parent of a worker makes no passes.
            worker_mb=max((one.resident_mb for one in workers), default=0.0),
        )


def _postmaster(url: str) -> list[int]:
    """PostgreSQL's first process, where it runs on this machine and lets us read its pid file; else none."""
    with contextlib.suppress(sqlalchemy.exc.DBAPIError):
        return [scalar(url, _POSTMASTER)]
    return []


def _watch(plan: Plan, scene: _Scene) -> Outcome:
    busy = [account.sid for account in plan.busy_accounts()]
    limit = (WINDOWS + 1) * plan.window_seconds * 1.5 + 120

    def is_queried(times: int) -> Callable[[], bool]:
        def is_so() -> bool:
            seen = scene.platform.seen().arrivals
            return all(len(seen.get(sid, ())) >= times for sid in busy)

        return is_so

    started = time.monotonic()
    wait_until(is_queried(1), "the first query of the last account", seconds=limit, poll=1)
    first_round = time.monotonic() - started
    _show_progress(f"all accounts were queried once within {first_round:.0f} s; measuring {WINDOWS} windows")
    before = scene.usage()
    with contextlib.suppress(TimeoutError):
        wait_until(is_queried(WINDOWS + 1), "the last query", seconds=limit, poll=5)
    seen, after = scene.platform.seen(), scene.usage()
    return Outcome(
        plan=plan,
        seen=seen,
        shares=shares_of(plan, seen),
        first_round_seconds=first_round,
        before=before,
        after=after,
        failures=_failures(scene.workers),
    )


def _failures(workers: Sequence[CeleryProcess]) -> dict[str, int]:
    """The warnings and errors of the workers, by name."""
    found: defaultdict[str, int] = defaultdict(int)
    for one in workers:
        lines = [json.loads(line) for line in one.output.splitlines() if line.startswith("{")]
        for line in lines:
            if line.get("level") in ("warning", "error", "critical"):
                found[line["action"] if "outcome" not in line else f"{line['action']}: {line['outcome']}"] += 1
    return dict(found)


def _show_progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
