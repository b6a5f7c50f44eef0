"""A testbed: everything that runs for one scenario, and what a scenario can do to it.

Durations are scaled down, their proportions kept: a window of 2 s stands for 60 s.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from celery import Celery

from tests.faults.checker.evidence import Evidence, Recovery, Sent, collect
from tests.faults.checker.notifications import NotificationEvidence, collect_notifications
from tests.faults.lanes import TestbedBroker, TestbedDatabase
from tests.faults.points import Point, Points, Strike
from tests.faults.recorder import NotificationConsumer, Recorder
from tests.support.processes import Program, accounts_file, alike_accounts, environment, running_platform
from tests.support.proxy import Proxy
from tests.support.raw_query import read_control, write_control
from tests.support.server_process import free_port
from tests.support.sql import execute, rows_of
from tests.support.waiting import eventually

T = TypeVar("T")

_FINAL = ("succeeded", "failed")
_A_YEAR = 31_536_000
_BATCH = 100
_LONGER_THAN_ANY_WAIT = timedelta(minutes=30)
"""No order waits as long by the scaled times; a clock is stepped by more."""
_MOST_EXCUSED = 3
"""Failed queries that the bound of a recovery allows for."""
_POLL_SECONDS = 0.1
"""Seconds between two reads of a database or a platform: several testbeds share the machine."""
CALLBACK_TOKEN = "the-token-of-the-fault-suite"
"""Of the account `default`, for callbacks over HTTP."""
_COMMAND_LINE = (sys.executable, "-c", "from worker.cli import main; main()")
VISIBILITY_SECONDS = 12
"""Seconds after which Redis redelivers what a killed worker had received; 300 s in the product."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The durations of one testbed, in seconds."""

    window: float = 2.0
    margin: float = 0.05
    deadline: float = 1.0
    connect: float = 2.0
    """A third of the deadline is left for the rest, however long this is."""
    tick: float = 0.2
    slots: int = 1
    """Queries per window."""

    @property
    def reservation(self) -> float:
        """How long a slot is closed by a grant."""
        return self.deadline + self.window + self.margin

    @property
    def patience(self) -> float:
        """Seconds within which a process has ticked by itself, on a busy machine too."""
        return max(2.0, 10 * self.tick)


UNHURRIED = Scale(deadline=3.0)
"""A session that is idle in a transaction is ended after the deadline: this leaves time to strike."""


@dataclass
class Remembered:
    """What the billing system has sent."""

    orders: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    resolved: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What an operator has said of orders: state and amount, by request id."""
    reopened: list[str] = field(default_factory=list)
    """Request ids of orders that an operator has reopened, as often as that was done."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message that a broker accepted, and the effect that it must have."""

    task_id: str
    orders: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    cancelled: frozenset[str] = frozenset()
    callback: dict[str, Any] | None = None


