from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from tests.unit.domain.builders import (
    NOW,
    RULES,
    SENT_AT,
    after,
    answered,
    leased,
    make_order,
    make_report,
)
from worker.domain.orders.operator_acts import (
    Decided,
    account_refusal,
    actor_fault,
    applies,
    cancel,
    check,
    dismiss,
    dismiss_selected,
    most_needed,
    note,
    reason_fault,
    refusal,
    refusal_of_selected,
    reopen,
    reopen_unresolved,
    resolve,
    unless_changed,
)
from worker.domain.orders.settlement import flag_overdue
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.operators import Act, ActEntry, ActKind
from worker.domain.records.order_changes import Change, EventKind, OrderEvent
from worker.domain.records.orders import Attention, Lane, Order, OrderState, Source, TrafficStatus
from worker.domain.scheduling.ages_and_observations import observe_callbacks, observe_polls

ACT = Act(actor="ann", reason="ticket 77", now=NOW)
AMOUNT = Decimal("2.94")
SAID = {"traffic_sts": TrafficStatus.RECHARGING, "remark": "充值中"}
FINAL = (OrderState.SUCCEEDED, OrderState.FAILED)


def changed(decided: Decided) -> Order:
    assert isinstance(decided, Change), decided
    return decided.after


def event_of(decided: Decided) -> OrderEvent:
    assert isinstance(decided, Change), decided
    (event,) = decided.events
    return event


def succeeded(**fields: Any) -> Order:
    settled = {"state": OrderState.SUCCEEDED, "settled_by": Source.QUERY, "settled_at": NOW, "ori_amount": AMOUNT}
    return make_order(**{**settled, "traffic_sts": TrafficStatus.RECHARGED, "remark": "成功", **fields})


@pytest.mark.parametrize("name", ["ann", "a" * 64, "王小明", "ann of finance", "-dash"])
def test_a_name_is_any_short_text_on_one_line(name: str) -> None:
    assert actor_fault(name) is None


