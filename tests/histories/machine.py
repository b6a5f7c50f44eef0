"""The state machine: what may happen to a deployment, in any order, for Hypothesis to choose from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.histories.checker import NOTIFIED, Checker, rows_of
from tests.histories.hosts import Exchange, Host, Kinds
from tests.histories.platform import (
    APP_IDS,
    CREDENTIALS,
    FAULTS,
    HONEST,
    LIES,
    Mood,
    Platform,
    PlatformOrder,
    slots_of,
)
from tests.histories.tail import run_tail
from tests.histories.world import BootClock, Death, Doom, Moment, VirtualDatabase, World
from tests.platforms.writing import Item
from worker.domain.orders import operator_acts as acts
from worker.domain.records.accounts import Rules
from worker.domain.records.operators import ActKind
from worker.domain.records.orders import IdKind, OrderState
from worker.domain.wire.fields import read_amount
from worker.operations.act_by_hand import Decide, Operator, act_on_orders, hold_slots, pause_accounts, resume_account
from worker.operations.learn import Learning, forget_schedules

Result = TypeVar("Result")

ANN = Operator(name="ann", reason="a random history")
OF_AN_ACCOUNT = 6
FLOOD = 110
"""More than a query may hold."""
_TABLES = (
    *("recharge_orders", "platform_queries", "order_events", "query_budgets", "account_states"),
    *("rejected_orders", "unmatched_callbacks", "poll_schedules", "settlement_observations"),
    *("operator_acts", "notifications", "notify_endpoints", "cut_off_hosts"),
)

names = st.sampled_from(["request_id", "request_id", "custom_parm", "both"])
orders = st.integers(0, len(APP_IDS) * OF_AN_ACCOUNT - 1)
hosts = st.integers(0, 1)
exchanges = st.integers(0, 3)
slots = st.integers(0, 3)
dooms = st.none() | st.none() | st.builds(Doom, st.integers(0, 2), st.sampled_from(Moment))
latencies = st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.05, 9.0, 19.9, 20.1, 29.9])
"""Seconds between two steps of a pass; the deadline is 30 s after its start, and two thirds of it 20 s."""
moods = st.one_of(
    st.just(HONEST),
    st.builds(Mood, shape=st.sampled_from(["list", "object", "wrapped", "keyed"])),
    st.builds(Mood, leaves_out=st.just(True), about=st.integers(0, 5)),
    st.builds(Mood, lie=st.sampled_from(LIES), about=st.integers(0, 5), shape=st.sampled_from(["list", "keyed"])),
    st.builds(Mood, fault=st.sampled_from(FAULTS)),
)
waits = st.sampled_from([0.2, 5.0, 29.0, 31.0, 60.0, 60.0, 90.0, 90.1, 300.0, 1800.0])
pauses = st.sampled_from([0.0, 29.0, 59.9])
forward = st.sampled_from([-90.0, 0.5, 90.0, 300.0, 3_600.0])
steps = st.sampled_from([-10_800.0, -3_600.0, -90.0, -0.5, 0.5, 30.0, 90.0, 3_600.0, 10_800.0])


@dataclass(frozen=True)
class Pass:
    """The course of one pass. Durations are seconds."""

    host: int
    slot: int
    pause: float
    before: float
    under_way: float
    after: float
    ended: int
    """How many of the recharges that it polls end before it arrives."""
    mood: Mood
    doom_of_grant: Doom | None
    doom_of_write_back: Doom | None


CALM = Pass(
    host=0,
    slot=0,
    pause=0.0,
    before=0.0,
    under_way=0.0,
    after=0.0,
    ended=0,
    mood=HONEST,
    doom_of_grant=None,
    doom_of_write_back=None,
)

passes = st.builds(
    Pass,
    host=hosts,
    slot=slots,
    pause=st.sampled_from([0.0, 29.0, 59.9, 60.0, 90.0, 150.0]),
    before=latencies,
    under_way=latencies,
    after=latencies,
    ended=st.sampled_from([0, 1, 2, 100]),
    mood=moods,
    doom_of_grant=dooms,
    doom_of_write_back=dooms,
)
callbacks: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "order": orders,
        "ends": st.booleans(),
        "lie": st.sampled_from([None, None, None, *(kind for kind in LIES if kind != "two items")]),
        "names": st.sampled_from(["requestId", "customParm", "both"]),
        "has_app_id": st.booleans(),
        "has_amount": st.sampled_from([True, True, True, False]),
    }
)


def universe() -> list[PlatformOrder]:
    """Every order that the platform will ever know. The first two of each account have the names of other accounts'."""
    made = []
    for account in APP_IDS:
        for number in range(OF_AN_ACCOUNT):
            name = str(number) if number < 2 else f"{account}{number}"
            mobile = f"188{ord(account):04}{number:04}"
            billed = f"139{ord(account):04}{number:04}" if number == OF_AN_ACCOUNT - 2 else mobile
            order = PlatformOrder(account, f"R{name}", f"C{name}", mobile, billed_mobile=billed)
            order.comes_apart = number == OF_AN_ACCOUNT - 1
            made.append(order)
    flood = [
        PlatformOrder("a", f"RF{n}", f"CF{n}", f"1770000{n:04}", billed_mobile=f"1770000{n:04}") for n in range(FLOOD)
    ]
    return made + flood