class Testbed:
    """The servers and programs of one scenario. The runner makes it, runs the scenario in it, and has it checked."""

    __test__ = False  # pytest would collect it by its name

    def __init__(
        self,
        *,
        stack: ExitStack,
        folder: Path,
        database: TestbedDatabase,
        broker: TestbedBroker,
        seed: str,
        scale: Scale,
        is_brief: bool = False,
    ) -> None:
        self.folder = folder
        self.is_brief = is_brief
        """Whether a scenario of any length is to be short."""
        self.database = database
        self.broker = broker
        self.scale = scale
        self.rng = Random(seed)
        """The timing of the faults is drawn from it."""
        self.points = Points(folder)
        self.order_age = 10.0
        """Seconds since the orders that are enqueued were submitted: past the grace, and soon polled again."""
        self.serve_port = 0
        """Where `serve` listens, once it was started; the same after a restart."""
        self.injections = 0
        self.observations: list[str] = []
        self.sent = Remembered()
        self.refused: set[str] = set()
        """Request ids of the orders that the recorder refuses until the end."""
        self.lost_events: set[str] = set()
        """Ids of events that were sent before a restore, whose rows may be lost by it."""
        self.extra_settings: dict[str, object] = {}
        """Settings of all programs that start from now on."""
        self._recorder: Recorder | NotificationConsumer | None = None
        self._messages: list[Message] = []
        self._stepped: set[str] = set()
        self._stack = stack
        self._programs: list[Program] = []
        self._numbers = itertools.count(self.rng.randrange(10**9) * 10**6)
        self._recovery: Recovery | None = None
        self._queries_before = 0
        self._caller = Celery("caller", broker=broker.direct_url, set_as_current=False)
        self._caller.conf.broker_transport_options = {"socket_timeout": 5} if broker.kind == "redis" else {}
        stack.callback(self._caller.close)
        self.platform_url = stack.enter_context(self._platform())
        host, port = self.platform_url.removeprefix("http://").split(":")
        # No request may reach the platform after its deadline: no design can prevent the harm of that.
        self.platform_proxy = stack.enter_context(Proxy((host, int(port)), delivers_late=False))

    # ------------------------------------------------------------------------------------------------------ programs

    def settings(self, **changes: object) -> dict[str, str]:
        """The environment of the testbed's programs."""
        scale = self.scale
        settings: dict[str, object] = {
            "database_url": self.database.url,
            "broker_url": self.broker.url,
            "platform_url": f"http://127.0.0.1:{self.platform_proxy.port}",
            "query_window_seconds": scale.window,
            "query_margin_seconds": scale.margin,
            "queries_per_window": scale.slots,
            "request_deadline_seconds": scale.deadline,
            "connect_timeout_seconds": scale.connect,
            "callback_grace_seconds": 0.05,
            "unresolved_after_seconds": _A_YEAR,
            "tick_seconds": scale.tick,
        }
        if self._recorder is not None:
            settings |= self._recorder.settings
        return environment(**{**settings, **self.extra_settings, **changes})

    def settings_without_sharing(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settings of two workers of which each wants every slot as it opens: one has another account besides."""
        return {}, {"accounts_file": accounts_file(self.folder, alike_accounts(["other"]))}

    def worker(
        self,
        name: str = "worker",
        *,
        variant: str = "product",
        boot_id: str | None = None,
        processes: int = 2,
        under: Sequence[str] = (),
        options: Sequence[str] = (),
        until: str = " ready.",
        **changes: object,
    ) -> Program:
        """Start a worker and wait until it is ready, or prints `until`. `boot_id` lets it simulate another host.

        `under` is a command that runs the worker as its child; `options` are Celery's; `changes` are settings that
        differ from the testbed's.
        """
        env = self._settings_of_parts(**changes) | {
            "FAULTS_VARIANT": variant,
            "FAULTS_VISIBILITY_SECONDS": str(VISIBILITY_SECONDS),
        }
        if boot_id is not None:
            env["FAULTS_BOOT_ID"] = boot_id
        return self._program(
            *("-A", "tests.faults.entry", "worker", "--concurrency", str(processes), *options),
            *("--hostname", f"{name}-{os.getpid()}-{next(self._numbers)}@faults"),
            env=env,
            name=name,
            under=under,
            until=until,
        )

    def start(self, name: str = "worker", **options: Any) -> Program:
        """Start a worker, with the options of `worker`, and then beat; returns the worker."""
        worker = self.worker(name, **options)
        self.beat()
        return worker

    def beat(self, name: str = "beat") -> Program:
        """Start beat."""
        return self._program("-A", "worker", "beat", env=self.settings(), name=name)

    def loop(self, name: str = "loop") -> Program:
        """Start a plain loop that ticks by itself, with the worker's parts and without a broker."""
        return self._program(module="tests.faults.loop", env=self._settings_of_parts(), name=name)

    def serve(self, name: str = "serve") -> Program:
        """Start `reconciler serve`, with points to strike at; it takes callbacks in at `serve_port`."""
        self.serve_port = self.serve_port or free_port()
        env = self._settings_of_parts(callback_token=CALLBACK_TOKEN)
        module, until = "tests.faults.serving", "serve_started"
        return self._program(str(self.serve_port), module=module, env=env, name=name, until=until)

    def command(self, *arguments: str, **changes: object) -> str:
        """Run `reconciler` as an operator does; returns what it prints. Raises AssertionError where it fails."""
        done = subprocess.run(
            [*_COMMAND_LINE, *arguments],
            env=self.settings(**changes),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"reconciler {arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def _settings_of_parts(self, **changes: object) -> dict[str, str]:
        return self.settings(**changes) | {"FAULTS_FOLDER": str(self.folder)}

    def _program(
        self,
        *arguments: str,
        module: str = "celery",
        env: dict[str, str],
        name: str,
        under: Sequence[str] = (),
        until: str = "",
    ) -> Program:
        """Start a program, and wait until it prints `until`, if that is given. One before may have the same log."""
        command, log = (*under, sys.executable, "-m", module, *arguments), self.folder / f"{name}.log"
        before = log.read_text("utf-8", errors="replace").count(until) if until and log.exists() else 0
        program = self._stack.enter_context(Program(*command, env=env, log=log))
        self._programs.append(program)
        if until:
            program.wait_for(until, times=before + 1)
        return program

    def _platform(self) -> Any:
        limit = environment(query_window_seconds=self.scale.window, queries_per_window=self.scale.slots)
        # Its random choices, of items to spoil for instance, differ from run to run.
        seed = ("--seed", str(self.rng.randrange(10**6)))
        return running_platform(limit, self.folder, "--no-adopt", *seed)

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Enter a context that ends with the testbed, after its programs."""
        return self._stack.enter_context(context)

    def kill_children(self, worker: Program) -> int:
        """Kill the processes in which a worker's tasks run (kill -9); returns how many."""
        children = worker.children()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return len(children)

    def hold(self, point: Point, count: int = 10, *, wait: bool = False, **orders: Any) -> list[str]:
        """Place orders, as `place` does, and hold the first process that comes to a point; returns their ids."""
        self.points.arm(point, Strike.WAIT)
        names = self.place(count, wait=wait, **orders)
        self.wait_until_struck(point)
        return names

    def wait_until_struck(self, point: Point) -> int:
        """Return once a process was struck at this point; its process id."""
        pid = eventually(lambda: self.points.struck(point), f"a process struck at {point}")
        assert pid is not None
        return pid

    # ------------------------------------------------------------------------------------------------ billing system

    def place(
        self,
        count: int = 20,
        *,
        outcome: str | None = None,
        settle_after: float = 0.0,
        wait: bool = True,
        enqueue: bool = True,
        sent_fields: Collection[str] = (),
        **fields: object,
    ) -> list[str]:
        """Place orders at the platform and enqueue them; returns their request ids.

        Each fifth fails unless `outcome` says otherwise. With `wait`, return once their rows are there; without it the
        broker has their messages. Without `enqueue` only the platform knows them. `sent_fields`: the fields that the
        worker gets besides `mobile`: `custom_parm` (the platform then knows one, too), `expected_amount`.
        """
        orders = []
        for number in range(count):
            result = outcome or ("-1" if number % 5 == 0 else "1")
            order = {
                "request_id": f"{next(self._numbers):016d}",
                "mobile": f"188{number:08d}",
                "outcome": result,
                "amount": "0.00" if result == "-1" else f"{number % 7 + 1}.{number % 100:02d}",
                "settle_after": settle_after,
            }
            if "custom_parm" in sent_fields:
                order["custom_parm"] = f"parm-{order['request_id']}"
            orders.append(order | fields)
        assert write_control(self.platform_url, "orders", {"orders": orders}).status == 200
        names = [str(order["request_id"]) for order in orders]
        if enqueue:
            self.enqueue(names, details=[_details(order, sent_fields) for order in orders])
        if enqueue and wait:
            self.wait_for_rows(names)
        return names

    def enqueue(self, names: Sequence[str], *, details: Sequence[Mapping[str, object]] = ()) -> None:
        """Send orders to the worker, by lists of 100; those that the broker accepted are recorded.

        `details` are further fields of each, in the order of the names.
        """
        submitted_at = (datetime.now(UTC) - timedelta(seconds=self.order_age)).isoformat()
        for start in range(0, len(names), 100):
            some = names[start : start + 100]
            listed = [{"request_id": name, "submitted_at": submitted_at} for name in some]
            more = details[start : start + 100] or [{}] * len(some)
            orders = [one | dict(rest) for one, rest in zip(listed, more, strict=True)]
            task_id = self.send("reconciler.enqueue_orders", orders)
            self.sent.orders.update(some)
            self._messages.append(Message(task_id=task_id, orders=frozenset(some)))

    def enqueue_refused(self, names: Sequence[str], *, mobile: str) -> None:
        """Send orders that the worker has to refuse, for the number that they name."""
        orders = [{"request_id": name, "mobile": mobile} for name in names]
        task_id = self.send("reconciler.enqueue_orders", orders)
        self.sent.refused.update(names)
        self._messages.append(Message(task_id=task_id, refused=frozenset(names)))

    def call_back(self, name: str, status: str = "1", amount: str | None = None, **fields: object) -> None:
        """Send a callback for an order, with the platform's keys, and the true amount unless one is given."""
        truth = self.truth()[name]
        body = {
            "requestId": name,
            "trafficSts": status,
            "oriAmount": truth["amount"] if amount is None else amount,
            "remark": f"回调 {status}",
            "mobile": f"{truth['mobile'][:3]}****{truth['mobile'][-4:]}",
            "appid": truth["app_id"],
            **fields,
        }
        task_id = self.send("reconciler.record_callbacks", [body])
        self.sent.callbacks.append(body)
        self._messages.append(Message(task_id=task_id, callback=body))

    def cancel(self, names: Sequence[str]) -> None:
        """Cancel orders."""
        task_id = self.send("reconciler.cancel_orders", [{"request_id": name} for name in names])
        self.sent.cancelled.update(names)
        self._messages.append(Message(task_id=task_id, cancelled=frozenset(names)))

    def send(self, task: str, *arguments: object, **options: object) -> str:
        """Send a task as any program can; returns its id. Raises where the broker does not accept it."""
        queue = "reconciler.ticks" if task == "reconciler.reconcile" else "reconciler.orders"
        return str(self._caller.send_task(task, arguments, queue=queue, **{"retry": False, **options}).id)

    @property
    def caller(self) -> Celery:
        """The app of the billing system, or of any program: it knows the broker, and nothing else."""
        return self._caller

    def callbacks_recorded(self) -> set[str]:
        """The orders of which a callback has left a trace."""
        events = "SELECT order_id FROM order_events WHERE source = 'callback'"
        recorded = self.rows(f"SELECT request_id FROM recharge_orders WHERE id IN ({events})")
        return {row[0] for row in [*recorded, *self.rows("SELECT request_id FROM unmatched_callbacks")]}

    def forget_what_the_broker_lost(self) -> None:
        """Forget a message that Redis has handed out and that no worker has read.

        kombu takes a message before it records that: a worker killed between the two loses it, which no program on top
        of kombu can prevent. A message that a worker has received is recorded, and not forgotten here; nor is more
        than one message for each killed worker. To be called while no worker's parent runs.
        """
        if self.broker.valkey is None:
            return
        with self.broker.valkey.client() as client:
            kept = b"".join([*client.lrange("reconciler.orders", 0, -1), *client.hvals("unacked")]).decode(
                errors="replace"
            )
        logs = "".join(log.read_text(errors="replace") for log in self.folder.glob("worker*.log"))

        def is_received(task_id: str) -> bool:
            # A retry is another message.
            return logs.count(f"[{task_id}] received") > logs.count(f"[{task_id}] retry")

        lost = [one for one in self._messages if one.task_id not in kept and not is_received(one.task_id)]
        assert len(lost) <= 1, f"{len(lost)} messages are gone, and kombu loses one at most"
        for message in lost:
            self._messages.remove(message)
            self.sent.orders -= message.orders
            self.sent.refused -= message.refused
            self.sent.cancelled -= message.cancelled
            self.sent.callbacks = [one for one in self.sent.callbacks if one is not message.callback]
            self.observed("kombu lost a message, between taking and recording it")

    def renew_caller(self) -> None:
        """Close the billing system's connection, which may be broken: from now on it sends by a new one."""
        # A new app would not do: kombu keeps the connections of a process by their URL.
        with self._caller.pool.acquire() as connection:
            connection.collect()

    def record_notifications(self) -> Recorder:
        """Start a receiver of notifications. The workers that start later send to it, and the checker asks it.

        To be called before the first worker starts: what was settled without an endpoint is never told.
        """
        recorder = self.enter(Recorder(self.folder / "recorder", clock=self.folder / "database.step"))
        self._recorder = recorder
        return recorder

    def consume_notifications(self, broker_url: str) -> NotificationConsumer:
        """The same as a Celery task's consumer. The workers send to its queue by `broker_url`."""
        consumer = NotificationConsumer(self.folder / "consumer", self.broker.direct_url, broker_url)
        self._recorder = self.enter(consumer)
        return consumer

    def wait_until_told(self, *, seconds: float = 60.0) -> None:
        """Return once no notification waits, but those of orders that the recorder refuses."""
        statement = (
            "SELECT request_id FROM recharge_orders WHERE id IN"
            " (SELECT order_id FROM notifications WHERE state = 'pending')"
        )
        eventually(
            lambda: {row[0] for row in self.rows(statement)} <= self.refused,
            "no notification that waits",
            seconds=seconds,
            every=_POLL_SECONDS,
        )

    # ------------------------------------------------------------------------------------------------------ platform

    def trouble(self, **faults: object) -> None:
        """The platform's faults from now on (the fields of `worker.simulator.faults.Faults`); none without any."""
        answer = write_control(self.platform_url, "faults", faults)
        assert answer.status == 200, answer.body

    def arrivals(self) -> list[dict[str, Any]]:
        """The queries that the platform has seen."""
        arrivals: list[dict[str, Any]] = read_control(self.platform_url, "record")["arrivals"]
        return arrivals

    def truth(self) -> dict[str, dict[str, Any]]:
        """The platform's truth, by request id."""
        return {order["request_id"]: order for order in read_control(self.platform_url, "truth")["orders"]}

    def wait_for_arrivals(self, more: int = 1, *, since: int | None = None, seconds: float = 90.0) -> None:
        """Return once the platform has seen `more` queries beyond `since`: those until now, if None."""
        count = (len(self.arrivals()) if since is None else since) + more
        eventually(
            lambda: len(self.arrivals()) >= count,
            f"{more} more queries at the platform",
            seconds=seconds,
            every=_POLL_SECONDS,
        )

    # ------------------------------------------------------------------------------------------------ database, time

    def rows(self, statement: str) -> list[Any]:
        """Read the database, past the proxy."""
        return rows_of(self.database.direct_url, statement)

    def execute(self, *statements: str) -> None:
        """Run statements as the database's administrator, past the proxy, each in a transaction of its own."""
        execute(self.database.direct_url, *statements)

    def states(self) -> dict[str, str]:
        """The state of each order, by request id."""
        return {row[0]: row[1] for row in self.rows("SELECT request_id, state FROM recharge_orders")}

    def wait_for_rows(self, names: Sequence[str], *, seconds: float = 90.0) -> None:
        """Return once these orders are in the table."""
        eventually(
            lambda: set(names) <= self.states().keys(), f"{len(names)} rows", seconds=seconds, every=_POLL_SECONDS
        )

    def wait_until_settled(self, names: Sequence[str], *, seconds: float = 90.0) -> None:
        """Return once these orders are final."""

        def are_settled() -> bool:
            states = self.states()
            return all(states.get(name) in _FINAL for name in names)

        eventually(are_settled, f"{len(names)} orders in their final states", seconds=seconds, every=_POLL_SECONDS)

    def step_clock(self, clock: str, seconds: float) -> None:
        """Step the `host`'s wall clock or the `database`'s clock, as the worker's processes see it, to so far off."""
        self._stepped.add(clock)
        draft = self.folder / f"{clock}.draft"
        draft.write_text(str(seconds))
        draft.rename(self.folder / f"{clock}.step")

    def clock_step(self, clock: str) -> float:
        """By how many seconds a clock is stepped now."""
        file = self.folder / f"{clock}.step"
        return float(file.read_text()) if file.exists() else 0.0

    def rest(self, most: float, *, least: float = 0.0) -> None:
        """Wait for a random time, so that faults meet every moment of a pass."""
        time.sleep(self.rng.uniform(least, most))

    # ------------------------------------------------------------------------------------------------------- verdict

    def inject(self, faults: Sequence[Callable[[], object]], *, then: Callable[[], object] = lambda: None) -> None:
        """Do all of these faults, in a random order, and count each; afterwards the testbed does `then`."""
        for do in self.rng.sample(faults, len(faults)):
            do()
            self.injected()
            then()

    def injected(self, count: int = 1) -> None:
        """Count a fault that was done to the testbed, so many times."""
        self.injections += count

    def observed(self, what: str) -> None:
        """Something that the report shows."""
        self.observations.append(what)

    def bound(self, *, queries: int = 1, backoff_windows: float = 0, extra: float = 0.0) -> float:
        """Seconds within which queries must continue, and so many be made, once a fault is gone.

        A process ticks by itself after its patience; a lease and a reservation run out; then the queries, one a
        reservation at most. `backoff_windows`: how long the account may have backed off by then. 5 s are for a machine
        with two processors that runs several testbeds.
        """
        scale = self.scale
        waits = scale.patience + scale.reservation + backoff_windows * 1.25 * scale.window
        return waits + queries * scale.reservation + extra + 5.0

    def heal(self, *, bound: float | None = None, put_off: Collection[str] = ()) -> None:
        """The fault is gone from now on: all orders that can settle, and new ones, must be polled within the bound.

        Without a `bound` it is the time that queries about all of them take. To be called once; the runner calls it
        where the scenario did not. `put_off`: orders that may be taken in later, as the scenario checks.
        """
        if self._recovery is not None:
            return
        self._queries_before = int(self.rows("SELECT coalesce(max(id), 0) FROM platform_queries")[0][0])
        # The platform records arrivals by the same clock.
        healed_at = time.monotonic()
        due = self._due(within=self.scale.reservation)
        due |= self.sent.orders - self.states().keys() - {*put_off}
        due |= set(self.place(5, wait=False))
        seconds = self.bound(queries=1 + len(due) // _BATCH) if bound is None else bound
        self._recovery = Recovery(healed_at=healed_at, bound_seconds=seconds, due=frozenset(due))

    def _due(self, *, within: float) -> set[str]:
        """The pending orders that are due, or will be once a lease has run out, and all never answered for.

        An order whose next poll was set by a database's clock that stood an hour ahead is not due: it waits for that
        hour, as docs/reliability.md says.
        """
        answered = {name for arrival in self.arrivals() for name, *_ in arrival["items"]}
        now = datetime.now(UTC)
        soon = now + timedelta(seconds=within)
        latest = now + _LONGER_THAN_ANY_WAIT if "database" in self._stepped else datetime.max.replace(tzinfo=UTC)
        statement = "SELECT request_id, due_at FROM recharge_orders WHERE state = 'pending'"
        return {name for name, due_at in self.rows(statement) if utc(due_at) <= (soon if name in answered else latest)}

    def finish(self) -> Evidence:
        """Wait for the recovery, end every program, and gather the evidence."""
        self.heal()
        assert self._recovery is not None
        # The checker reports a violation of the bound; this only limits the wait.
        with suppress(AssertionError):
            eventually(
                lambda: self._has_recovered() or self._is_late(), "a recovery", seconds=inf, every=2 * _POLL_SECONDS
            )
            if self._recorder is not None:
                self.wait_until_told()
        if lost := self._lost_to_the_machine():
            self.observed(f"queries failed once the fault was gone: the bound of the recovery is {lost:.1f} s longer")
        recovery = replace(self._recovery, bound_seconds=self._recovery.bound_seconds + lost)
        # A surplus query may come late.
        time.sleep(self.scale.window)
        for program in self._programs:
            program.kill()
        sent = Sent(
            orders=frozenset(self.sent.orders),
            refused=frozenset(self.sent.refused),
            cancelled=frozenset(self.sent.cancelled),
            callbacks=tuple(self.sent.callbacks),
            resolved=dict(self.sent.resolved),
            reopened=tuple(self.sent.reopened),
        )
        return collect(
            platform_url=self.platform_url,
            database_url=self.database.direct_url,
            sent=sent,
            recovery=recovery,
            window=self.scale.window,
            queries=self.scale.slots,
            clock_was_stepped=bool(self._stepped),
        )

    def notifications(self) -> NotificationEvidence | None:
        """The evidence of what the billing system was told, after `finish`; None where nothing was recorded."""
        if self._recorder is None:
            return None
        return collect_notifications(
            database_url=self.database.direct_url,
            deliveries=self._recorder.file,
            refused=frozenset(self.refused),
            lost_events=frozenset(self.lost_events),
            hidden_tries=self._recorder.kills,
            endpoint=self._recorder.endpoint,
            # The database's clock signs.
            clock_was_stepped="database" in self._stepped,
        )

    def _has_recovered(self) -> bool:
        assert self._recovery is not None
        states, truth = self.states(), self.truth()
        pending = {name for name in self._recovery.due if states.get(name, "pending") == "pending"}
        stuck = {name for name in pending if name in truth and truth[name]["outcome"] == "stuck"}
        since = [one for one in self.arrivals() if one["monotonic"] >= self._recovery.healed_at]
        is_polled = pending <= stuck and pending <= {name for arrival in since for name in arrival["ids"]}
        return is_polled and self._is_applied(states)

    def _is_applied(self, states: Mapping[str, str]) -> bool:
        """Whether cancellations and callbacks have come, too: a killed worker's are redelivered after the witnesses."""
        cancelled = self.sent.cancelled - {*self.sent.reopened}
        called_back = {one["requestId"] for one in self.sent.callbacks if one.get("trafficSts") in ("1", "-1")}
        is_cancelled = all(states.get(name) != "pending" for name in cancelled)
        return is_cancelled and called_back <= self.callbacks_recorded()

    def _is_late(self) -> bool:
        assert self._recovery is not None
        seconds = self._recovery.bound_seconds + 2 * self.scale.reservation + self._lost_to_the_machine()
        return time.monotonic() > self._recovery.healed_at + seconds

    def _lost_to_the_machine(self) -> float:
        """Seconds that the first few failed queries since the fault was gone have cost, with their back-offs.

        By then nothing but a machine that is too busy lets a query miss its deadline.
        """
        outcomes = self.rows(
            f"SELECT outcome FROM platform_queries WHERE id > {self._queries_before}"
            " AND outcome IN ('answered', 'timeout', 'unsent', 'unreachable') ORDER BY id"
        )
        seconds, excused, in_a_row = 0.0, 0, 0
        for (outcome,) in outcomes:
            in_a_row = 0 if outcome == "answered" else in_a_row + 1
            if in_a_row and excused < _MOST_EXCUSED:
                excused += 1
                seconds += self.scale.reservation + 1.25 * self.scale.window * 2 ** (in_a_row - 1)
        return seconds


def utc(value: datetime | str) -> datetime:
    """A time that a database driver has returned: text on SQLite, and without its zone, UTC, on MariaDB."""
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _details(order: Mapping[str, object], sent_fields: Collection[str]) -> dict[str, object]:
    """The fields that the worker gets of an order that was placed at the platform."""
    known = {"mobile": order["mobile"], "custom_parm": order.get("custom_parm"), "expected_amount": order["amount"]}
    return {name: value for name, value in known.items() if name == "mobile" or name in sent_fields}
