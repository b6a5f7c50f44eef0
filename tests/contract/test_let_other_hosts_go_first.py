"""Hosts that are cut off, on every database: what a query's end writes of its host, and what follows from it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.reconciling import SID, Workbench, answer_to, item
from tests.support.waiting import eventually
from tests.support.watching import Watching
from worker.database.tables import CUT_OFF
from worker.domain.records.accounts import Opening, SlotKey
from worker.domain.records.incoming import HttpError, QueryError, Refused, Unreachable
from worker.domain.records.monitoring import CutOff, PollingProcess
from worker.domain.records.orders import Lane
from worker.domain.records.queries import Query
from worker.operations.act_by_hand import Operator, resume_account
from worker.operations.let_other_hosts_go_first import ConnectionProbe, Turns
from worker.operations.write_back import WriteBack
from worker.operations.write_heartbeat import Peers
from worker.stores.accounts import delete_not_connected, note_answer_of_host, save_cut_off

UNREACHABLE, CONFIGURATION = Unreachable("no route"), Refused("-205", "应用校验失败")
OLD_TOKEN = Refused("-9005", "old")


def peers(host: str) -> Peers:
    """One process on each of two hosts, as the one on this host knows them."""
    accounts = frozenset({"default", "a", "b"})
    processes = [PollingProcess(name=f"{name}:1", host=name, accounts=accounts) for name in ("one", "two")]
    named = {one.name: one for one in processes}
    return Peers(host=host, own=f"{host}:1", processes=named, credentials="digest")


def write_back(bench: Workbench, host: str) -> WriteBack:
    return WriteBack(bench.database, bench.clock, bench.rules, peers(host))


def rows(bench: Workbench) -> list[CutOff]:
    with bench.database.read() as connection:
        order = (CUT_OFF.c.host, CUT_OFF.c.account)
        return [CutOff(**row) for row in connection.execute(select(CUT_OFF).order_by(*order)).mappings()]


def put(bench: Workbench, *cut_off: CutOff) -> None:
    with bench.database.write() as connection:
        for row in cut_off:
            save_cut_off(connection, row)


def refused(bench: Workbench, host: str = "two", account: str = "default", **fields: Any) -> CutOff:
    times = {"since": bench.now(), "probe_at": bench.now() + timedelta(minutes=15)}
    return CutOff(host=host, account=account, credentials="digest", **times | fields)


def fail(bench: Workbench, host: str, error: QueryError) -> Query:
    """A query of this host that fails; afterwards the slot is open, and the account does not back off."""
    query = bench.take()
    write_back(bench, host).failed(query, error)
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.make_due()
    return query


def end_back_off(bench: Workbench) -> None:
    bench.put_state(replace(bench.state(), backoff_until=None))


def test_a_query_without_a_connection_cuts_the_host_off_for_all_accounts(bench: Workbench) -> None:
    bench.add("a")
    fail(bench, "two", UNREACHABLE)
    (row,) = rows(bench)
    assert (row.host, row.account, row.why, row.tries) == ("two", "", "no route", 0)
    assert row.since == row.probe_at
    state = bench.state()
    assert (state.backoff_seconds, state.backoff_level, state.backoff_unreachable) == (60.0, 0, True)
    end_back_off(bench)
    fail(bench, "two", UNREACHABLE)
    assert rows(bench) == [row]


def test_without_peers_a_query_says_nothing_of_its_host(bench: Workbench) -> None:
    bench.add("a")
    WriteBack(bench.database, bench.clock, bench.rules).failed(bench.take(), UNREACHABLE)
    assert rows(bench) == []


def test_an_operator_who_resumes_an_account_has_its_hosts_tried_now(bench: Workbench) -> None:
    later = bench.now() + timedelta(minutes=15)
    answered = refused(bench, host="one", account="c", probe_at=later, is_answered=True)
    # Refused for two accounts, the second host may be refused for all.
    other = refused(bench, account="b", probe_at=later)
    put(bench, other, answered, refused(bench, probe_at=later), CutOff(host="one", since=bench.now(), probe_at=later))
    resume_account(bench.database, Operator(name="anna"), "default")
    due = {row.account for row in rows(bench) if row.probe_at <= bench.now()}
    assert due == {"", "default", "b"}


def test_a_refusal_cuts_its_host_off_and_costs_the_account_one_window(bench: Workbench) -> None:
    bench.add("a", "b")
    fail(bench, "two", CONFIGURATION)
    (row,) = rows(bench)
    assert (row.host, row.account, row.credentials, row.tries) == ("two", "default", "digest", 0)
    assert row.since is not None
    assert row.probe_at - row.since == timedelta(minutes=15)
    assert "-205" in row.why
    state = bench.state()
    assert (state.configuration_refused, state.backoff_seconds, state.backoff_unreachable) == (False, 60.0, False)


def test_where_all_hosts_are_refused_the_account_is_queried_every_15_windows(bench: Workbench) -> None:
    bench.add("a", "b")
    fail(bench, "two", CONFIGURATION)
    end_back_off(bench)
    fail(bench, "one", CONFIGURATION)
    assert [row.host for row in rows(bench)] == ["one", "two"]
    assert (bench.state().configuration_refused, bench.state().backoff_seconds) == (True, 900.0)


def test_a_host_with_an_old_token_makes_suspects_twice_at_most(bench: Workbench) -> None:
    for name in "ab":
        add_to_a_batch(bench, name)
        fail(bench, "two", OLD_TOKEN)
    (row,) = rows(bench)
    assert (row.since, row.tries) == (None, 2)
    add_to_a_batch(bench, "c")
    query = bench.take()
    write_back(bench, "one").answered(query, answer_to(query, [item("c")]))
    bench.clock.advance(bench.rules.reservation_seconds)
    add_to_a_batch(bench, "d")
    fail(bench, "two", OLD_TOKEN)
    assert rows(bench)[0].since is not None
    lanes = {order.request_id: order.lane for order in bench.orders()}
    assert {name for name, lane in lanes.items() if lane is not Lane.BATCH} == {"a", "b"}
    assert bench.state().backoff_seconds == 60.0


def add_to_a_batch(bench: Workbench, name: str) -> None:
    """Add an order that the next query polls, whatever suspects there are."""
    bench.add(name)
    bench.put_state(replace(bench.state(), turn=0))


def test_an_answer_of_the_host_ends_its_refusal_and_none_of_another_host(bench: Workbench) -> None:
    others = [refused(bench, "one"), refused(bench, "two", "b"), CutOff(host="two", probe_at=bench.now())]
    put(bench, refused(bench), *others)
    bench.add("a")
    query = bench.take()
    write_back(bench, "two").answered(query, answer_to(query, [item("a")]))
    after = {(row.host, row.account): row for row in rows(bench)}
    assert after.keys() == {("one", "default"), ("two", "b"), ("two", "")}
    # It was refused for two accounts: the other one is probed at once.
    assert after["two", "b"].is_answered
    assert after["two", "b"].probe_at <= bench.now()


def test_the_write_back_of_a_refusal_that_is_repeated_counts_once(bench: Workbench) -> None:
    bench.add("a")
    query = bench.take()
    for _ in range(2):
        write_back(bench, "two").failed(query, CONFIGURATION)
    assert [row.tries for row in rows(bench)] == [0]


def refuse_alone(bench: Workbench, host: str = "two") -> None:
    """The only host that is known is refused: the account waits for 15 windows."""
    bench.add("a", "b")
    query = bench.take()
    alone = replace(peers(host), processes={})
    WriteBack(bench.database, bench.clock, bench.rules, alone).failed(query, CONFIGURATION)
    assert (bench.state().configuration_refused, bench.state().backoff_seconds) == (True, 900.0)


def look(bench: Workbench, of: Peers, **fields: Any) -> None:
    """What the thread of a process of this host does now and then."""
    ConnectionProbe(bench.database, bench.rules, of, lambda: None, **fields).end_waits_for_others()


def test_a_host_that_is_new_is_tried_at_once_where_the_only_other_one_was_refused(bench: Workbench) -> None:
    refuse_alone(bench)
    look(bench, peers("one"))
    assert bench.state().backoff_until is None
    # Until it has an answer it polls one order.
    assert bench.state().configuration_refused
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.make_due()
    write_back(bench, "one").failed(bench.take(), CONFIGURATION)
    refused = bench.state()
    assert refused.backoff_seconds == 900.0
    look(bench, peers("one"))
    assert bench.state() == refused


def test_a_back_off_stays_for_a_host_that_is_not_new_not_known_refused_or_not_connected(bench: Workbench) -> None:
    refuse_alone(bench)
    before = bench.state()
    look(bench, peers("one"), new_seconds=0.0)
    look(bench, replace(peers("one"), own="one:2"))
    look(bench, peers("two"))
    put(bench, CutOff(host="one", since=bench.now(), probe_at=bench.now()))
    look(bench, peers("one"))
    assert bench.state() == before


def test_a_host_that_is_new_ends_no_back_off_of_another_kind(bench: Workbench) -> None:
    put(bench, refused(bench))
    bench.put_state(replace(bench.state(), backoff_until=bench.now() + timedelta(hours=1), backoff_seconds=3600.0))
    before = bench.state()
    look(bench, peers("one"))
    assert bench.state() == before


# ---- who takes a slot


def opening(**fields: Any) -> Opening:
    slot = SlotKey(account_sid=SID, number=0, app_ids={"default": "app-1"})
    return Opening(slot=slot, **{"in_seconds": 0.0, "last_token": "token", **fields})


def turns(bench: Workbench, host: str, period_seconds: float = 1.0) -> Callable[..., bool]:
    """Whether a process on this host takes the slot at a tick, `after` seconds after the one before."""
    made = Turns(bench.database, bench.clock, bench.rules, peers(host), period_seconds=period_seconds)

    def takes(after: float = 1.0, *, is_wanted: bool = True, **fields: Any) -> bool:
        bench.clock.advance(after)
        return bool(made.mine([opening(**fields)] if is_wanted else []))

    return takes


def test_one_of_two_takes_a_slot_as_it_opens_and_the_other_a_tick_later(bench: Workbench) -> None:
    one, two = turns(bench, "one"), turns(bench, "two")
    took = one(), two()
    first, later = (one, two) if took[0] else (two, one)
    assert sorted(took) == [False, True]
    assert later()
    # Before it opens, too; the other one then leaves it.
    assert first(in_seconds=0.5)
    # Another query was sent meanwhile; whose turn it is then depends on its token.
    both = {(one(last_token=f"{n}"), two(last_token=f"{n}")) for n in range(50)}
    assert both == {(True, False), (False, True)}


def test_with_ticks_far_apart_each_process_takes_every_slot(bench: Workbench) -> None:
    assert turns(bench, "one", 6.0)()
    assert turns(bench, "two", 6.0)()


def test_a_refused_host_takes_a_slot_that_it_has_seen_open_for_half_a_window(bench: Workbench) -> None:
    put(bench, refused(bench))
    one, two = turns(bench, "one"), turns(bench, "two")
    assert one()
    assert not any(two() for _ in range(30))
    assert two()
    # From the beginning, once it was not wanted for a while.
    assert not two(is_wanted=False)
    assert not two()


def test_an_answer_brings_no_row_back_that_is_gone(bench: Workbench) -> None:
    put(bench, kept := refused(bench, account="a"), refused(bench, account="b"))
    with bench.database.write() as connection:
        for account in ("b", "c"):
            note_answer_of_host(connection, "two", account, probe_at=None)
    assert rows(bench) == [replace(kept, is_answered=True)]


def test_a_host_that_is_not_connected_takes_no_slot_until_it_is(bench: Workbench) -> None:
    put(bench, CutOff(host="two", since=bench.now(), probe_at=bench.now()))
    one, two = turns(bench, "one"), turns(bench, "two", 6.0)
    assert one()
    assert not any(two(100.0) for _ in range(3))
    with bench.database.write() as connection:
        delete_not_connected(connection, "two")
    assert two()


# ---- the connection


class Platform:
    """What a try to connect finds, and how often it was tried."""

    def __init__(self) -> None:
        self.tries = 0
        self.failure: QueryError | None = UNREACHABLE
        self.may_end = threading.Event()
        self.may_end.set()

    def connect(self) -> QueryError | None:
        self.tries += 1
        assert self.may_end.wait(60)
        return self.failure


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def quick(bench: Workbench) -> Workbench:
    """Tries to connect each second, as with a window of four."""
    bench.rules = replace(bench.rules, window_seconds=4.0)
    return bench


@pytest.fixture
def watching() -> Watching:
    return Watching()


@pytest.fixture
def start_probes(quick: Workbench, platform: Platform, watching: Watching) -> Iterator[Callable[[int], None]]:
    """Starts the probes of `count` processes on one host. It must have a row, or they take it for connected."""
    started = list[ConnectionProbe]()

    def start(count: int) -> None:
        for _ in range(count):
            peers = Peers(host="two", is_connected=False)
            started.append(ConnectionProbe(quick.database, quick.rules, peers, platform.connect).start(watching.dog))

    yield start
    for one in started:
        one.close()


def test_one_process_of_a_host_connects_and_success_ends_the_state_and_its_back_offs(
    quick: Workbench, platform: Platform, start_probes: Callable[[int], None]
) -> None:
    quick.add("a")
    fail(quick, "two", UNREACHABLE)
    # It outlasts the test, however slow that is.
    until = quick.now() + timedelta(hours=1)
    quick.put_state(replace(quick.state(), backoff_until=until, backoff_seconds=3600.0))
    put(quick, CutOff(host="one", since=quick.now(), probe_at=quick.now()))
    start_probes(2)
    eventually(lambda: platform.tries >= 2, "two tries")
    (_, row) = rows(quick)
    assert (row.why, row.tries >= 2) == ("no route", True)
    assert row.since is not None
    # Every second, although two processes want to.
    assert row.tries <= 2 + (quick.now() - row.since).total_seconds()
    platform.failure = None
    eventually(lambda: len(rows(quick)) == 1, "the end of the state")
    assert [row.host for row in rows(quick)] == ["one"]
    state = quick.state()
    assert (state.backoff_until, state.backoff_seconds, state.backoff_unreachable) == (None, 0.0, False)


def test_a_host_that_is_connected_tries_nothing(
    quick: Workbench, platform: Platform, start_probes: Callable[[int], None]
) -> None:
    put(quick, refused(quick, probe_at=quick.now()), CutOff(host="one", since=quick.now(), probe_at=quick.now()))
    platform.failure = None
    put(quick, CutOff(host="two", since=quick.now(), probe_at=quick.now()))
    # A second process could try as well before the first one has written that it is connected.
    start_probes(1)
    eventually(lambda: len(rows(quick)) == 2, "the end of the state")
    assert platform.tries == 1


@pytest.mark.parametrize("is_requested", [False, True])
def test_other_back_offs_stay(
    quick: Workbench, platform: Platform, start_probes: Callable[[int], None], is_requested: bool
) -> None:
    quick.add("a")
    fail(quick, "two", HttpError(503))
    if is_requested:
        until = quick.now() + timedelta(hours=1)
        waiting = replace(quick.state(), backoff_until=until, backoff_requested_until=until, backoff_seconds=3600.0)
        quick.put_state(replace(waiting, backoff_unreachable=True))
    before = replace(quick.state(), backoff_unreachable=False)
    platform.failure = None
    put(quick, CutOff(host="two", since=quick.now(), probe_at=quick.now()))
    start_probes(2)
    eventually(lambda: rows(quick) == [], "the end of the state")
    assert quick.state() == before


def test_a_try_that_never_ends_is_found_as_a_thread_that_hangs(
    quick: Workbench, platform: Platform, watching: Watching
) -> None:
    platform.may_end.clear()
    put(quick, CutOff(host="two", since=quick.now(), probe_at=quick.now()))
    peers = Peers(host="two", is_connected=False)
    probe = ConnectionProbe(quick.database, quick.rules, peers, platform.connect).start(watching.dog)
    eventually(lambda: platform.tries == 1, "a try")
    watching.pass_time(101)
    assert watching.hanging() == {"the thread connection-probe"}
    platform.may_end.set()
    probe.close()
    assert watching.hanging() == set()
