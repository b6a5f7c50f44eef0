from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.records.queries import Work
from worker.domain.slot_shares import accounts_in_turn, next_work

turns = st.integers(0, 1_000_000)


@given(turns)
def test_any_ten_slots_hold_one_single_five_suspects_and_four_batches_while_all_wait(start: int) -> None:
    given_to = Counter(next_work(turn, set(Work)) for turn in range(start, start + 10))
    assert given_to == {Work.SINGLE: 1, Work.SUSPECTS: 5, Work.BATCH: 4}


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
