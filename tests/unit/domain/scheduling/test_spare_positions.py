"""Orders that are not due take positions that no due order needs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import NOW, RULES, SCHEDULE, WINDOW, make_candidate
from worker.domain.choose_batch import choose, fill, free_positions, spare_pages
from worker.domain.records.accounts import AccountState
from worker.domain.records.candidates import Candidate, Choice, Pick, Reason
from worker.domain.records.orders import Lane
from worker.domain.records.queries import Work
from worker.domain.records.reports import IdKind
from worker.domain.scheduling.spare_positions import fill_spare_positions

STATE = AccountState(account="default")


def polled(order_id: int, *, at_age: float, ago: float) -> Candidate:
    """A spare order, last polled so many windows ago at an age of so many windows."""
    polled_at = NOW - ago * WINDOW
    return make_candidate(
        order_id, submitted_at=polled_at - at_age * WINDOW, queried_at=polled_at, due_at=NOW + WINDOW, age_bucket=5
    )


spares = st.lists(
    st.builds(
        lambda order_id, at_age, ago: polled(order_id, at_age=at_age, ago=ago),
        st.integers(1, 500),
        st.floats(0, 5_000),
        st.floats(0, 500),
    ),
    unique_by=lambda candidate: candidate.order_id,
)
due = st.lists(
    st.builds(lambda order_id: make_candidate(order_id, due_at=NOW), st.integers(1_000, 1_300)),
    unique_by=lambda candidate: candidate.order_id,
    min_size=1,
    max_size=120,
)


def spare_ids(candidates: list[Candidate], free: int = 100) -> list[int]:
    return [pick.order_id for pick in fill_spare_positions(candidates, free, SCHEDULE, NOW, RULES)]


@given(spares, st.integers(0, 100))
def test_no_order_is_polled_within_a_window_or_a_hundredth_of_its_age(candidates: list[Candidate], free: int) -> None:
    by_id = {candidate.order_id: candidate for candidate in candidates}
    chosen = spare_ids(candidates, free)
    assert len(chosen) == len(set(chosen)) <= free
    for order_id in chosen:
        queried_at = by_id[order_id].queried_at
        assert queried_at is not None
        assert NOW - queried_at >= WINDOW
        assert NOW - queried_at >= (queried_at - by_id[order_id].submitted_at) / 100


@given(due, spares)
def test_a_spare_order_displaces_no_due_one(waiting: list[Candidate], candidates: list[Candidate]) -> None:
    choice = choose(waiting, STATE, SCHEDULE, NOW, RULES)
    assert choice is not None
    filled = fill(choice, candidates, free_positions(choice, STATE, RULES), SCHEDULE, NOW, RULES)
    assert filled.picks[: len(choice.picks)] == choice.picks
    assert len(filled.picks) <= RULES.batch_size
    assert filled.spare_ids == {pick.order_id for pick in filled.picks[len(choice.picks) :]}
    assert filled.spare_ids <= {candidate.order_id for candidate in candidates}


def test_those_come_first_whose_last_poll_is_longest_ago_for_their_age_at_it() -> None:
    old, young, middle = polled(1, at_age=100, ago=50), polled(2, at_age=10, ago=20), polled(3, at_age=10, ago=10)
    assert spare_ids([old, young, middle]) == [2, 3, 1]
    assert spare_ids([old, young, middle], free=1) == [2]


def test_of_two_alike_the_one_that_was_added_first_is_polled() -> None:
    assert spare_ids([polled(number, at_age=10, ago=5) for number in (9, 3, 7)], free=2) == [3, 7]


def test_an_order_polled_at_an_age_of_nothing_counts_as_a_window_old() -> None:
    assert spare_ids([polled(1, at_age=0, ago=2), polled(2, at_age=1, ago=3)]) == [2, 1]


def test_an_order_that_was_never_polled_waits_for_its_callback() -> None:
    assert spare_ids([make_candidate(1, submitted_at=NOW - 90 * WINDOW, due_at=NOW + WINDOW)]) == []


def test_a_spare_pick_has_its_reason_and_its_poll_priority() -> None:
    (pick,) = fill_spare_positions([polled(1, at_age=20, ago=10)], 5, SCHEDULE, NOW, RULES)
    assert (pick.order_id, pick.reason, pick.priority > 0) == (1, Reason.SPARE, True)


BATCH = Choice(
    work=Work.BATCH, id_kind=IdKind.REQUEST_ID, picks=tuple(Pick(order_id=n, reason=Reason.PRIORITY) for n in range(40))
)


def test_a_batch_leaves_free_what_due_orders_do_not_need() -> None:
    assert free_positions(BATCH, STATE, RULES) == RULES.batch_size - 40


@pytest.mark.parametrize(
    ("choice", "state"),
    [
        pytest.param(BATCH, replace(STATE, one_item_mode=True), id="the platform answers one order a query"),
        pytest.param(BATCH, replace(STATE, configuration_refused=True), id="one order is polled until a success"),
        pytest.param(replace(BATCH, id_kind=IdKind.CUSTOM_PARM), STATE, id="a batch by customParm is tried"),
        pytest.param(replace(BATCH, work=Work.SINGLE, picks=BATCH.picks[:1]), STATE, id="a single"),
        pytest.param(replace(BATCH, work=Work.SUSPECTS, picks=(), suspect_group=1), STATE, id="suspects"),
    ],
)
def test_no_other_query_has_free_positions(choice: Choice, state: AccountState) -> None:
    assert free_positions(choice, state, RULES) == 0


def test_batches_by_custom_parm_have_them_once_the_account_is_seen_to_echo() -> None:
    by_custom_parm = replace(BATCH, id_kind=IdKind.CUSTOM_PARM)
    assert free_positions(by_custom_parm, replace(STATE, echoes_custom_parm=True), RULES) == RULES.batch_size - 40


def test_without_a_due_order_no_query_is_sent() -> None:
    assert choose([], STATE, SCHEDULE, NOW, RULES) is None


def test_a_full_batch_takes_none() -> None:
    full = replace(BATCH, picks=tuple(Pick(order_id=n, reason=Reason.PRIORITY) for n in range(RULES.batch_size)))
    assert fill(full, [polled(500, at_age=1, ago=9)], 0, SCHEDULE, NOW, RULES) == full


def test_an_order_in_another_lane_is_never_read_for_them() -> None:
    pages = spare_pages(IdKind.REQUEST_ID)
    assert {(lane, kind) for (lane, kind, _), _ in pages.not_due} == {(Lane.BATCH, IdKind.REQUEST_ID)}
    assert min(bucket for (_, _, bucket), _ in pages.not_due) == 1, "bucket 0 holds those that were never polled"