@pytest.mark.parametrize("name", ["", " ann", "ann ", "a" * 65, "an\nn", "an\x00n", "\ud800", "a\u2028b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    assert str(actor_fault(name)).startswith("is no name; accepted: 1 to 64 characters")


@pytest.mark.parametrize(
    ("reason", "is_one"), [("ticket 77", True), ("  ", False), ("x" * 1001, False), ("a\nb", False)]
)
def test_a_reason_says_something_on_one_line(reason: str, is_one: bool) -> None:
    assert (reason_fault(reason) is None) is is_one


def test_the_detail_holds_what_there_is() -> None:
    was = CodedText(TextCode.ATTENTION_WAS, attention=Attention.TOO_OLD)
    assert ACT.detail(was) == "was too_old: ticket 77"
    assert ACT.detail() == "ticket 77"
    assert replace(ACT, reason=None).detail(was) == "was too_old"
    assert replace(ACT, reason=None).detail() is None


# ---- resolve


@pytest.mark.parametrize("before", [OrderState.PENDING, OrderState.UNRESOLVED, OrderState.CANCELLED])
@pytest.mark.parametrize(("state", "amount"), [(OrderState.SUCCEEDED, AMOUNT), (OrderState.FAILED, None)])
def test_what_is_not_final_is_resolved_by_an_operators_word(
    before: OrderState, state: OrderState, amount: Decimal | None
) -> None:
    order = make_order(state=before, attention=Attention.TOO_OLD, ori_amount=Decimal(1), **SAID)
    decided = resolve(order, ACT, state=state, amount=amount)
    assert changed(decided) == replace(
        order, state=state, settled_by=Source.OPERATOR, settled_at=NOW, ori_amount=amount, attention=None
    )
    event = event_of(decided)
    assert (event.kind, event.source, event.actor) == (EventKind.SETTLED, Source.OPERATOR, "ann")
    assert (event.from_state, event.to_state, event.detail) == (before, state, "was too_old: ticket 77")
    assert event.ori_amount == (None if amount is None else "2.94")


def test_a_resolved_order_is_polled_no_more() -> None:
    order = leased(make_order(lane=Lane.SUSPECT, suspect_group=3, check_requested_at=NOW))
    decided = resolve(order, ACT, state=OrderState.FAILED, amount=None)
    after_it = changed(decided)
    assert (after_it.lane, after_it.suspect_group, after_it.lease_token) == (Lane.BATCH, None, None)
    assert after_it.check_requested_at is None
    assert event_of(decided).detail == "ticket 77"


# ---- reopen


@pytest.mark.parametrize("state", [OrderState.UNRESOLVED, OrderState.CANCELLED])
def test_what_was_not_settled_is_reopened(state: OrderState) -> None:
    order = make_order(state=state, attention=Attention.TOO_OLD, dismissed_at=NOW)
    decided = reopen(order, ACT)
    assert changed(decided).state is OrderState.PENDING
    event = event_of(decided)
    assert (event.kind, event.source, event.actor) == (EventKind.REOPENED, Source.OPERATOR, "ann")
    assert (event.from_state, event.to_state) == (state, OrderState.PENDING)
    assert event.detail == f"was {state.value}, too_old: ticket 77"


def test_what_an_operator_settled_is_reopened() -> None:
    decided = reopen(succeeded(settled_by=Source.OPERATOR), ACT)
    assert event_of(decided).detail == "was succeeded, by operator, charged 2.94: ticket 77"


@pytest.mark.parametrize(
    ("settled_by", "who"), [(Source.QUERY, "a query"), (Source.CALLBACK, "a callback"), (None, "the platform")]
)
def test_what_the_platform_settled_is_reopened_by_force_only(settled_by: Source | None, who: str) -> None:
    order = succeeded(settled_by=settled_by)
    refusal = f"order default:R1: was settled by {who}; ask the platform first, then reopen it by force"
    assert reopen(order, ACT) == refusal
    assert changed(reopen(order, ACT, force=True)).state is OrderState.PENDING


def test_a_reopened_order_is_as_one_of_which_nothing_was_heard() -> None:
    order = succeeded(
        attention=Attention.LATE_CONFLICT,
        lane=Lane.ALONE,
        suspect_group=4,
        age_bucket=9,
        queried_at=NOW,
        query_count=7,
        check_requested_at=NOW,
        lease_token="old",
        absences=3,
        absence_mark=2,
        batch_failures=1,
        unavailable_failures=2,
        failures_alone=3,
        failure_mark=4,
        failure_mark_any=5,
        denials=2,
        first_denied_at=NOW,
        denial_mark=6,
        dismissed_at=NOW,
    )
    kept = {"queried_at": NOW, "query_count": 7, "age_bucket": 9}
    fresh = make_order(due_at=NOW, reopened_at=NOW, **kept)
    assert changed(reopen(order, ACT, force=True, is_polled_next=False)) == fresh
    assert changed(reopen(order, ACT, force=True)) == replace(fresh, check_requested_at=NOW)


def test_its_age_limit_counts_from_then() -> None:
    limit = timedelta(seconds=RULES.unresolved_after_seconds)
    old = make_order(state=OrderState.UNRESOLVED, submitted_at=NOW - 5 * limit)
    just = replace(changed(reopen(old, ACT)), reopened_at=SENT_AT - limit + timedelta(seconds=1))
    assert after(answered([just], [make_report(traffic_sts="0")])).state is OrderState.PENDING
    long_ago = replace(just, reopened_at=SENT_AT - limit)
    assert after(answered([long_ago], [make_report(traffic_sts="0")])).state is OrderState.UNRESOLVED
    assert flag_overdue(just, NOW, RULES).after == just


def test_it_teaches_nothing() -> None:
    young = make_order(state=OrderState.UNRESOLVED, created_at=NOW - timedelta(hours=1))
    order = changed(reopen(young, ACT))
    end = answered([order], [make_report()], sent_at=NOW)
    assert after(end).state is OrderState.SUCCEEDED
    assert not end.observations.polls
    polled = replace(order, queried_at=NOW)
    assert not observe_polls([Change(before=polled, after=after(end))], NOW, RULES).polls
    assert observe_callbacks([Change(before=order, after=after(end))], NOW, RULES) == {}


# ---- cancel, dismiss, check


@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.UNRESOLVED])
def test_what_may_still_settle_is_cancelled(state: OrderState) -> None:
    decided = cancel(leased(make_order(state=state)), ACT)
    assert changed(decided) == replace(leased(make_order()), state=OrderState.CANCELLED, lease_token=None)
    event = event_of(decided)
    assert (event.kind, event.source, event.actor) == (EventKind.CANCELLED, Source.OPERATOR, "ann")


NOT_UNRESOLVED = [state for state in OrderState if state is not OrderState.UNRESOLVED]


