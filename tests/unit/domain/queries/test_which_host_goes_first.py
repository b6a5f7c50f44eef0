"""Which process goes first at a slot, and what the end of a query says of its host."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import NOW, RULES, WINDOW, make_order, make_query, make_state
from worker.domain.queries.after_failure import Blame
from worker.domain.queries.which_host_goes_first import A_TICK, CutOffHosts
from worker.domain.records.accounts import AccountState, Opening, SlotKey
from worker.domain.records.incoming import DeadlineExceeded, HttpError, NotSent, QueryError, Refused, Unreachable
from worker.domain.records.monitoring import CutOff, PollingProcess
from worker.domain.records.orders import Lane
from worker.domain.records.queries import Query

HALF_A_WINDOW = RULES.window_seconds / 2
CONFIGURATION, OLD_TOKEN = Refused("-205", "应用校验失败"), Refused("-9005", "token")
TOO_FREQUENT = Refused("-9", "查询过于频繁")


def opening(number: int = 0, last_token: str = "", accounts: Sequence[str] = ("a",)) -> Opening:
    slot = SlotKey(account_sid="sid", number=number, app_ids=dict.fromkeys(accounts, "app"))
    return Opening(slot=slot, in_seconds=0.0, last_token=last_token)


def processes(*names: str, accounts: Collection[str] = "abc") -> list[PollingProcess]:
    """Processes by host and name, such as `one:1`."""
    hosts = ((name, name.partition(":")[0]) for name in names)
    return [PollingProcess(name=name, host=host, accounts=frozenset(accounts)) for name, host in hosts]


def refused(host: str = "two", account: str = "a", **fields: Any) -> CutOff:
    times = {"since": NOW - WINDOW, "probe_at": NOW + 14 * WINDOW}
    return CutOff(host=host, account=account, **times | fields)


def not_connected(host: str) -> CutOff:
    return CutOff(host=host, since=NOW, probe_at=NOW)


def known(*rows: CutOff) -> CutOffHosts:
    return CutOffHosts(rows, NOW, RULES)


def patiences(rows: Sequence[CutOff], all_of: Sequence[PollingProcess], **fields: Any) -> dict[str, set[float]]:
    """By process, how long it waits at a hundred openings of a slot."""
    hosts = known(*rows)
    openings = [opening(last_token=f"{number}", **fields) for number in range(100)]
    return {one.name: {hosts.patience(slot, one.name, one.host, all_of) for slot in openings} for one in all_of}


FIRST_OR_NEXT, FIRST, NEXT, LAST, NEVER = {0.0, A_TICK}, {0.0}, {A_TICK}, {HALF_A_WINDOW}, {inf}
PAIR = processes("one:1", "two:1")
ALL = processes("one:1", "one:2", "two:1", "two:2")


def test_an_account_is_refused_elsewhere_if_another_host_was_refused_and_the_own_one_neither_that_nor_cut_off() -> None:
    (own,) = processes("one:1", accounts="ab")
    assert known(refused("two", "a"), refused("two", "x")).refused_elsewhere(own) == {"a"}
    assert known(refused("two", "a"), refused("one", "a")).refused_elsewhere(own) == set()
    assert known(refused("two", "a"), not_connected("one")).refused_elsewhere(own) == set()
    # One or two refusals of an unknown kind say nothing of a host.
    assert known(refused("two", "a", since=None)).refused_elsewhere(own) == set()


# ---- whose turn it is


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.integers(0, 9), st.text(), st.randoms())
def test_one_of_the_processes_with_an_account_goes_first(
    names: list[str], number: int, token: str, order: Random
) -> None:
    slot, all_of = opening(number, token), processes(*names)
    # Each has read them in an order of its own.
    waits = [known().patience(slot, name, "host", order.sample(all_of, len(all_of))) for name in names]
    assert sorted(waits) == [0.0, *[A_TICK] * (len(names) - 1)]


def test_each_process_goes_first_at_about_as_many_slots_and_queries() -> None:
    all_of = processes(*"abcd")
    for openings in ([opening(n) for n in range(4000)], [opening(0, f"{n}") for n in range(4000)]):
        first = Counter(name for name in "abcd" for one in openings if not known().patience(one, name, name, all_of))
        assert all(900 < count < 1100 for count in first.values())


def test_a_process_that_is_not_among_the_others_goes_first_only_where_there_are_none() -> None:
    assert known().patience(opening(), "new", "new", []) == 0.0
    assert {known().patience(opening(n), "new", "new", PAIR) for n in range(9)} == NEXT


def test_only_processes_with_one_of_the_accounts_of_a_slot_take_part() -> None:
    others = processes("one:1", accounts="b")
    own = processes("two:1", accounts="ac")
    assert patiences([], [*others, *own], accounts=("a", "x"))["two:1"] == FIRST
    assert patiences([], [*others, *own], accounts=("a", "b")) == {"one:1": FIRST_OR_NEXT, "two:1": FIRST_OR_NEXT}


def test_a_host_that_is_not_connected_takes_no_slot_even_if_none_is() -> None:
    assert patiences([not_connected("two")], PAIR) == {"one:1": FIRST, "two:1": NEVER}
    everywhere = [not_connected("one"), not_connected("two")]
    assert patiences(everywhere, PAIR) == {"one:1": NEVER, "two:1": NEVER}


def test_a_refused_host_takes_a_slot_after_half_a_window_and_those_of_its_other_accounts_as_usual() -> None:
    waits = patiences([refused()], ALL)
    assert waits == {"one:1": FIRST_OR_NEXT, "one:2": FIRST_OR_NEXT, "two:1": LAST, "two:2": LAST}
    assert set(map(frozenset, patiences([refused()], ALL, accounts=("b",)).values())) == {frozenset(FIRST_OR_NEXT)}


def test_where_no_process_is_left_that_is_not_refused_all_take_part_as_usual() -> None:
    assert set().union(*patiences([refused("one"), refused("two")], ALL).values()) == FIRST_OR_NEXT
    assert patiences([refused("two"), not_connected("one")], PAIR) == {"one:1": NEVER, "two:1": FIRST}
    assert patiences([refused("two")], processes("two:1")) == {"two:1": FIRST}


@pytest.mark.parametrize("at", [NOW, NOW + 241 * WINDOW], ids=["due", "a clock was set back since"])
def test_a_probe_is_one_process_of_the_refused_host_that_goes_first(at: Any) -> None:
    waits = patiences([refused(probe_at=at)], ALL)
    assert waits == {"one:1": NEXT, "one:2": NEXT, "two:1": {0.0, HALF_A_WINDOW}, "two:2": {0.0, HALF_A_WINDOW}}
    hosts = known(refused(probe_at=at))
    for number in range(20):
        assert [hosts.patience(opening(number), one.name, one.host, ALL) for one in ALL].count(0.0) == 1


def test_a_probe_is_one_query_even_if_the_account_has_two_slots() -> None:
    due = refused(probe_at=NOW)
    assert known(due).patience(opening(0), "two:1", "two", PAIR) == 0.0
    assert known(due).patience(opening(1), "two:1", "two", PAIR) == HALF_A_WINDOW


def test_an_account_that_is_refused_on_all_hosts_hides_no_host_that_is_refused_for_another_one() -> None:
    everywhere = [refused("one"), refused("two")]
    both = [*everywhere, refused("two", "b")]
    assert patiences(both, PAIR, accounts=("a", "b")) == {"one:1": FIRST, "two:1": LAST}
    assert set().union(*patiences(everywhere, ALL, accounts=("a", "b")).values()) == FIRST_OR_NEXT


def test_a_slot_is_tried_when_all_its_refused_accounts_are_due() -> None:
    rows = [refused(account="a", probe_at=NOW, is_answered=True), refused(account="b", is_answered=True)]
    assert patiences(rows, PAIR, accounts=("a", "b")) == {"one:1": FIRST, "two:1": LAST}
    rows[1] = replace(rows[1], probe_at=NOW)
    assert patiences(rows, PAIR, accounts=("a", "b")) == {"one:1": NEXT, "two:1": FIRST}


def test_a_host_that_is_refused_for_all_is_also_tried_with_an_account_that_it_was_not_refused_for() -> None:
    due = [refused(account="a", probe_at=NOW), refused(account="b", probe_at=NOW)]
    assert patiences(due, PAIR, accounts=("c",)) == {"one:1": NEXT, "two:1": FIRST}


def test_a_host_that_is_refused_for_all_is_tried_with_one_account_it_was_not_refused_for_and_not_with_each() -> None:
    # One account's row stays due, as its slot is shut, and the host has just been tried with the other one.
    tried = [refused(account="a", probe_at=NOW), refused(account="b", since=NOW, probe_at=NOW + 15 * WINDOW)]
    assert patiences(tried, PAIR, accounts=("c",)) == {"one:1": FIRST, "two:1": LAST}
    assert patiences(tried, PAIR, accounts=("a",)) == {"one:1": NEXT, "two:1": FIRST}
    # A time that lies too far ahead is none: a clock was set back.
    set_back = [refused(account="a", probe_at=NOW + 600 * WINDOW), refused(account="b", probe_at=NOW + 600 * WINDOW)]
    assert patiences(set_back, PAIR, accounts=("c",)) == {"one:1": NEXT, "two:1": FIRST}


def test_a_process_that_does_not_know_the_others_yet_waits_if_its_host_is_refused() -> None:
    assert known(refused()).patience(opening(), "two:1", "two", []) == HALF_A_WINDOW
    assert known(refused(account="b")).patience(opening(), "two:1", "two", []) == 0.0


def test_a_host_that_was_refused_a_moment_ago_lets_the_others_go_first_for_two_slots() -> None:
    doubted = refused(since=None)
    assert patiences([doubted], PAIR) == {"one:1": FIRST, "two:1": NEXT}
    assert patiences([doubted], PAIR, accounts=("b",))["two:1"] == FIRST_OR_NEXT
    assert set().union(*patiences([replace(doubted, probe_at=NOW)], ALL).values()) == FIRST_OR_NEXT
    # If all were, or no other one is left, they take part as usual.
    assert set().union(*patiences([doubted, refused("one", since=None)], ALL).values()) == FIRST_OR_NEXT
    assert patiences([doubted, refused("one")], PAIR)["two:1"] == FIRST
    assert patiences([doubted], processes("two:1")) == {"two:1": FIRST}


def test_two_accounts_refused_without_an_answer_between_are_a_refusal_for_all() -> None:
    two = [refused(account="a"), refused(account="b")]
    assert patiences(two, PAIR, accounts=("c",)) == {"one:1": FIRST, "two:1": LAST}
    assert known(*two).refused_for_all == {"two"}
    between = [refused(account="a", is_answered=True), refused(account="b")]
    assert patiences(between, PAIR, accounts=("c",))["two:1"] == FIRST_OR_NEXT
    # It takes no slot of these accounts all the same.
    assert patiences(between, PAIR, accounts=("a",))["two:1"] == LAST


# ---- what a failure says


BATCH = make_query([make_order(1), make_order(2)], account="a")
LONE_SUSPECT = make_query([make_order(1, lane=Lane.LONE_SUSPECT)], account="a")


def failed(
    error: QueryError, *rows: CutOff, state: AccountState | None = None, query: Query = BATCH
) -> tuple[CutOff | None, Blame]:
    state = state or make_state(account="a", answered_by_request_id=5)
    return known(*rows).after_failure(error, query, state, "two", PAIR)


def test_a_query_without_a_connection_cuts_its_host_off_and_it_tries_at_once() -> None:
    begun = CutOff(host="two", account="", since=NOW, why="no route", probe_at=NOW)
    assert failed(Unreachable("no route")) == (begun, Blame.NONE)
    # What is known already stays.
    assert failed(Unreachable("no route"), replace(begun, tries=3)) == (None, Blame.NONE)


@pytest.mark.parametrize("query", [BATCH, LONE_SUSPECT], ids=["batch", "suspect"])
@pytest.mark.parametrize("error", [CONFIGURATION, HttpError(401), HttpError(403)], ids=str)
def test_some_refusals_count_at_once(error: QueryError, query: Query) -> None:
    row, blame = failed(error, query=query)
    assert row is not None
    assert (row.host, row.account, row.since, row.why) == ("two", "a", NOW, str(error))
    assert (row.probe_at, blame) == (NOW + 15 * WINDOW, Blame.REFUSED)


def test_a_status_that_asks_to_wait_refuses_no_host() -> None:
    assert failed(HttpError(403, retry_after=600.0)) == (None, Blame.NONE)


def test_another_error_object_counts_the_third_time_if_another_host_had_an_answer_in_between() -> None:
    row, rows = None, []
    for answers in (5, 6, 6):
        state = make_state(account="a", answered_by_request_id=answers)
        row, blame = failed(OLD_TOKEN, *([row] if row else []), state=state)
        assert row is not None
        rows.append((row.since, blame, row.probe_at))
    hesitates = NOW + 2.5 * WINDOW
    assert rows == [
        (None, Blame.DOUBTED, hesitates),
        (None, Blame.DOUBTED, hesitates),
        (NOW, Blame.REFUSED, NOW + 15 * WINDOW),
    ]
    # Without an answer anywhere, the platform refuses everything: the fault is of no host.
    row, blame = failed(OLD_TOKEN, refused(since=None, tries=9, answers_before=5))
    assert (row and row.since, blame) == (None, Blame.NONE)


def test_an_order_that_is_refused_alone_again_and_again_does_not_make_its_host_look_refused() -> None:
    assert failed(OLD_TOKEN, query=LONE_SUSPECT) == (None, Blame.NONE)
    counted = refused(since=None, tries=2, answers_before=1)
    assert failed(OLD_TOKEN, counted, query=LONE_SUSPECT) == (None, Blame.NONE)
    # Known to be refused, the host is the cause of this refusal, too.
    row, blame = failed(OLD_TOKEN, due := refused(probe_at=NOW), query=LONE_SUSPECT)
    assert (row and row.tries, blame) == (due.tries + 1, Blame.REFUSED)


def test_on_a_host_that_is_refused_for_all_the_first_refusal_of_another_account_counts() -> None:
    row, blame = failed(OLD_TOKEN, refused(account="b"), refused(account="c"))
    assert (row and row.since, blame) == (NOW, Blame.REFUSED)


@pytest.mark.parametrize("error", [TOO_FREQUENT, HttpError(500), HttpError(429), DeadlineExceeded("late")], ids=str)
def test_other_failures_say_nothing_of_the_host(error: QueryError) -> None:
    assert failed(error) == (None, Blame.NONE)
    assert failed(NotSent("late"), refused(since=None)) == (None, Blame.NONE)


def test_a_refused_host_waits_longer_after_each_try_up_to_240_windows() -> None:
    row, waits = refused(probe_at=NOW), []
    # Whatever the end: a probe that stayed due would take every slot.
    for answers, error in enumerate((CONFIGURATION, OLD_TOKEN, HttpError(500), NotSent("late"), CONFIGURATION), 1):
        after, blame = failed(error, row, state=make_state(account="a", answered_by_request_id=answers))
        assert after is not None
        assert blame is (Blame.REFUSED if isinstance(error, Refused) else Blame.NONE)
        waits.append((after.probe_at - NOW) / WINDOW)
        assert (after.since, after.tries) == (row.since, row.tries + 1)
        row = replace(after, probe_at=NOW)
    assert waits == [30, 60, 120, 240, 240]


def test_a_host_is_not_to_blame_where_no_other_one_has_had_an_answer_since_its_last_try() -> None:
    row, blame = failed(CONFIGURATION, refused(probe_at=NOW, answers_before=5))
    assert (row and row.tries, blame) == (1, Blame.NONE)


@pytest.mark.parametrize("error", [CONFIGURATION, HttpError(500)])
def test_queries_that_were_under_way_together_are_one_try(error: QueryError) -> None:
    after, _ = failed(error, refused(tries=1))
    assert after is not None
    assert (after.tries, after.probe_at) == (1, NOW + 14 * WINDOW)


def test_a_refusal_of_a_query_from_before_the_last_try_is_that_of_the_host_as_the_try_was() -> None:
    found = refused(since=NOW, probe_at=NOW + 15 * WINDOW, answers_before=5)
    assert failed(CONFIGURATION, found, query=replace(BATCH, sent_at=NOW - timedelta(seconds=1)))[1] is Blame.REFUSED
    assert failed(CONFIGURATION, found, query=replace(BATCH, sent_at=NOW + timedelta(seconds=1)))[1] is Blame.NONE


@pytest.mark.parametrize(
    ("rows", "all_of"),
    [
        ([], processes("two:1", "two:2")),
        ([], [*processes("one:1", accounts="b"), *processes("two:1")]),
        ([not_connected("one")], PAIR),
        ([refused("one")], PAIR),
        ([refused("one", "b"), refused("one", "c")], PAIR),
    ],
    ids=["no other host", "none with the account", "not connected", "refused", "refused for all"],
)
def test_the_fault_is_the_hosts_only_if_another_one_polls_the_account(
    rows: list[CutOff], all_of: list[PollingProcess]
) -> None:
    for error, since in ((CONFIGURATION, NOW), (OLD_TOKEN, None)):
        row, blame = known(*rows).after_failure(error, BATCH, make_state(account="a"), "two", all_of)
        assert row is not None
        assert (row.since, blame) == (since, Blame.NONE)


def test_a_long_error_fits_into_its_column() -> None:
    row, _ = failed(Refused("-205", "长" * 1000))
    assert row is not None
    assert len(row.why) == 255
