"""Run a pass: take a slot, query the platform, write back. No transaction is open during the query."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from worker.adapters.clock import Clock
from worker.adapters.platform.client import PlatformClient
from worker.domain.queries.after_failure import QueryFailureKind, failure_kind_of
from worker.domain.queries.after_reply import QueryEffects
from worker.domain.records.accounts import SlotKey
from worker.domain.records.incoming import Answer, QueryError
from worker.domain.records.order_changes import learned_keys
from worker.domain.records.orders import OrderKey
from worker.domain.records.queries import Query
from worker.domain.wire.query_request import Credentials
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack

log = structlog.stdlib.get_logger(__name__)

_CONFIGURATION_HELP = (
    "check that the app id belongs to this environment (sandbox or production), that this host's address is in the "
    "application's allowlist, and that the application is live and has the traffic function"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Granted:
    """A query that may be sent."""

    query: Query
    started: float
    """The start of the query's deadline, on the boot clock."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconciler:
    """Runs passes: each polls orders of one slot. Safe to share between threads.

    `match_callbacks` settles orders whose ids became known only now, from callbacks that came before.
    """

    grants: Grants
    client: PlatformClient
    write_back: WriteBack
    clock: Clock
    credentials: Mapping[str, Credentials]
    match_callbacks: Callable[[Sequence[OrderKey]], None]

    def reconcile(self, slot: SlotKey) -> Query | None:
        """Run one pass over a slot. Return the query that was sent; None if there was none."""
        granted = self.take(slot)
        if granted is None:
            return None
        self.query(granted)
        return granted.query

    def take(self, slot: SlotKey) -> Granted | None:
        """Run the first half of a pass: take the slot. Return None if the slot is not open or no order is due."""
        # Start the query's deadline before the grant, which reserves the slot for some time. So however long the grant
        # takes, nothing is sent after the reservation has ended.
        started = self.clock.boot()
        query = self.grants.take(slot)
        if query is None:
            return None
        log.info(
            "querying the platform",
            action="query_granted",
            account=query.account,
            query_id=query.id,
            orders=len(query.orders),
            spare=query.spare_count,
            work=query.work.value,
            id_kind=query.id_kind.value,
        )
        return Granted(query=query, started=started)

    def query(self, granted: Granted) -> None:
        """Run the second half of a pass: query the platform, and write back the answer or the failure."""
        query = granted.query
        try:
            answer = self.client.query(
                credentials=self.credentials[query.account],
                id_kind=query.id_kind,
                ids=query.ids,
                started=granted.started,
            )
        except QueryError as error:
            self._fail(query, error)
        else:
            self._settle(query, answer)

    def _settle(self, query: Query, answer: Answer) -> None:
        effects = self.write_back.answered(query, answer)
        log.info(
            "the platform answered",
            action="query_answered",
            account=query.account,
            query_id=query.id,
            settled=effects.settled,
            pending=effects.pending,
            absent=effects.absent,
        )
        if effects.reset_absences_since is not None:
            log.warning(
                "this platform answers one order a query, however many it polls: its orders are now polled one by one",
                action="one_item_platform",
                account=query.account,
            )
        _log_attention(query, effects)
        self.match_callbacks(learned_keys(effects.changes))

    def _fail(self, query: Query, error: QueryError) -> None:
        effects = self.write_back.failed(query, error)
        until, kind = effects.state.backoff_until, failure_kind_of(error)
        needs_a_person = kind in (QueryFailureKind.TOO_FREQUENT, QueryFailureKind.CONFIGURATION)
        report = log.error if needs_a_person else log.warning
        report(
            f"the query failed: {error}",
            action="query_failed",
            account=query.account,
            query_id=query.id,
            outcome=error.outcome,
            status_code=error.status_code,
            status_msg=error.status_msg,
            backed_off_until=until.isoformat() if until else None,
            **({"help": _CONFIGURATION_HELP} if kind is QueryFailureKind.CONFIGURATION else {}),
        )
        if kind is QueryFailureKind.TOO_FREQUENT:
            log.error(
                "the platform says that it is queried too often: does another program or deployment use this SID?",
                action="too_frequent",
                account=query.account,
            )
        _log_attention(query, effects)


def _log_attention(query: Query, effects: QueryEffects) -> None:
    for change in effects.changes:
        if change.after.attention is not None and change.after.attention is not change.before.attention:
            log.warning(
                "a person should look at this order",
                action="attention",
                query_id=query.id,
                order=str(change.after.key),
                order_id=change.after.id,
                reason=change.after.attention.value,
                state=change.after.state.value,
            )