@pytest.mark.parametrize("state", NOT_UNRESOLVED)
def test_an_attention_is_dismissed_in_any_state_but_unresolved(state: OrderState) -> None:
    order = make_order(state=state, attention=Attention.AMOUNT_MISMATCH)
    decided = dismiss(order, ACT)
    assert changed(decided) == replace(order, attention=None)
    event = event_of(decided)
    assert (event.kind, event.detail) == (EventKind.DISMISSED, "amount_mismatch: ticket 77")
    assert (event.from_state, event.to_state, event.actor) == (state, state, "ann")


def test_a_dismissed_attention_comes_back_with_a_new_event_and_not_by_age_alone() -> None:
    long_ago = NOW - timedelta(days=30)
    overdue = make_order(submitted_at=long_ago, attention=Attention.TOO_OLD)
    dismissed = changed(dismiss(overdue, ACT))
    assert flag_overdue(dismissed, NOW, RULES).events == ()
    end = answered([dismissed], [make_report(traffic_sts="7")])
    assert after(end).attention is Attention.UNKNOWN_STATUS
    # Made pending again, it may become overdue again.
    reopened = changed(reopen(replace(dismissed, state=OrderState.UNRESOLVED), replace(ACT, now=long_ago)))
    assert flag_overdue(reopened, NOW, RULES).after.attention is Attention.TOO_OLD


def test_what_was_dismissed_for_another_reason_is_still_flagged_as_overdue() -> None:
    order = make_order(submitted_at=NOW - timedelta(days=30), attention=Attention.MOBILE_MISMATCH)
    assert flag_overdue(changed(dismiss(order, ACT)), NOW, RULES).after.attention is Attention.TOO_OLD


def test_a_pending_order_is_checked_next() -> None:
    decided = check(make_order(due_at=NOW + timedelta(hours=1)), ACT)
    assert changed(decided) == make_order(due_at=NOW, check_requested_at=NOW)
    event = event_of(decided)
    assert (event.kind, event.source, event.actor) == (EventKind.CHECK_REQUESTED, Source.OPERATOR, "ann")


def test_a_check_waits_for_the_query_that_is_under_way() -> None:
    held = leased(make_order())
    assert changed(check(held, ACT)) == replace(held, check_requested_at=NOW)


fail = partial(resolve, state=OrderState.FAILED, amount=None)


@pytest.mark.parametrize(
    ("decide", "states", "why"),
    [
        (fail, FINAL, "is {} already; reopen it first"),
        (cancel, FINAL, "is {} already; reopen it first"),
        (cancel, [OrderState.CANCELLED], "is {} already"),
        (partial(reopen, force=True), [OrderState.PENDING], "is {} already"),
        (check, [*FINAL, OrderState.UNRESOLVED, OrderState.CANCELLED], "is {}, not pending; reopen it first"),
        (dismiss, NOT_UNRESOLVED, "has no attention to dismiss"),
        (dismiss, [OrderState.UNRESOLVED], "is {} and needs a person; resolve, reopen or cancel it"),
    ],
)
def test_an_act_is_refused_in_words_that_name_the_order(
    decide: Callable[[Order, Act], Decided], states: Iterable[OrderState], why: str
) -> None:
    for state in states:
        assert decide(make_order(state=state), ACT) == f"order default:R1: {why.format(state.value)}"


def test_an_unresolved_order_that_a_filter_selected_waits_for_its_turn() -> None:
    reopened = changed(reopen_unresolved(make_order(state=OrderState.UNRESOLVED), ACT))
    assert (reopened.state, reopened.due_at, reopened.check_requested_at) == (OrderState.PENDING, ACT.now, None)


def test_an_order_that_somebody_has_decided_about_since_is_not_reopened_by_a_filter() -> None:
    refused = reopen_unresolved(make_order(state=OrderState.CANCELLED), ACT)
    assert isinstance(refused, str)
    assert refused.endswith(": is cancelled by now")


def test_what_an_operator_has_not_seen_is_not_acted_on() -> None:
    seen = make_order(state=OrderState.UNRESOLVED, version=7)
    assert isinstance(unless_changed(seen, ACT, seen=seen, decide=cancel), Change)
    refused = unless_changed(replace(seen, remark="充值中"), ACT, seen=seen, decide=cancel)
    assert isinstance(refused, str)
    assert refused.endswith(": has changed meanwhile")


def test_a_poll_that_brought_no_news_is_no_difference() -> None:
    seen = make_order(version=7)
    polled = replace(seen, version=8, query_count=1, queried_at=NOW, due_at=NOW, absences=1, age_bucket=3)
    assert isinstance(unless_changed(polled, ACT, seen=seen, decide=cancel), Change)


