"""Which pages of the index of due orders a choice reads."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import (
    NOW,
    RULES,
    SCHEDULE,
    WINDOW,
    make_blind_order,
    make_candidate,
    make_order,
    make_state,
)
from worker.domain.queries.choose_batch import (
    INDEX_RANGES,
    accounts_in_turn,
    choose,
    first_pages,
    free_positions,
    next_pages,
    next_work,
    refuse_together,
    spend,
)
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.orders import IdKind, Lane, Order, OrderState
from worker.domain.records.queries import Candidate, Choice, Reason, Work
from worker.domain.scheduling.ages_and_observations import BUCKETS
from worker.domain.scheduling.pick_by_priority import PAGE_SIZE

times = st.integers(0, 300_000).map(lambda age: NOW - timedelta(seconds=age))


def drawn_candidates(
    id_kinds: st.SearchStrategy[IdKind], lanes: st.SearchStrategy[Lane]
) -> st.SearchStrategy[Candidate]:
    return st.builds(
        Candidate,
        order_id=st.integers(1, 300),
        id_kind=id_kinds,
        lane=lanes,
        submitted_at=times,
        due_at=times,
        queried_at=st.none() | times,
        check_requested_at=st.none() | times,
        suspect_group=st.integers(1, 3),
        # An unresolved order is a candidate only where a check of it was requested.
        is_unresolved=st.just(False),
    )


candidates = drawn_candidates(st.sampled_from(IdKind), st.sampled_from(Lane))
ECHOES = AccountState(account="default", echoes_custom_parm=True)
BLIND = AccountState(account="default")
turns = st.integers(0, 1_000_000)


def batch_of(count: int, **fields: object) -> list[Candidate]:
    return [make_candidate(order_id, **fields) for order_id in range(1, count + 1)]


def chosen(waiting: list[Candidate], state: AccountState | None = None, rules: Rules = RULES) -> Choice:
    choice = choose(waiting, state or make_state(), SCHEDULE, NOW, rules)
    assert choice is not None
    return choice


def chosen_in_turn(waiting: list[Candidate], state: AccountState, times: int) -> Iterator[Choice]:
    """What so many grants choose one after the other."""
    for _ in range(times):
        choice = chosen(waiting, state)
        yield choice
        state = spend(state, choice, NOW, RULES)


# ---- which positions are spare


def test_a_batch_leaves_the_positions_free_that_no_due_order_needs() -> None:
    choice = Choice(work=Work.BATCH, id_kind=IdKind.CUSTOM_PARM, picks=chosen(batch_of(3)).picks)
    assert free_positions(choice, ECHOES, RULES) == RULES.batch_size - 3
    assert free_positions(replace(choice, id_kind=IdKind.REQUEST_ID), BLIND, RULES) == RULES.batch_size - 3


@pytest.mark.parametrize(
    ("state", "work"),
    [
        (BLIND, Work.BATCH),
        (replace(ECHOES, one_item_mode=True), Work.BATCH),
        (replace(ECHOES, configuration_refused=True), Work.BATCH),
        (ECHOES, Work.SINGLE),
        (ECHOES, Work.SUSPECTS),
    ],
)
def test_a_query_that_shows_something_about_the_account_leaves_none_free(state: AccountState, work: Work) -> None:
    assert free_positions(Choice(work=work, id_kind=IdKind.CUSTOM_PARM), state, RULES) == 0


# ---- which id kind


def test_a_batch_is_of_the_id_kind_with_the_highest_priorities() -> None:
    waiting = [make_candidate(1), *(make_candidate(i, id_kind=IdKind.CUSTOM_PARM) for i in (2, 3))]
    choice = chosen(waiting, make_state(echoes_custom_parm=True))
    assert (choice.work, choice.id_kind, set(choice.order_ids)) == (Work.BATCH, IdKind.CUSTOM_PARM, {2, 3})


@pytest.mark.parametrize("higher", IdKind)
def test_each_id_kind_gets_at_least_every_fifth_batch_while_it_waits(higher: IdKind) -> None:
    lower = next(kind for kind in IdKind if kind is not higher)
    waiting = [make_candidate(i, id_kind=higher) for i in (1, 2)] + [make_candidate(3, id_kind=lower)]
    given_to = [choice.id_kind for choice in chosen_in_turn(waiting, make_state(echoes_custom_parm=True), 15)]
    for start in range(11):
        assert Counter(given_to[start : start + 5]) == {higher: 4, lower: 1}


def test_the_id_kind_that_was_passed_over_longest_is_chosen_first() -> None:
    state = make_state(batches_without_request_id=4, batches_without_custom_parm=9, echoes_custom_parm=True)
    waiting = [make_candidate(1), make_candidate(2, id_kind=IdKind.CUSTOM_PARM)]
    assert chosen(waiting, state).id_kind is IdKind.CUSTOM_PARM


# ---- whose turn it is


@given(
    st.lists(candidates),
    st.builds(
        make_state,
        turn=st.integers(0, 100),
        echoes_custom_parm=st.booleans(),
        one_item_mode=st.booleans(),
        configuration_refused=st.booleans(),
    ),
)
def test_a_choice_names_due_orders_only_of_one_id_kind_and_no_more_than_a_batch(
    waiting: list[Candidate], state: AccountState
) -> None:
    unique = list({candidate.order_id: candidate for candidate in waiting}.values())
    choice = choose(waiting, state, SCHEDULE, NOW, replace(RULES, batch_size=10))
    assert (choice is None) == (not unique)
    if choice is None or choice.work is Work.SUSPECTS:
        return
    named = [candidate for candidate in unique if candidate.order_id in choice.order_ids]
    most = 1 if state.configuration_refused or choice.work is Work.SINGLE else 10
    assert 1 <= len(choice.order_ids) == len(named) <= most
    assert {candidate.id_kind for candidate in named} == {choice.id_kind}
    if choice.work is Work.BATCH:
        assert {candidate.lane for candidate in named} == {Lane.BATCH}


@given(st.integers(0, 1_000))
def test_unresolved_orders_that_callbacks_made_due_leave_every_second_single_to_pending_ones(turn: int) -> None:
    unresolved = [
        make_candidate(i, lane=Lane.ALONE, due_at=NOW - 9 * WINDOW, check_requested_at=NOW, is_unresolved=True)
        for i in range(1, 6)
    ]
    waiting = [*unresolved, make_candidate(9, lane=Lane.ALONE, due_at=NOW - WINDOW)]
    polled = [chosen(waiting, make_state(turn=turn + later)).order_ids for later in range(2)]
    assert (9,) in polled or turn % 10 == 9


@given(st.integers(0, 10_000))
def test_out_of_any_ten_slots_singles_get_one_suspects_five_and_batches_the_rest(turn: int) -> None:
    waiting = [
        make_candidate(1),
        make_candidate(2, lane=Lane.SUSPECT, suspect_group=5),
        make_candidate(3, lane=Lane.ALONE),
    ]
    given_to = Counter(choice.work for choice in chosen_in_turn(waiting, make_state(turn=turn), 10))
    assert given_to == {Work.SINGLE: 1, Work.SUSPECTS: 5, Work.BATCH: 4}


def test_a_group_of_suspects_is_polled_whole_the_longest_due_first() -> None:
    waiting = [make_candidate(i, lane=Lane.SUSPECT, suspect_group=group) for i, group in ((3, 8), (2, 9), (1, 9))]
    choice = chosen(waiting)
    assert (choice.work, choice.suspect_group, choice.order_ids) == (Work.SUSPECTS, 9, ())


def test_without_echo_orders_known_by_custom_parm_alone_are_polled_one_by_one() -> None:
    waiting = [make_candidate(i, id_kind=IdKind.CUSTOM_PARM) for i in (2, 1, 3)]
    choice = chosen(waiting)
    assert (choice.work, choice.id_kind, choice.order_ids) == (Work.SINGLE, IdKind.CUSTOM_PARM, (1,))
    assert set(chosen(waiting, make_state(echoes_custom_parm=True)).order_ids) == {1, 2, 3}


def test_of_singles_every_second_may_be_a_requested_check() -> None:
    waiting = [make_candidate(1, lane=Lane.ALONE), make_candidate(2, lane=Lane.ALONE, check_requested_at=NOW)]
    waiting.append(make_candidate(3))
    owned = [chosen(waiting, make_state(turn=turn)) for turn in (4, 14, 24, 34)]
    assert [choice.order_ids for choice in owned] == [(2,), (1,), (2,), (1,)]
    assert [choice.picks[0].reason for choice in owned[:2]] == [Reason.CHECKED, Reason.ALONE]


@pytest.mark.parametrize("start", range(5))
def test_small_batches_of_two_id_kinds_starve_no_order_of_either(start: int) -> None:
    """Polled orders are due again, later than the others: one position in twenty is for those, in each kind."""
    waiting = {
        number: make_candidate(number, id_kind=kind, queried_at=queried_at, submitted_at=NOW - timedelta(days=1))
        for number, (kind, queried_at) in enumerate(product(IdKind, (None, NOW - 2 * WINDOW)), 1)
    }
    state, polled = make_state(batches=start, echoes_custom_parm=True), Counter[int]()
    for number in range(250):
        choice = chosen(list(waiting.values()), state, replace(RULES, batch_size=1))
        polled.update(choice.order_ids)
        for order_id in choice.order_ids:
            waiting[order_id] = waiting[order_id]._replace(due_at=NOW - timedelta(minutes=10) + number * WINDOW / 60)
        state = spend(state, choice, NOW, RULES)
    assert set(polled) == {1, 2, 3, 4}


def test_after_a_configuration_error_one_order_is_polled() -> None:
    state = make_state(configuration_refused=True)
    assert len(chosen(batch_of(50), state).order_ids) == 1
    suspects = [make_candidate(i, lane=Lane.SUSPECT, suspect_group=9) for i in (1, 2)]
    choice = chosen(suspects, state)
    assert (choice.order_ids, choice.suspect_group) == ((1,), None)


# ---- platforms that answer one order a query


@pytest.mark.parametrize("lane", Lane)
def test_in_one_item_mode_all_is_singles(lane: Lane) -> None:
    state = make_state(one_item_mode=True, batch_retry_at=NOW + WINDOW)
    for turn in range(10):
        choice = chosen(batch_of(50, lane=lane), replace(state, turn=turn))
        assert (choice.work, choice.order_ids) == (Work.SINGLE, (1,))


@pytest.mark.parametrize("turn", range(10))
def test_in_one_item_mode_a_batch_is_tried_every_60_windows(turn: int) -> None:
    waiting = [*batch_of(50), make_candidate(99, lane=Lane.SUSPECT, suspect_group=1)]
    state = make_state(one_item_mode=True, batch_retry_at=NOW, turn=turn)
    choice = chosen(waiting, state)
    assert (choice.work, len(choice.order_ids), choice.is_batch_retry) == (Work.BATCH, 50, True)
    state = spend(state, choice, NOW, RULES)
    assert state.batch_retry_at == NOW + 60 * WINDOW
    assert chosen(waiting, state).work is Work.SINGLE


def test_one_order_is_no_batch_to_try() -> None:
    choice = chosen(batch_of(1), make_state(one_item_mode=True))
    assert (choice.work, choice.is_batch_retry) == (Work.SINGLE, False)


# ---- what a grant costs


def test_a_granted_batch_counts_for_its_id_kind() -> None:
    state = make_state(turn=8, batches=3, batches_without_request_id=2, batches_without_custom_parm=1)
    by_request_id = spend(state, Choice(work=Work.BATCH, id_kind=IdKind.REQUEST_ID), NOW, RULES)
    assert (by_request_id.turn, by_request_id.batches) == (9, 4)
    assert (by_request_id.batches_without_request_id, by_request_id.batches_without_custom_parm) == (0, 2)
    by_custom_parm = spend(state, Choice(work=Work.BATCH, id_kind=IdKind.CUSTOM_PARM), NOW, RULES)
    assert (by_custom_parm.batches_without_request_id, by_custom_parm.batches_without_custom_parm) == (3, 0)


@pytest.mark.parametrize(("work", "suspect_turns"), [(Work.SUSPECTS, 4), (Work.SINGLE, 3)])
def test_any_other_grant_costs_a_turn_only_one_of_suspects_theirs_too(work: Work, suspect_turns: int) -> None:
    choice = Choice(work=work, id_kind=IdKind.REQUEST_ID)
    spent = spend(make_state(turn=8, suspect_turns=3), choice, NOW, RULES)
    assert spent == make_state(turn=9, suspect_turns=suspect_turns)


# ---- lone suspects


def test_groups_of_suspects_go_before_lone_ones_but_for_every_fifth_slot_of_suspects() -> None:
    waiting = [
        make_candidate(1, lane=Lane.LONE_SUSPECT, suspect_group=4),
        make_candidate(2, lane=Lane.LONE_SUSPECT, suspect_group=6),
        *(make_candidate(order_id, lane=Lane.SUSPECT, suspect_group=8) for order_id in (3, 4)),
    ]
    groups = [choice.suspect_group for choice in chosen_in_turn(waiting, make_state(), 10)]
    assert groups == [8, 8, 8, 8, 4, 8, 8, 8, 8, 4]


def test_lone_suspects_have_all_slots_of_suspects_where_no_group_waits() -> None:
    waiting = [make_candidate(i, lane=Lane.LONE_SUSPECT, suspect_group=2 * i) for i in (1, 2)]
    assert {chosen(waiting, make_state(suspect_turns=turn)).suspect_group for turn in range(5)} == {2}


# ---- batches by customParm after their second ending


def blind_batch(count: int) -> list[Candidate]:
    return batch_of(count, id_kind=IdKind.CUSTOM_PARM)


def test_after_the_second_ending_a_batch_by_custom_parm_is_tried_every_60_windows() -> None:
    state = make_state(echo_endings=2, echo_retry_at=NOW)
    choice = chosen(blind_batch(50), state)
    assert (choice.work, choice.id_kind, len(choice.order_ids)) == (Work.BATCH, IdKind.CUSTOM_PARM, 50)
    spent = spend(state, choice, NOW, RULES)
    assert spent.echo_retry_at == NOW + 60 * WINDOW
    assert chosen(blind_batch(50), spent).work is Work.SINGLE


@pytest.mark.parametrize("endings", [0, 1])
def test_before_the_second_ending_no_batch_by_custom_parm_is_tried(endings: int) -> None:
    assert chosen(blind_batch(50), make_state(echo_endings=endings, echo_retry_at=NOW)).work is Work.SINGLE


def test_a_choice_names_the_buckets_of_either_kind_of_which_more_must_be_read() -> None:
    waiting = [
        make_candidate(100 * index + i, id_kind=kind, age_bucket=bucket, queried_at=NOW - timedelta(hours=1))
        for index, (kind, bucket) in enumerate(
            ((IdKind.REQUEST_ID, 7), (IdKind.CUSTOM_PARM, 3), (IdKind.REQUEST_ID, 3))
        )
        for i in range(PAGE_SIZE if bucket == 7 or kind is IdKind.CUSTOM_PARM else PAGE_SIZE - 1)
    ]
    choice = chosen(waiting, make_state(echoes_custom_parm=True))
    assert set(choice.exhausted) == {(IdKind.REQUEST_ID, 7), (IdKind.CUSTOM_PARM, 3)}


def test_the_first_page_of_each_range_is_read_and_the_last_where_batches_are_chosen() -> None:
    pages = first_pages(ECHOES, NOW, RULES)
    assert [index_range for index_range, _ in pages.first] == list(INDEX_RANGES)
    assert {index_range for index_range, _ in pages.last} == {
        (Lane.BATCH, kind, bucket) for kind in IdKind for bucket in range(1, BUCKETS)
    }
    assert pages.checked == RULES.batch_size


def test_of_orders_that_are_polled_one_by_one_the_first_is_enough() -> None:
    pages = first_pages(BLIND, NOW, RULES)
    most = dict(pages.first)
    assert {most[each] for each in INDEX_RANGES if each[0] is not Lane.BATCH or each[1] is IdKind.CUSTOM_PARM} == {1}
    assert {kind for (_, kind, _), _ in pages.last} == {IdKind.REQUEST_ID}


def test_the_next_page_holds_as_many_as_a_batch() -> None:
    pages = next_pages(((IdKind.REQUEST_ID, 3),), RULES.batch_size)
    assert pages.first == (((Lane.BATCH, IdKind.REQUEST_ID, 3), RULES.batch_size),)
    assert (pages.last, pages.checked) == ((), 0)


def test_the_same_pages_are_the_same_object_so_that_their_statement_is_made_once() -> None:
    assert first_pages(ECHOES, NOW, RULES) is first_pages(ECHOES, NOW, Rules(window_seconds=5.0))
    assert next_pages(((IdKind.REQUEST_ID, 3),), 100) is next_pages(((IdKind.REQUEST_ID, 3),), 100)


@given(turns, st.sets(st.sampled_from(Work), min_size=2))
def test_of_several_kinds_that_wait_none_starves_and_suspects_get_five_of_ten_at_most(
    start: int, waiting: set[Work]
) -> None:
    given_to = Counter(next_work(turn, waiting) for turn in range(start, start + 10))
    assert set(given_to) == waiting
    assert given_to[Work.SUSPECTS] <= 5
    assert Work.BATCH not in waiting or given_to[Work.SINGLE] <= 1


@given(turns, st.lists(st.sets(st.sampled_from([Work.BATCH, Work.SINGLE])), min_size=10, max_size=10))
def test_suspects_get_five_of_ten_at_most_whatever_waits_beside_them(start: int, others: list[set[Work]]) -> None:
    shared = [next_work(start + i, {Work.SUSPECTS, *beside}) for i, beside in enumerate(others) if beside]
    assert shared.count(Work.SUSPECTS) <= 5


@pytest.mark.parametrize("work", Work)
@given(turn=turns)
def test_a_kind_without_work_gives_its_slots_away(work: Work, turn: int) -> None:
    assert next_work(turn, {work}) is work


def test_accounts_of_one_sid_take_turns() -> None:
    assert list(accounts_in_turn(("a", "b", "c"), "a")) == ["b", "c", "a"]
    assert list(accounts_in_turn(("a", "b", "c"), "c")) == ["a", "b", "c"]


@pytest.mark.parametrize("last", [None, "no longer configured"])
def test_without_a_last_one_the_first_account_begins(last: str | None) -> None:
    assert list(accounts_in_turn(("a", "b"), last)) == ["a", "b"]


APART = make_order(2, lane=Lane.ALONE)


@pytest.mark.parametrize(
    ("named", "state", "rules", "why"),
    [
        ([make_order(1), make_order(2)], make_state(), RULES, None),
        ([APART], make_state(one_item_mode=True, configuration_refused=True), replace(RULES, batch_size=1), None),
        ([make_order(1), replace(APART, state=OrderState.FAILED)], make_state(), RULES, None),
        ([make_order(1), APART], make_state(), RULES, "name each alone: id:2"),
        ([make_order(1), make_blind_order(2)], make_state(), RULES, "several accounts or kinds of id"),
        ([make_order(1), make_order(2)], make_state(one_item_mode=True), RULES, "one order a query"),
        ([make_order(1), make_order(2)], make_state(configuration_refused=True), RULES, "one order a query"),
        ([make_order(1), make_order(2)], make_state(), replace(RULES, batch_size=1), "at most 1 orders"),
    ],
    ids=["together", "alone", "a final one", "apart", "kinds", "one item", "after a -205", "too many"],
)
def test_named_orders_are_polled_together_where_a_batch_may_hold_them(
    named: list[Order], state: AccountState, rules: Rules, why: str | None
) -> None:
    said = refuse_together(named, state, rules)
    assert (said is None) if why is None else (said is not None and why in said)
