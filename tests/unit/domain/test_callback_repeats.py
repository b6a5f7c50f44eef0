"""Callbacks that repeat what is recorded of their order: counted beside that event, and without an effect."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.unit.domain.builders import APP_ID, NOW, RULES, make_order
from tests.unit.domain.test_received_callbacks import callback
from worker.domain.callback_repeats import sayings_of, shown_sayings_of
from worker.domain.callbacks import CallbackResult, apply_callbacks, apply_kept_callbacks
from worker.domain.records.incoming import Trust
from worker.domain.records.order_changes import EventKind, Saying
from worker.domain.records.orders import Attention, Order, OrderState

APP_IDS = {"default": APP_ID}
SETTLED = make_order(1, state=OrderState.SUCCEEDED, ori_amount=Decimal("9.80"), settled_at=NOW)


def applied(
    order: Order, *callbacks: dict[str, Any], said: dict[Saying, int] | None = None, times: int = 1
) -> CallbackResult:
    listed = list(enumerate([callback(**fields) for fields in callbacks or ({},)] * times))
    return apply_callbacks(listed, [order], APP_IDS, NOW, RULES, said or {})


def test_what_is_said_again_of_a_settled_order_is_counted_and_not_recorded_again() -> None:
    result = applied(make_order(1), times=3)
    # In one list: the second is recorded, the third counted beside it.
    (change,) = result.changes
    assert [(event.kind, event.repeats) for event in change.events] == [("settled", None), ("ignored", 1)]
    # Later: all of them are counted beside the stored event.
    (ignored,) = set(sayings_of(applied(change.after, times=3).changes))
    later = applied(change.after, said={ignored: 42}, times=3)
    assert ([change.events for change in later.changes], later.repeated) == ([()], {42: 3})


def test_a_dismissed_late_conflict_does_not_come_back_by_the_same_callback() -> None:
    first = applied(SETTLED)
    (change,) = first.changes
    assert change.after.attention is Attention.LATE_CONFLICT
    assert shown_sayings_of(first.changes) == sayings_of(first.changes) != []
    assert shown_sayings_of(applied(change.after).changes) == []
    dismissed = replace(change.after, attention=None)
    said = dict.fromkeys(sayings_of(first.changes), 42)
    again = applied(dismissed, said=said)
    assert ([change.after for change in again.changes], again.repeated) == ([dismissed], {42: 1})
    for trust in Trust:
        (change,) = applied(dismissed, {"oriAmount": "1.00", "trust": trust}, said=said).changes
        assert (change.after.attention, len(change.events)) == (Attention.LATE_CONFLICT, 1)


def test_a_new_word_beside_a_repeated_one_counts_for_itself_alone() -> None:
    said = dict.fromkeys(sayings_of(applied(SETTLED).changes), 42)
    result = applied(SETTLED, {}, {"mobile": "199****0000"}, said=said)
    (change,) = result.changes
    assert (change.after.attention, result.repeated) == (Attention.MOBILE_MISMATCH, {42: 1})
    assert [event.kind for event in change.events] == [EventKind.NOT_BELIEVED]


def test_what_is_said_again_of_a_pending_order_is_recorded_each_time() -> None:
    result = applied(make_order(1), {"trafficSts": "7"}, times=2)
    assert [[event.kind for event in change.events] for change in result.changes] == [["not_believed"] * 2]
    assert sayings_of(result.changes) == []


def test_a_kept_callback_that_came_again_leaves_its_count_with_the_order() -> None:
    kept = replace(callback(), repeats=149)
    matched, result = apply_kept_callbacks([(5, "default", kept)], [make_order(1)], APP_IDS, NOW, RULES)
    assert matched == [5]
    assert [[(event.kind, event.repeats) for event in change.events] for change in result.changes] == [
        [("settled", 149)]
    ]
    (change,) = result.changes
    two = [(6, "default", kept), (7, "default", callback())]
    matched, result = apply_kept_callbacks(two, [change.after], APP_IDS, NOW, RULES)
    assert [[event.repeats for event in change.events] for change in result.changes] == [[150]]
    (ignored,) = set(sayings_of(result.changes))
    _, counted = apply_kept_callbacks(two, [change.after], APP_IDS, NOW, RULES, {ignored: 42})
    assert counted.repeated == {42: 151}
