"""Hosts that run the real parts. Each pass runs in two halves; between them anything may happen to any host."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from tests.histories.platform import APP_IDS, SIDS, Mood, Platform
from tests.histories.world import BootClock, VirtualDatabase
from worker.adapters.platform.client import PlatformClient
from worker.domain.queries.slots_and_clocks import is_too_late_to_send
from worker.domain.records.accounts import Rules, SlotKey
from worker.domain.records.incoming import Answer, DeadlineExceeded, NotSent, QueryError, Unreachable
from worker.domain.records.orders import IdKind
from worker.domain.records.queries import Query
from worker.domain.wire.answers import read_answer
from worker.domain.wire.query_request import Credentials
from worker.intake import Intake
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack
from worker.operations.write_heartbeat import Peers
from worker.reconcile import Reconciler

_CREDENTIALS = {
    account: Credentials(account_sid=sid, auth_token="token", app_id=APP_IDS[account]) for account, sid in SIDS.items()
}


def _repeatable_token() -> str:
    """Hypothesis seeds `random` before each example, so that the same choices are the same history."""
    return f"{random.getrandbits(128):032x}"


def slots_of(rules: Rules) -> list[SlotKey]:
    """Every slot of every SID."""
    return [
        SlotKey(account_sid=sid, number=number, app_ids={a: APP_IDS[a] for a, own in SIDS.items() if own == sid})
        for sid in sorted(set(SIDS.values()))
        for number in range(rules.slots)
    ]


@dataclass(frozen=True)
class Kinds:
    """The classes of the parts; broken ones in some runs."""

    grants: type[Grants] = Grants
    write_back: type[WriteBack] = WriteBack
    intake: type[Intake] = Intake
    window_grows_at_once: bool = False
    """Two hosts from the beginning, one with a longer window: what breaks there alone is found in a few histories."""


@dataclass
class Exchange:
    """A query under way."""

    host: "Host"
    slot: SlotKey
    query: Query
    started: float
    """The boot clock's reading from which its deadline runs."""
    is_sent: bool = False
    outcome: bytes | QueryError | None = None

    @property
    def is_past_deadline(self) -> bool:
        return self.host.clock.boot() > self.started + self.host.rules.deadline_seconds

    def send(self, *, is_reachable: bool) -> None:
        """Send the first byte, unless it is too late; the rule is the real client's own."""
        boot, deadline = self.host.clock.boot(), self.host.rules.deadline_seconds
        if is_too_late_to_send(started=self.started, boot=boot, deadline_seconds=deadline):
            self.outcome = NotSent("too little time was left")
        elif not is_reachable:
            self.outcome = Unreachable("no connection")
        else:
            self.is_sent = True

    def arrive(self, platform: Platform, ms: int, mood: Mood) -> None:
        """The platform receives it and answers. Past the deadline the exchange was cut, and nothing arrives."""
        if self.is_past_deadline:
            self.outcome = DeadlineExceeded("no whole answer")
        else:
            query = self.query
            self.outcome = platform.receive(ms, query.account, query.id_kind, query.ids, mood)

    def finish(self) -> None:
        """The second half: the real pass continues from its query."""
        self.host.reconciler(_Granted(self.query, self.host), _Reply(self.outcome)).reconcile(self.slot)


@dataclass
class Host:
    """One worker process on one host. A new process, or a new boot, has new parts over the same database."""

    database: VirtualDatabase
    rules: Rules
    kinds: Kinds
    clock: BootClock
    exchanges: list[Exchange] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Make the parts of a new process."""
        self.exchanges.clear()
        self.maintenance = SlotMaintenance(self.database, self.clock, self.rules)
        self.grants = self.kinds.grants(self.database, self.clock, self.rules, _repeatable_token)
        self.write_back = self.kinds.write_back(self.database, self.clock, self.rules, Peers(host=self.clock.boot_id))
        self.intake = self.kinds.intake(self.database, self.rules, APP_IDS)

    def reconciler(self, grants: Grants, client: PlatformClient) -> Reconciler:
        """The real pass, with these grants and this client."""
        return Reconciler(
            grants=grants,
            client=client,
            write_back=self.write_back,
            clock=self.clock,
            credentials=_CREDENTIALS,
            match_callbacks=self.intake.match_callbacks,
        )

    def begin(self, slot: SlotKey) -> Exchange | None:
        """The first half: grant and lease; None where no query was granted."""
        grants = _ObservedGrants(self)
        try:
            self.reconciler(grants, _StopAtQuery()).reconcile(slot)
        except _StoppedAtQuery as pause:
            started = pause.started
        else:
            return None
        query = grants.query
        assert query is not None, "queried without a grant"
        exchange = Exchange(host=self, slot=slot, query=query, started=started)
        self.exchanges.append(exchange)
        return exchange


class _StoppedAtQuery(BaseException):
    def __init__(self, started: float) -> None:
        self.started = started


class _StopAtQuery(PlatformClient):
    """The client of the first half: it stops the pass where it would query."""

    def __init__(self) -> None:
        pass

    def query(self, *, credentials: Credentials, id_kind: IdKind, ids: Sequence[str], started: float) -> NoReturn:
        raise _StoppedAtQuery(started)


class _Reply(PlatformClient):
    """The client of the second half: it returns the outcome of the exchange, read by the real reader."""

    def __init__(self, outcome: bytes | QueryError | None) -> None:
        self._result = outcome

    def query(self, *, credentials: Credentials, id_kind: IdKind, ids: Sequence[str], started: float) -> Answer:
        assert self._result is not None
        if isinstance(self._result, QueryError):
            raise self._result
        return read_answer(self._result, "application/json", id_kind, ids)


class _ObservedGrants(Grants):
    """The host's own grants; keeps the query of the first half."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.query: Query | None = None

    def take(self, slot: SlotKey) -> Query | None:
        self.query = self._host.grants.take(slot)
        return self.query


class _Granted(Grants):
    """The grant of the first half, passed on to the second."""

    def __init__(self, query: Query, host: Host) -> None:
        self._query = query

    def take(self, slot: SlotKey) -> Query | None:
        return self._query
