"""How many single orders share a batch, and how many more messages are prefetched: without Celery."""

import pytest

from worker.messages.single_order_batches import MOST_HELD, MOST_TOGETHER, BatchWindow


def window_with(waiting: int, *, batches_at_once: int = 1) -> BatchWindow:
    window = BatchWindow(batches_at_once)
    for _ in range(waiting):
        window.arrive()
    return window


def test_an_order_that_comes_alone_waits_for_nothing() -> None:
    assert window_with(1).next_batch() == 1


def test_no_batch_is_begun_where_no_order_waits() -> None:
    window = window_with(0)
    assert window.next_batch() == 0
    window.arrive()
    assert window.next_batch() == 1


def test_orders_that_come_while_a_batch_is_under_way_are_the_next_batch() -> None:
    window = window_with(1)
    assert window.next_batch() == 1
    for _ in range(30):
        window.arrive()
    assert window.next_batch() == 0
    window.end_batch(1, succeeded=True)
    assert (window.next_batch(), window.next_batch()) == (30, 0)


def test_a_batch_is_bounded() -> None:
    window = window_with(MOST_TOGETHER + 7)
    assert window.next_batch() == MOST_TOGETHER
    window.end_batch(MOST_TOGETHER, succeeded=True)
    assert window.next_batch() == 7


def test_as_many_batches_as_allowed_are_under_way() -> None:
    window = window_with(1, batches_at_once=2)
    assert window.next_batch() == 1
    window.arrive()
    assert window.next_batch() == 1
    window.arrive()
    assert window.next_batch() == 0


def test_after_a_failure_one_comes_alone_and_then_twice_as_many() -> None:
    window = window_with(MOST_TOGETHER + 400)
    count, counts = window.next_batch(), []
    for succeeded in (False, True, True, True, False, True):
        window.end_batch(count, succeeded=succeeded)
        count = window.next_batch()
        counts.append(count)
    assert counts == [1, 2, 4, 8, 1, 2]


@pytest.mark.parametrize(("waiting", "extra"), [(0, 0), (1, 1), (300, 300), (MOST_HELD, MOST_HELD), (900, MOST_HELD)])
def test_each_order_that_is_held_allows_one_more_prefetched_message_within_a_bound(waiting: int, extra: int) -> None:
    window = window_with(waiting)
    assert window.extra_prefetch == extra
    # Under way it is held as well.
    count = window.next_batch()
    assert window.extra_prefetch == extra
    if count:
        window.end_batch(count, succeeded=True)
        assert window.extra_prefetch == min(waiting - count, MOST_HELD)
