"""Hosts that are cut off, in virtual time: the real grants, write-backs and turns of many processes, second by second.

A pass is simulated by its two ends. What a query meets is decided by its host and its account.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from math import inf

from sqlalchemy import delete, select

from tests.histories.world import BootClock, VirtualDatabase, World
from worker.database.tables import METADATA, STATES
from worker.domain.records.accounts import Opening, Rules, SlotKey
from worker.domain.records.incoming import Answer, QueryError, Refused, Report, Unreachable
from worker.domain.records.monitoring import PollingProcess
from worker.domain.records.queries import Query
from worker.operations.learn import forget_schedules
from worker.operations.let_other_hosts_go_first import ConnectionProbe, Turns
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants, read_resting
from worker.operations.write_back import WriteBack
from worker.operations.write_heartbeat import Peers
from worker.process.intake import Intake

HOUR = 3600.0
HOSTS = ("one", "two")
TICK = 1.0
_LATENCY = 0.3
_CONNECT_TIMEOUT = 5.0
_RULES = Rules(batch_size=1, grace_seconds=0.0)
_LIST = 1000
_BACK_OFFS = select(STATES.c.account, STATES.c.backoff_until)

Meets = Callable[[str, str], QueryError | None]
"""How a query of a host for an account fails; None: it is answered."""

NO_ROUTE, CONFIGURATION = Unreachable("no connection"), Refused("-205", "the application was not accepted")
OLD_TOKEN = Refused("-9005", "the signature is wrong")


def well(_host: str, _account: str) -> None:
    """Every query is answered."""


@dataclass
class _Process:
    """A worker process."""

    peers: Peers
    turns: Turns
    write_back: WriteBack


@dataclass
class CutOffSimulation:
    """Two hosts with some processes each, and accounts that always have due orders."""

    database: VirtualDatabase
    processes: int = 2
    accounts: int = 1
    hours: float = 1.0
    """How long the backlog of each account lasts."""
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By host, account and outcome."""
    answered_at: dict[str, float] = field(default_factory=dict)
    """By account: when its last answer came, in seconds since the start."""
    meets: Meets = well
    has_idle_host: bool = False
    """Whether a third host seems to poll the accounts, and never does."""
    has_one_sid: bool = False
    """Whether the accounts share a SID; else each has its own."""
    slots: int = 1
    """How many each SID has."""

    def __post_init__(self) -> None:
        with self.database.write() as connection:
            for table in METADATA.tables.values():
                connection.execute(delete(table))
        forget_schedules()
        self.world = self.database.world = World()
        self.names = [f"account-{number:02}" for number in range(self.accounts)]
        app_ids = {name: f"app-{name}" for name in self.names}
        self._rules = replace(_RULES, slots=self.slots)
        shared = [app_ids] if self.has_one_sid else [{one: app_ids[one]} for one in self.names]
        self._slots = [
            SlotKey(account_sid=f"sid-{sid}", number=number, app_ids=own)
            for sid, own in enumerate(shared)
            for number in range(self.slots)
        ]
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        # Until then no slot opens, or all accounts back off: ticks read nothing, which makes an hour short.
        self._quiet_until_ms = 0
        clocks = {host: BootClock(self.world, f"boot-{host}", uptime_seconds=100.0) for host in HOSTS}
        self._maintenance = SlotMaintenance(self.database, clocks[HOSTS[0]], self._rules)
        self._grants = {host: Grants(self.database, clock, self._rules) for host, clock in clocks.items()}
        self._probes = {
            host: ConnectionProbe(self.database, self._rules, Peers(host=host), self._connects(host)) for host in HOSTS
        }
        known = self._known()
        self._processes = [self._process(one, known, clocks[one.host]) for one in known.values() if one.host in HOSTS]
        self._maintenance.prepare(self._slots)
        self._fill(Intake(self.database, self._rules, app_ids))
        self.world.pass_time(self._rules.reservation_seconds)
        self._started_ms = self.world.ms
        for number, process in enumerate(self._processes):
            self._at(number / len(self._processes), partial(self._tick, process))
        for host in HOSTS:
            self._at(TICK, partial(self._probe, host))

    @property
    def seconds(self) -> float:
        """Since the start."""
        return (self.world.ms - self._started_ms) / 1000

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.world.ms + round(seconds * 1000)
        while self._events and self._events[0][0] <= until:
            ms, _, act = heapq.heappop(self._events)
            self.world.ms = max(self.world.ms, ms)
            act()
        self.world.ms = until

    def shares(self) -> Mapping[str, float]:
        """Of each account, the answered queries over those that its budget allows, in per cent."""
        most = self.slots * self.seconds / (self._rules.spacing_seconds + _LATENCY)
        answers = Counter[str]()
        for (_, account, outcome), number in self.outcomes.items():
            answers[account] += number if outcome == "answered" else 0
        return {name: 100 * answers[name] / most for name in self.names}

    def ended(self, outcome: str, account: str | None = None) -> int:
        """How many queries ended so, of an account or of all."""
        return sum(n for (_, name, end), n in self.outcomes.items() if end == outcome and account in (None, name))

    def run_until_all_are_answered(self, most: float) -> float:
        """Let time pass until each account was answered, at most so many seconds; returns after how many."""
        since = self.seconds
        while any(self.answered_at.get(name, -1.0) < since for name in self.names) and self.seconds < since + most:
            self.run(TICK)
        return self.seconds - since

    def _known(self) -> Mapping[str, PollingProcess]:
        hosts = (*HOSTS, "idle") if self.has_idle_host else HOSTS
        names = [(host, f"{host}:{number}") for host in hosts for number in range(self.processes)]
        accounts = frozenset(self.names)
        return {name: PollingProcess(name=name, host=host, accounts=accounts) for host, name in names}

    def _process(self, one: PollingProcess, known: Mapping[str, PollingProcess], clock: BootClock) -> _Process:
        peers = Peers(host=one.host, own=one.name, processes=known)
        turns = Turns(self.database, clock, self._rules, peers, period_seconds=TICK)
        return _Process(peers, turns, WriteBack(self.database, clock, self._rules, peers))

    def _fill(self, intake: Intake) -> None:
        queries = round(self.hours * HOUR / self._rules.window_seconds) + 5
        orders = [{"account": name, "request_id": f"{name}-{n}"} for name in self.names for n in range(queries)]
        for start in range(0, len(orders), _LIST):
            assert intake.enqueue_orders(orders[start : start + _LIST])["rejected"] == []

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.world.ms + round(seconds * 1000), next(self._order), act))

    def _tick(self, process: _Process) -> None:
        self._at(TICK, partial(self._tick, process))
        if self.world.ms < self._quiet_until_ms:
            process.turns.mine([])
            return
        openings = self._maintenance.openings(self._slots, within_seconds=TICK)
        idle = read_resting(self.database, [name for one in openings for name in one.slot.app_ids])
        wanted = [one for one in openings if not idle.issuperset(one.slot.app_ids)]
        if not wanted:
            self._quiet_until_ms = self.world.ms + int(1000 * min(self._seconds_to_next() - TICK, 5 * TICK))
        for opening in process.turns.mine(wanted):
            self._at(opening.in_seconds + 0.001, partial(self._begin, process, opening))

    def _seconds_to_next(self) -> float:
        """Until the first slot opens whose account does not back off by then; infinite if that takes over an hour."""
        with self.database.read() as connection:
            rests = {name: until for name, until in connection.execute(_BACK_OFFS) if until is not None}
        now = self.world.database_now
        return min(
            (
                max(one.in_seconds, *((rests.get(name, now) - now).total_seconds() for name in one.slot.app_ids))
                for one in self._maintenance.openings(self._slots, within_seconds=HOUR)
            ),
            default=inf,
        )

    def _begin(self, process: _Process, opening: Opening) -> None:
        query = self._grants[process.peers.host].take(opening.slot)
        if query is not None:
            error = self.meets(process.peers.host, query.account)
            takes = _CONNECT_TIMEOUT if isinstance(error, Unreachable) else _LATENCY
            self._at(takes, partial(self._end, process, query, error))

    def _end(self, process: _Process, query: Query, error: QueryError | None) -> None:
        if error is not None:
            process.write_back.failed(query, error)
        else:
            said = {name: (_settled(name),) for name in query.ids}
            process.write_back.answered(query, Answer(said=said, absent=(), added=(), excerpt="{}"))
            self.answered_at[query.account] = self.seconds
        # An answer opens a slot earlier than the reservation that was read.
        self._quiet_until_ms = 0
        self.outcomes[process.peers.host, query.account, "answered" if error is None else error.outcome] += 1

    def _connects(self, host: str) -> Callable[[], QueryError | None]:
        def connect() -> QueryError | None:
            error = self.meets(host, self.names[0])
            return error if isinstance(error, Unreachable) else None

        return connect

    def _probe(self, host: str) -> None:
        self._at(_CONNECT_TIMEOUT, partial(self._probe, host))
        self._probes[host].peers.is_connected = False
        self._probes[host].try_once()
        if self._probes[host].peers.is_connected:
            # That ends back-offs.
            self._quiet_until_ms = 0


def _settled(name: str) -> Report:
    return Report(request_id=name, traffic_sts="1", ori_amount="2.94", has_amount_field=True)