class Histories(RuleBasedStateMachine):
    """One deployment: two hosts at most, three accounts on two SIDs, one database, one platform."""

    database: ClassVar[VirtualDatabase]
    kinds: ClassVar[Kinds] = Kinds()

    # ---------------------------------------------------------------------------------------------------- the set-up

    @initialize(
        has_two_hosts=st.booleans(),
        queries_per_window=st.sampled_from([1, 1, 2]),
        batch_size=st.sampled_from([2, 5, 100]),
        echoes=st.booleans(),
        answers=st.sampled_from(["all", "all", "all", "all", "all", "one", "a flood"]),
        first=st.lists(orders, min_size=1, max_size=8),
        by=names,
    )
    def begin(
        self,
        has_two_hosts: bool,
        queries_per_window: int,
        batch_size: int,
        echoes: bool,
        answers: str,
        first: list[int],
        by: str,
    ) -> None:
        """Set up a new deployment on a new platform, with a few orders, or with more than a query may hold."""
        with self.database.engine.connect() as connection, connection.begin():
            for table in _TABLES:
                connection.exec_driver_sql(f"DELETE FROM {table}")
            for account in NOTIFIED:
                connection.exec_driver_sql(
                    "INSERT INTO notify_endpoints (account, transport, target_digest, shown, rest_level, updated_at)"
                    f" VALUES ('{account}', 'webhook', '', '', 0, '2026-01-31 12:00:00')"
                )
        forget_schedules()
        has_two_hosts = has_two_hosts or self.kinds.window_grows_at_once
        self.world = self.database.world = World()
        self.durations = Rules(
            margin_seconds=0.0,
            slots=queries_per_window,
            batch_size=batch_size,
            grace_seconds=60.0,
            unresolved_after_seconds=10_800.0,
        )
        self.platform = Platform(universe(), echoes=echoes, answers_one=answers == "one")
        self.checker = Checker(self.database.engine, self.platform, self.durations.window_seconds, queries_per_window)
        self.boots = count(1)
        self.is_of_one_boot = not has_two_hosts
        self.hosts = [self._boot() for _ in range(2 if has_two_hosts else 1)]
        for host in self.hosts:
            host.maintenance.prepare(slots_of(self.durations))
        self.is_sound = True
        self.held_until_ms = 0
        # What was chosen comes in while the slots' first reservation passes.
        listed = self.platform.orders[-FLOOD:] if answers == "a flood" else [self.platform.orders[n] for n in first]
        self._enqueue(listed, [self._submission(order, by, True, 600.0) for order in listed], None, 0)
        self.world.pass_time(self.durations.reservation_seconds)
        if self.kinds.window_grows_at_once:
            self.lengthen_the_window(host=0, times=10.0)

    def _boot(self, rules: Rules | None = None) -> Host:
        number = next(self.boots)
        clock = BootClock(self.world, f"boot-{number}", uptime_seconds=100.0 * number)
        return Host(self.database, self.durations if rules is None else rules, self.kinds, clock, CREDENTIALS)

    # --------------------------------------------------------------------------------------------- what billing does

    @rule(
        chosen=st.lists(orders, min_size=1, max_size=6),
        by=names,
        has_mobile=st.booleans(),
        age_seconds=st.sampled_from([0.0, 59.0, 61.0, 3_600.0, 10_000.0]),
        expected=st.sampled_from([None, "2.94", "1"]),
        doom=dooms,
        host=hosts,
    )
    def enqueue(
        self,
        chosen: list[int],
        by: str,
        has_mobile: bool,
        age_seconds: float,
        expected: str | None,
        doom: Doom | None,
        host: int,
    ) -> None:
        """Orders come in, some of them again, some twice in one list."""
        listed = [self.platform.orders[number] for number in chosen]
        sent = [self._submission(order, by, has_mobile, age_seconds) for order in listed]
        if expected is not None:
            for order, submission in zip(listed, sent, strict=True):
                if not order.given:
                    submission["expected_amount"] = expected
        self._enqueue(listed, sent, doom, host)

    def _submission(self, order: PlatformOrder, by: str, has_mobile: bool, age_seconds: float) -> dict[str, Any]:
        names = {"request_id", "custom_parm"} if by == "both" else {by}
        if order.given and not order.comes_apart:
            # Sent with a name that the worker knows; else these would be two orders, and neither could ever settle.
            names |= order.given - {"mobile"}
        submission: dict[str, Any] = {name: getattr(order, name) for name in sorted(names)}
        submission["account"] = order.account
        if has_mobile or names == {"custom_parm"}:
            submission["mobile"] = order.billed_mobile
        submitted_at = self.world.database_now - timedelta(seconds=age_seconds)
        return {**submission, "submitted_at": submitted_at.isoformat()}

    def _enqueue(
        self, listed: Sequence[PlatformOrder], sent: list[dict[str, Any]], doom: Doom | None, host: int
    ) -> None:
        answer = self._deliver(host, doom, lambda at: at.intake.enqueue_orders(sent))
        refused = self._keep_refusals(answer, sent)
        for index, (order, submission) in enumerate(zip(listed, sent, strict=True)):
            if index not in refused:
                order.given |= submission.keys() & {"request_id", "custom_parm", "mobile"}

    @rule(number=orders, doom=dooms, host=hosts)
    def enqueue_what_is_to_be_refused(self, number: int, doom: Doom | None, host: int) -> None:
        """Enqueue orders with every kind of fault, and one that contradicts a known order."""
        order = self.platform.orders[number]
        sent: list[Any] = [
            {"request_id": "a,b"},
            {"request_id": "R1", "account": "nobody"},
            {"custom_parm": f"only-{number}", "account": "a"},
            {"request_id": f"early-{number}", "submitted_at": "2099-01-01T00:00:00Z", "account": "a"},
            {"mobile": order.mobile, "account": "a"},
            [number],
        ]
        if {"mobile", "request_id"} <= order.given and not order.comes_apart:
            sent.append({"request_id": order.request_id, "account": order.account, "mobile": "15500000000"})
        answer = self._deliver(host, doom, lambda at: at.intake.enqueue_orders(sent))
        assert len(self._keep_refusals(answer, sent)) == len(sent), f"S3: accepted what is to be refused: {answer}"

    @rule(chosen=st.lists(orders, min_size=1, max_size=4), doom=dooms, host=hosts)
    def cancel(self, chosen: list[int], doom: Doom | None, host: int) -> None:
        """Billing cancels some orders."""
        sent = [self._reference(number) for number in chosen]
        self._keep_refusals(self._deliver(host, doom, lambda at: at.intake.cancel_orders(sent)), sent)

    @rule(chosen=st.lists(orders, min_size=1, max_size=4), doom=dooms, host=hosts)
    def check(self, chosen: list[int], doom: Doom | None, host: int) -> None:
        """Billing requests checks of some orders."""
        sent = [self._reference(number) for number in chosen]
        self._keep_refusals(self._deliver(host, doom, lambda at: at.intake.check_orders(sent)), sent)

    def _reference(self, number: int) -> dict[str, Any]:
        order = self.platform.orders[number]
        name = "custom_parm" if order.given == {"custom_parm", "mobile"} else "request_id"
        return {name: getattr(order, name), "account": order.account}

    # --------------------------------------------------------------------------------------------- what operators do

    @rule(
        number=orders,
        kind=st.sampled_from([ActKind.RESOLVE, ActKind.REOPEN, ActKind.CANCEL, ActKind.DISMISS, ActKind.CHECK]),
        force=st.booleans(),
        doom=dooms,
        host=hosts,
    )
    def act_by_hand(self, number: int, kind: ActKind, force: bool, doom: Doom | None, host: int) -> None:
        """An operator acts on an order; one that is resolved has ended at the platform, as the operator found out."""
        order = self.platform.orders[number]
        ids = [row["id"] for row in self.checker.of(order)]
        if kind is ActKind.RESOLVE:
            order.finish(succeeds=force)
        state = OrderState.SUCCEEDED if order.traffic_sts == "1" else OrderState.FAILED
        decisions: dict[ActKind, Decide] = {
            ActKind.RESOLVE: partial(acts.resolve, state=state, amount=read_amount(order.amount)),
            ActKind.REOPEN: partial(acts.reopen, force=force),
            ActKind.CANCEL: acts.cancel,
            ActKind.DISMISS: acts.dismiss,
            ActKind.CHECK: acts.check,
        }
        decide = decisions[kind]
        self._deliver(host, doom, lambda _: list(act_on_orders(self.database, ANN, kind, ids, decide)))

    @rule(seconds=waits, resumes=st.booleans(), doom=dooms, host=hosts)
    def pause(self, seconds: float, resumes: bool, doom: Doom | None, host: int) -> None:
        """An operator pauses an account for a while, or resumes it."""
        if resumes:
            self._deliver(host, doom, lambda _: resume_account(self.database, ANN, "a"))
        else:
            lasts = timedelta(seconds=seconds)
            self._deliver(host, doom, lambda _: pause_accounts(self.database, ANN, ["a"], lasts=lasts))

    @rule(doom=dooms, host=hosts)
    def hold_queries(self, doom: Doom | None, host: int) -> None:
        """An operator holds every slot."""
        sids = {slot.account_sid for slot in slots_of(self.durations)}
        self._deliver(host, doom, lambda at: hold_slots(self.database, at.clock, at.rules, ANN, sids))
        self.held_until_ms = self.world.ms + round(1000 * self.durations.reservation_seconds)

    # ----------------------------------------------------------------------------------------- what the platform does

    @rule(chosen=st.lists(orders, min_size=1, max_size=5), succeeds=st.booleans())
    def finish(self, chosen: list[int], succeeds: bool) -> None:
        """Some recharges end."""
        for number in chosen:
            self.platform.orders[number].finish(succeeds)

    @rule(said=st.lists(callbacks, min_size=1, max_size=4), has_junk=st.booleans(), doom=dooms, host=hosts)
    def call_back(self, said: list[dict[str, Any]], has_junk: bool, doom: Doom | None, host: int) -> None:
        """Callbacks come, true ones and detectable lies, for orders that are known here and for others."""
        bodies = [self._callback(**each) for each in said]
        listed: list[Any] = [*bodies, *(["junk", {"trafficSts": "1"}] if has_junk else [])]
        self.checker.callbacks.extend(bodies)
        answer = self._deliver(host, doom, lambda at: at.intake.record_callbacks(listed))
        refused = self._keep_refusals(answer, listed)
        for index, (each, body) in enumerate(zip(said, bodies, strict=True)):
            order = self.platform.orders[each["order"]]
            if each["lie"] is None and order.is_final and "oriAmount" in body and index not in refused:
                order.called_back_by |= {name for name, key in _KEYS.items() if key in body}

    def _callback(
        self, order: int, ends: bool, lie: str | None, names: str, has_app_id: bool, has_amount: bool
    ) -> Item:
        about = self.platform.orders[order]
        if ends:
            about.finish(order % 2 == 0)
        named_by = IdKind.CUSTOM_PARM if names == "customParm" else IdKind.REQUEST_ID
        body = about.lie(lie, echo=True, named_by=named_by)[0] if lie else about.item(echo=True)
        if not has_amount and not lie and about.is_final:
            body.pop("oriAmount")
        if names != "both" and lie != "another customParm":
            body.pop("customParm" if names == "requestId" else "requestId", None)
        is_named_once = sum(other.request_id == about.request_id for other in self.platform.orders) == 1
        if not has_app_id and is_named_once and lie != "appid":
            body.pop("appid")
        return body

    @rule(number=st.integers(0, 20), doom=dooms, host=hosts)
    def contradict(self, number: int, doom: Doom | None, host: int) -> None:
        """The platform contradicts its own report of a final order."""
        final = [(order, row) for order in self.platform.orders for row in self.checker.of(order) if row["settled_at"]]
        if not final:
            return
        order, row = final[number % len(final)]
        body = order.opposite(echo=False)
        if len(self.checker.of(order)) > 1 or row["request_id"] is None or order.has_wrong_mobile:
            return
        self._deliver(host, doom, lambda at: at.intake.record_callbacks([body]))
        engine = self.database.engine
        (after,) = rows_of(engine, f"SELECT attention FROM recharge_orders WHERE id = {row['id']}")
        events = rows_of(engine, f"SELECT kind, repeats FROM order_events WHERE order_id = {row['id']}")
        # What an operator has dismissed does not come back by the same body.
        is_known = any(event["kind"] == "dismissed" for event in events) and any(
            event["kind"] == "contradicted" and event["repeats"] for event in events
        )
        assert after["attention"] == "late_conflict" or is_known, f"a late contradiction went unseen: {row}"

    # --------------------------------------------------------------------------------------------------- what passes

    @rule(passes=st.lists(passes, min_size=1, max_size=4))
    def reconcile(self, passes: list[Pass]) -> None:
        """Whole passes, with time between their steps."""
        for each in passes:
            self._pass(each)

    @rule(slot=slots, pressed=st.lists(st.tuples(pauses, forward), min_size=2, max_size=5))
    def press(self, slot: int, pressed: list[tuple[float, float]]) -> None:
        """Passes of one slot follow each other while the database's clock is set."""
        for pause, step in pressed:
            self._step(step)
            self._pass(replace(CALM, slot=slot, pause=pause))

    def _pass(self, each: Pass) -> None:
        self.world.pass_time(each.pause)
        exchange = self._grant(each.host, each.slot, each.doom_of_grant)
        if exchange is None:
            return
        self.world.pass_time(each.before)
        exchange.send(is_reachable=True)
        if exchange.is_sent:
            self.world.pass_time(each.under_way)
            self._end_recharges(exchange, each.ended)
            exchange.arrive(partial(self.platform.receive, self.world.ms, each.mood))
        self.world.pass_time(each.after)
        self._write_back(exchange, each.doom_of_write_back)

    @rule(host=hosts, slot=slots, pause=st.sampled_from([0.0, 60.0, 150.0]), doom=dooms)
    def grant(self, host: int, slot: int, pause: float, doom: Doom | None) -> None:
        """A pass begins; any step may follow."""
        self.world.pass_time(pause)
        self._grant(host, slot, doom)

    @precondition(lambda self: self._under_way(lambda exchange: not exchange.is_sent and exchange.outcome is None))
    @rule(index=exchanges, is_reachable=st.sampled_from([True, True, True, False]))
    def send(self, index: int, is_reachable: bool) -> None:
        """A query is sent, perhaps after a long pause."""
        waiting = self._under_way(lambda exchange: not exchange.is_sent and exchange.outcome is None)
        waiting[index % len(waiting)].send(is_reachable=is_reachable)

    @precondition(lambda self: self._under_way(lambda exchange: exchange.is_sent and exchange.outcome is None))
    @rule(index=exchanges, mood=moods)
    def arrive(self, index: int, mood: Mood) -> None:
        """A query arrives, and is answered."""
        waiting = self._under_way(lambda exchange: exchange.is_sent and exchange.outcome is None)
        waiting[index % len(waiting)].arrive(partial(self.platform.receive, self.world.ms, mood))

    @precondition(lambda self: self._under_way(lambda exchange: exchange.outcome is not None))
    @rule(index=exchanges, doom=dooms)
    def write_back(self, index: int, doom: Doom | None) -> None:
        """A pass writes back its outcome, perhaps long after."""
        waiting = self._under_way(lambda exchange: exchange.outcome is not None)
        self._write_back(waiting[index % len(waiting)], doom)

    def _grant(self, host: int, slot: int, doom: Doom | None) -> Exchange | None:
        at, choice = self._host(host), slots_of(self.durations)
        exchange = self._mortal(at, doom, lambda: at.begin(choice[slot % len(choice)]))
        assert exchange is None or self.world.ms >= self.held_until_ms, "S1: a query was granted while all were held"
        return exchange

    def _write_back(self, exchange: Exchange, doom: Doom | None) -> None:
        exchange.host.exchanges.remove(exchange)
        self._mortal(exchange.host, doom, exchange.finish)

    def _end_recharges(self, exchange: Exchange, at_most: int) -> None:
        query = exchange.query
        for name in query.ids[:at_most]:
            order = self.platform.find(query.account, query.id_kind, name)
            if order is not None:
                order.finish(succeeds=len(self.platform.arrivals) % 3 > 0)

    # ------------------------------------------------------------------------------------------------ time and death

    @rule(seconds=waits)
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.pass_time(seconds)

    @rule(seconds=steps)
    def step_the_databases_clock(self, seconds: float) -> None:
        """The database's clock is set."""
        self._step(seconds)

    def _step(self, seconds: float) -> None:
        # Forward on one boot only: the rest is a residue that the documents name.
        if seconds < 0 or self.is_of_one_boot:
            self.world.step_database_clock(seconds)

    @rule(host=hosts, reboots=st.sampled_from([False, False, True]))
    def die(self, host: int, reboots: bool) -> None:
        """A process is killed, perhaps with its host."""
        at = self._host(host)
        if reboots and not self.is_of_one_boot:
            self.hosts[self.hosts.index(at)] = self._boot(at.rules)
        else:
            at.start()

    @rule(host=hosts, times=st.sampled_from([1.5, 2.0, 10.0]))
    def lengthen_the_window(self, host: int, times: float) -> None:
        """One worker is started with a longer window; the other one, if there is one, goes on with what it has."""
        if self.checker.longer_window is not None:
            return
        at = self._host(host)
        at.rules = replace(self.durations, window_seconds=times * self.durations.window_seconds)
        at.start()
        at.maintenance.bring_up_to_date({slot.account_sid for slot in slots_of(at.rules)})
        self.checker.longer_window = (self.world.ms, at.rules.window_seconds)

    @rule(host=hosts)
    def tick(self, host: int) -> None:
        """The rest of what ticks do."""
        at = self._host(host)
        at.intake.match_some_callbacks()
        # As a process that has just been started: others wait for a window by a clock that is not virtual.
        Learning(self.database, at.rules).relearn(tuple(APP_IDS))

    # ------------------------------------------------------------------------------------------------------ the laws

    @invariant()
    def hold(self) -> None:
        """S1 to S5."""
        # A failed check is the failure: the tail would only hide it.
        self.is_sound = False
        self.checker.check()
        self.is_sound = True

    def teardown(self) -> None:
        """L1."""
        if getattr(self, "is_sound", False):
            longest = max((host.rules for host in self.hosts), key=lambda rules: rules.window_seconds)
            for host in self.hosts:
                # In the end every host gets the longer window: without it a host sends no query.
                host.rules = longest
            run_tail(self.checker, self.platform, self.world, self.hosts)

    # ------------------------------------------------------------------------------------------------------- helpers

    def _host(self, number: int) -> Host:
        return self.hosts[number % len(self.hosts)]

    def _under_way(self, is_meant: Callable[[Exchange], bool]) -> list[Exchange]:
        return [exchange for host in self.hosts for exchange in host.exchanges if is_meant(exchange)]

    def _mortal(self, host: Host, doom: Doom | None, action: Callable[[], Result]) -> Result | None:
        """Run an action of a host's process; None where the process died of it."""
        try:
            with self.world.doomed(doom):
                return action()
        except Death:
            host.start()
            return None

    def _deliver(self, host: int, doom: Doom | None, task: Callable[[Host], Result]) -> Result:
        """Run a task; where its process dies, the broker delivers it again."""
        at = self._host(host)
        answer = self._mortal(at, doom, lambda: task(at))
        return task(at) if answer is None else answer

    def _keep_refusals(self, answer: dict[str, Any], sent: Sequence[object]) -> set[int]:
        refused = {rejection["index"] for rejection in answer["rejected"]}
        self.checker.refused.extend(sent[index] for index in sorted(refused))
        return refused


_KEYS = {"request_id": "requestId", "custom_parm": "customParm"}
