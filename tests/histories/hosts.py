"""Hosts that run the real parts. Each pass runs in two halves; between them anything may happen to any host."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.histories.world import BootClock, VirtualDatabase
from tests.platforms.writing import Reply
from worker.adapters.platform.client import PlatformClient
from worker.domain.queries.slots_and_clocks import is_too_late_to_send
from worker.domain.records.accounts import Rules, SlotKey
from worker.domain.records.incoming import (
    Answer,
    DeadlineExceeded,
    HttpError,
    Malformed,
    NotSent,
    QueryError,
    Unreachable,
)
from worker.domain.records.orders import IdKind
from worker.domain.records.queries import Query
from worker.domain.wire.query_request import Credentials
from worker.domain.wire.replies import read_answer
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack
from worker.operations.write_heartbeat import Peers
from worker.process.intake import Intake
from worker.process.reconcile import Granted, Reconciler

_BROKEN: dict[str, type[QueryError]] = {"timeout": DeadlineExceeded, "unreachable": Unreachable, "reset": Malformed}


def _repeatable_token() -> str:
    """Hypothesis seeds `random` before each example, so that the same choices are the same history."""
    return f"{random.getrandbits(128):032x}"


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
    granted: Granted
    is_sent: bool = False
    outcome: Reply | QueryError | None = None

    @property
    def query(self) -> Query:
        """What was granted."""
        return self.granted.query

    @property
    def is_past_deadline(self) -> bool:
        return self.host.clock.boot() > self.granted.started + self.host.rules.deadline_seconds

    def send(self, *, is_reachable: bool) -> None:
        """Send the first byte, unless it is too late; the rule is the real client's own."""
        boot, deadline = self.host.clock.boot(), self.host.rules.deadline_seconds
        if is_too_late_to_send(started=self.granted.started, boot=boot, deadline_seconds=deadline):
            self.outcome = NotSent("too little time was left")
        elif not is_reachable:
            self.outcome = Unreachable("no connection")
        else:
            self.is_sent = True

    def arrive(self, receive: Callable[[Query], Reply]) -> None:
        """The platform receives it and replies. Past the deadline the exchange was cut, and nothing arrives."""
        self.outcome = DeadlineExceeded("no whole answer") if self.is_past_deadline else receive(self.query)

    def finish(self) -> None:
        """The second half: the real pass continues from its query."""
        assert self.outcome is not None
        replace(self.host.reconciler, client=_Line(self.outcome)).query(self.granted)


@dataclass
class Host:
    """One worker process on one host. A new process, or a new boot, has new parts over the same database."""

    database: VirtualDatabase
    rules: Rules
    kinds: Kinds
    clock: BootClock
    credentials: Mapping[str, Credentials]
    new_token: Callable[[], str] = _repeatable_token
    exchanges: list[Exchange] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Make the parts of a new process."""
        self.exchanges.clear()
        app_ids = {name: own.app_id for name, own in self.credentials.items()}
        self.maintenance = SlotMaintenance(self.database, self.clock, self.rules)
        self.intake = self.kinds.intake(self.database, self.rules, app_ids)
        self.reconciler = Reconciler(
            grants=self.kinds.grants(self.database, self.clock, self.rules, self.new_token),
            client=_Line(NotSent("this is the first half")),
            write_back=self.kinds.write_back(self.database, self.clock, self.rules, Peers(host=self.clock.boot_id)),
            clock=self.clock,
            credentials=self.credentials,
            match_callbacks=self.intake.match_callbacks,
        )

    def begin(self, slot: SlotKey) -> Exchange | None:
        """The first half: grant and lease; None where no query was granted."""
        granted = self.reconciler.take(slot)
        if granted is None:
            return None
        exchange = Exchange(self, granted)
        self.exchanges.append(exchange)
        return exchange


class _Line(PlatformClient):
    """The client of the second half: the outcome of the real client for a reply, read by the real reader."""

    def __init__(self, outcome: Reply | QueryError) -> None:
        self._reply = outcome

    def query(self, *, credentials: Credentials, id_kind: IdKind, ids: Sequence[str], started: float) -> Answer:
        reply = self._reply
        if isinstance(reply, QueryError):
            raise reply
        if reply.broken:
            raise _BROKEN[reply.broken](f"the platform of the test: {reply.broken}")
        if reply.status != 200:
            raise HttpError(reply.status, retry_after=reply.retry_after)
        return read_answer(reply.body, reply.content_type, id_kind, ids)