def test_an_attention_that_a_filter_has_selected_is_dismissed_unless_it_is_another_one_since() -> None:
    order = make_order(attention=Attention.TOO_OLD)
    assert changed(dismiss_selected(order, ACT, reason=Attention.TOO_OLD)).attention is None
    for since in (None, Attention.LATE_CONFLICT):
        refused = dismiss_selected(replace(order, attention=since), ACT, reason=Attention.TOO_OLD)
        assert refused == "order default:R1: has not too_old any more"


def test_an_order_of_an_account_outside_the_settings_is_not_to_be_polled() -> None:
    assert account_refusal("default", {"default"}) is None
    refused = account_refusal("shop", {"default"})
    assert refused == "its account shop is not in the settings, so no worker polls it"


@pytest.mark.parametrize("attention", [None, Attention.AMOUNT_MISMATCH])
@pytest.mark.parametrize("state", OrderState)
def test_an_act_applies_to_the_orders_that_its_decision_takes(state: OrderState, attention: Attention | None) -> None:
    order = make_order(state=state, settled_by=Source.OPERATOR if state.is_final else None, attention=attention)
    for kind, decided in (
        (ActKind.RESOLVE, resolve(order, ACT, state=OrderState.FAILED, amount=None)),
        (ActKind.REOPEN, reopen(order, ACT)),
        (ActKind.CANCEL, cancel(order, ACT)),
        (ActKind.DISMISS, dismiss(order, ACT)),
        (ActKind.CHECK, check(order, ACT)),
        (ActKind.NOTE, note(order, ACT)),
    ):
        assert applies(kind, state, attention) is isinstance(decided, Change), kind
    assert (refusal(ActKind.RESEND, order) is None) is (state is not OrderState.PENDING)


def test_the_record_of_an_act_says_who_did_it_when_and_why() -> None:
    entry = ActEntry(at=NOW, actor="ann", act=ActKind.PAUSE, account="a", reason="ticket 77", detail="paused")
    assert ACT.entry(ActKind.PAUSE, "a", "paused") == entry


def test_a_note_is_kept_in_the_history_under_its_writers_name_and_changes_nothing() -> None:
    for order in (make_order(), succeeded(), make_order(state=OrderState.CANCELLED, attention=Attention.LATE_CONFLICT)):
        decided = note(order, ACT)
        assert changed(decided) == order
        event = event_of(decided)
        assert (event.kind, event.source, event.actor, event.detail) == (
            *(EventKind.NOTE, Source.OPERATOR, "ann", "ticket 77"),
        )
        assert (event.from_state, event.to_state, event.at) == (order.state, order.state, NOW)


@pytest.mark.parametrize(
    ("state", "attention", "act"),
    [
        (OrderState.UNRESOLVED, Attention.TOO_OLD, ActKind.RESOLVE),
        (OrderState.UNRESOLVED, None, ActKind.RESOLVE),
        (OrderState.PENDING, Attention.UNKNOWN_STATUS, ActKind.RESOLVE),
        (OrderState.PENDING, None, ActKind.CHECK),
        *((state, Attention.LATE_CONFLICT, None) for state in (*FINAL, OrderState.CANCELLED)),
    ],
)
def test_each_order_has_the_act_that_it_needs_most_and_a_final_one_none(
    state: OrderState, attention: Attention | None, act: ActKind | None
) -> None:
    assert most_needed(state, attention) is act
    assert act is None or applies(act, state, attention)


def test_a_selected_order_is_acted_on_only_as_it_was_shown() -> None:
    order = make_order(7, state=OrderState.UNRESOLVED, attention=Attention.TOO_OLD)
    shown = {7: (OrderState.UNRESOLVED, Attention.TOO_OLD)}
    assert refusal_of_selected(order, shown, changed=()) is None
    refused = CodedText(TextCode.HAS_CHANGED, order=str(order.key))
    assert refusal_of_selected(order, shown, changed={7}) == refused
    for otherwise in (
        replace(order, attention=Attention.LATE_CONFLICT),
        replace(order, state=OrderState.PENDING),
        replace(order, id=8),
    ):
        assert refusal_of_selected(otherwise, shown, changed=()) == refused


def test_the_record_of_an_act_has_its_orders_and_which_act_they_are_of() -> None:
    entry = replace(ACT, key="k").entry(ActKind.CHECK, "default", None, [7, 12])
    assert (entry.act_key, entry.order_ids) == ("k", (7, 12))
    entry = ACT.entry(ActKind.PAUSE, "default", None)
    assert (entry.act_key, entry.order_ids) == (None, ())
