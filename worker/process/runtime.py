"""Build the parts of a process from the settings, after the process was forked. Close the parts at its end."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from worker.adapters.clock import Clock, HostClock
from worker.adapters.notify import make_transport
from worker.adapters.platform.client import PlatformClient
from worker.adapters.watchdog import Watchdog
from worker.broker.answers import Broker, BrokerAnswers
from worker.broker.celery_settings import ORDERS_QUEUE, TICKS_QUEUE
from worker.database.transactions import ANSWER_SECONDS, Database, is_transient
from worker.domain.monitoring.worker_processes import hang_patience
from worker.domain.records.accounts import Rules
from worker.operations.change_endpoints import EndpointEntry
from worker.operations.learn import Learning
from worker.operations.let_other_hosts_go_first import ConnectionProbe, Turns
from worker.operations.maintain_slots import SlotMaintenance
from worker.operations.reserve_slot import Grants, read_resting
from worker.operations.upkeep import MetricCounting, OldDeliveries, OverdueOrders
from worker.operations.write_back import WriteBack
from worker.operations.write_heartbeat import Heartbeat, Peers, Signs, host_name
from worker.process.intake import Intake
from worker.process.reconcile import Reconciler
from worker.process.senders import Senders, Target
from worker.process.ticks import Ticks
from worker.settings import Settings, load_settings
from worker.settings.rules import app_ids_of, digest_of_credentials, rules_of, slots_of


def targets_of(settings: Settings, clock: Clock) -> Mapping[str, Target]:
    """The target of each account's notifications. An account without an endpoint is missing."""
    return {
        account: Target(
            digest=endpoint.target.digest,
            transport=make_transport(
                endpoint.target, broker_url=settings.broker_dsn, clock=clock, hidden=settings.secrets
            ),
        )
        for account, endpoint in settings.endpoints.items()
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The classes of a process's parts. Another entry point may replace any of them by a subclass (see `compose`)."""

    clock: Callable[[], Clock] = HostClock
    host: Callable[[], str] = host_name
    database: type[Database] = Database
    maintenance: type[SlotMaintenance] = SlotMaintenance
    grants: Callable[[Database, Clock, Rules], Grants] = Grants
    client: Callable[..., PlatformClient] = PlatformClient
    write_back: type[WriteBack] = WriteBack

    def peers(self, settings: Settings) -> Peers:
        """The processes that take slots. At first only this process is known; the others are read later."""
        return Peers(host=self.host(), credentials=digest_of_credentials(settings))


def open_database(settings: Settings, parts: Parts) -> Database:
    """Open the database for a process that polls.

    The database ends a session that is idle in a transaction for as long as a query's deadline. So a process that hangs
    does not keep a slot locked.
    """
    seconds = rules_of(settings).deadline_seconds
    return parts.database(settings.database_dsn, idle_transaction_seconds=seconds, answer_seconds=ANSWER_SECONDS)


def make_reconciler(
    settings: Settings, parts: Parts, clock: Clock, database: Database, intake: Intake, peers: Peers | None = None
) -> Reconciler:
    """Make the part that runs passes. Without `peers`, a write-back stores nothing about this host."""
    rules = rules_of(settings)
    return Reconciler(
        grants=parts.grants(database, clock, rules),
        client=parts.client(
            base_url=settings.platform_url,
            version=settings.platform_version,
            bracketed_ids=settings.platform_bracketed_ids,
            timezone=settings.platform_zone,
            connect_timeout=settings.connect_timeout_seconds,
            deadline=settings.request_deadline_seconds,
            clock=clock,
            ca_file=settings.platform_ca_file,
        ),
        write_back=parts.write_back(database, clock, rules, peers),
        clock=clock,
        credentials=settings.accounts,
        match_callbacks=intake.match_callbacks,
    )


def _make_signs(ticks: Ticks, broker_answers: BrokerAnswers, intake: Intake) -> Signs:
    return Signs(
        tick=ticks.seconds_since_tick,
        beat=ticks.seconds_since_request,
        broker_asked=broker_answers.seconds_since_asked,
        broker_answered=broker_answers.seconds_since_answer,
        queue_empty=broker_answers.seconds_since_empty,
        taken_in=intake.seconds_since_commit,
        other_deployment=broker_answers.seconds_since_other_deployment,
        orders_waiting=partial(broker_answers.waiting, ORDERS_QUEUE),
        ticks_waiting=partial(broker_answers.waiting, TICKS_QUEUE),
    )


class _TickWork:
    """The work of each tick in addition to its passes."""

    def __init__(self, settings: Settings, database: Database, intake: Intake, endpoint_entry: EndpointEntry) -> None:
        rules = rules_of(settings)
        self._database, self._intake = database, intake
        self._learning = Learning(database, rules)
        self._overdue = OverdueOrders(database, rules)
        self._endpoints = tuple(settings.endpoints.values())
        self._endpoint_entry = endpoint_entry
        self._old_deliveries = OldDeliveries(database, settings.notify_keep_days)
        self._metrics = MetricCounting(database, rules)
        self._accounts = tuple(settings.accounts)

    def do(self) -> None:
        self._enter_endpoints()
        self._intake.match_some_callbacks()
        self._learning.relearn(self._accounts)
        self._overdue.flag_some()
        self._old_deliveries.delete_some()
        self._metrics.count_some()

    def _enter_endpoints(self) -> None:
        # The endpoints were already entered before the fork, unless the database was unavailable then. This call does
        # nothing if they were.
        try:
            self._endpoint_entry.enter_once(self._database, self._endpoints)
        except Exception as error:
            # After a transient error, the tick continues with its other work, which may still be possible. The next
            # tick tries again to enter the endpoints.
            if not is_transient(error):
                raise


class Runtime:
    """The parts that one process runs, and that its tasks use."""

    def __init__(
        self, settings: Settings, parts: Parts | None = None, endpoint_entry: EndpointEntry | None = None
    ) -> None:
        """`endpoint_entry` was made before the pool's processes were forked; None if this is the only process."""
        parts = parts or Parts()
        clock, rules = parts.clock(), rules_of(settings)
        # The watchdog comes first, so that it also ends a process that hangs during its start.
        self._watchdog = Watchdog(clock, patience_seconds=hang_patience(rules))
        self._watchdog.start()
        start = self._watchdog.begin("the start of this process")
        self.database = open_database(settings, parts)
        self.database.before_statements(self._watchdog.step)
        self.intake = Intake(self.database, rules, app_ids_of(settings), waits=False)
        peers = parts.peers(settings)
        self.reconciler = make_reconciler(settings, parts, clock, self.database, self.intake, peers)
        connect = self.reconciler.client.connect
        self._probe = ConnectionProbe(self.database, rules, peers, connect).start(self._watchdog)
        period = settings.tick_seconds
        turns = Turns(self.database, clock, rules, peers, period_seconds=period)
        self.ticks = Ticks(
            maintenance=parts.maintenance(self.database, clock, rules),
            slots=slots_of(settings),
            reconciler=self.reconciler,
            idle_accounts=partial(read_resting, self.database),
            each_tick=_TickWork(settings, self.database, self.intake, endpoint_entry or EndpointEntry()).do,
            period_seconds=period,
            watchdog=self._watchdog,
            in_turn=turns.mine,
        )
        self._broker_answers = BrokerAnswers(Broker(settings.broker_dsn, lambda: peers.deployment), self._watchdog)
        signs = _make_signs(self.ticks, self._broker_answers, self.intake)
        self._heartbeat = Heartbeat(self.database, clock, signs, settings.accounts, self._watchdog, peers=peers)
        self._senders = Senders(
            database=self.database, clock=clock, targets=targets_of(settings, clock), watchdog=self._watchdog
        )
        start.end()

    def close(self) -> None:
        """Wait for the passes and deliveries under way, then close every connection."""
        self._broker_answers.close()
        self.ticks.close()
        self._probe.close()
        self._senders.close()
        self._heartbeat.close()
        self.database.close()
        self._watchdog.close()


_parts = Parts()
_endpoint_entry = EndpointEntry()
_current: tuple[int, Runtime] | None = None


def compose(parts: Parts) -> None:
    """Set the parts for the runtimes of this process and its children. Call this before the first runtime is made."""
    global _parts
    _parts = parts


def current() -> Runtime:
    """This process's runtime, made on first use.

    A child process that is forked later makes its own runtime, so that the two processes share no connections.
    """
    global _current
    if _current is None or _current[0] != os.getpid():
        _current = (os.getpid(), Runtime(load_settings(), _parts, _endpoint_entry))
    return _current[1]


def prepare_database(settings: Settings) -> None:
    """Prepare the database before a worker is ready.

    Raise each window in the database that is shorter than the window in the settings, for the SIDs of the settings.
    Close the slots that were written in another database. Write the endpoints. Call this in the worker's first process,
    before others are forked: no connection stays open. Raises SQLAlchemy's errors.
    """
    rules = rules_of(settings)
    database = open_database(settings, _parts)
    try:
        maintenance = _parts.maintenance(database, _parts.clock(), rules)
        maintenance.bring_up_to_date({slot.account_sid for slot in slots_of(settings)})
        _endpoint_entry.enter_once(database, tuple(settings.endpoints.values()))
    finally:
        database.close()


def close_current() -> None:
    """Close this process's runtime, if it has one."""
    global _current
    if _current is not None and _current[0] == os.getpid():
        _current[1].close()
    _current = None
