from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.builders import ACCEPTED, APP_ID, NOW, leased, make_blind_order, make_order, make_report
from worker.domain.orders.settlement import settle
from worker.domain.orders.verdicts import judge
from worker.domain.records.incoming import Report
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Attention, IdKind, Lane, Order, OrderState, Source, TrafficStatus

SUCCEEDED = make_order(
    state=OrderState.SUCCEEDED,
    traffic_sts=1,
    remark="成功",
    ori_amount=Decimal("2.94"),
    settled_by=Source.QUERY,
    settled_at=NOW - timedelta(minutes=5),
)
FAILED = replace(SUCCEEDED, state=OrderState.FAILED, traffic_sts=TrafficStatus.FAILED, ori_amount=None)

orders = st.builds(
    make_order,
    custom_parm=st.sampled_from([None, "C1"]),
    request_id=st.sampled_from(["R1", "R2"]),
    state=st.sampled_from(OrderState),
    traffic_sts=st.sampled_from([None, 0, 1, -1]),
    ori_amount=st.sampled_from([None, Decimal("2.94"), Decimal(0)]),
    expected_amount=st.sampled_from([None, Decimal("2.94")]),
    attention=st.none() | st.sampled_from(Attention),
    lease_token=st.sampled_from([None, "token"]),
    due_at=st.sampled_from([NOW - timedelta(hours=1), NOW + timedelta(hours=1)]),
)
reports = st.builds(
    make_report,
    custom_parm=st.sampled_from([None, "C1", "C2"]),
    app_id=st.sampled_from([None, APP_ID, "another"]),
    mobile=st.sampled_from([None, "188****0804", "189****0804"]),
    traffic_sts=st.sampled_from([None, "0", "1", "-1", "2"]),
    remark=st.none() | st.sampled_from(["成功", "不存在"]),
    ori_amount=st.sampled_from([None, "2.94", "0", "x", "3"]),
    has_amount_field=st.booleans(),
    fault=st.sampled_from([None, "unreadable"]),
)


def apply_report(order: Order, report: Report, *, is_callback: bool = False) -> Change:
    verdict = judge(order, [report], app_id=APP_ID, polled_by=None if is_callback else IdKind.REQUEST_ID)
    return settle(order, verdict, source=Source.CALLBACK if is_callback else Source.QUERY, now=NOW, query_id=7)


@given(orders, st.lists(reports, min_size=1, max_size=4), st.booleans())
def test_a_final_or_cancelled_order_never_changes_its_state(
    order: Order, said: list[Report], is_callback: bool
) -> None:
    for report in said:
        before, order = order, apply_report(order, report, is_callback=is_callback).after
        assert before.state.may_settle or replace(order, attention=before.attention) == before


@given(orders, reports, st.booleans())
def test_status_remark_and_amount_change_only_with_an_accepted_0_1_or_minus_1(
    order: Order, report: Report, is_callback: bool
) -> None:
    verdict = judge(order, [report], app_id=APP_ID, polled_by=None if is_callback else IdKind.REQUEST_ID)
    after = settle(order, verdict, source=Source.QUERY, now=NOW).after
    if (order.traffic_sts, order.remark, order.ori_amount) != (after.traffic_sts, after.remark, after.ori_amount):
        assert verdict.effect in ACCEPTED
        assert str(after.traffic_sts) == report.traffic_sts


@given(orders, reports, st.booleans())
def test_what_an_order_does_not_take_over_is_in_its_events(order: Order, report: Report, is_callback: bool) -> None:
    change = apply_report(order, report, is_callback=is_callback)
    said = report.traffic_sts and int(report.traffic_sts), report.remark
    taken_over = (change.after.traffic_sts, change.after.remark) == said
    assert taken_over or any(report.words in (event.detail or "") for event in change.events)
    assert change.after.state is change.before.state or change.settles


@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.UNRESOLVED])
@pytest.mark.parametrize(("status", "result"), [("1", OrderState.SUCCEEDED), ("-1", OrderState.FAILED)])
def test_a_result_settles_pending_and_unresolved_orders(state: OrderState, status: str, result: OrderState) -> None:
    suspect = leased(make_order(state=state, lane=Lane.SUSPECT, suspect_group=4, check_requested_at=NOW))
    change = apply_report(suspect, make_report(traffic_sts=status))
    order = change.after
    assert change.settles
    assert (order.state, order.traffic_sts) == (result, int(status))
    assert (order.remark, order.ori_amount) == ("成功", Decimal("2.94"))
    assert (order.settled_by, order.settled_at, order.lease_token) == (Source.QUERY, NOW, None)
    assert (order.lane, order.suspect_group, order.check_requested_at) == (Lane.BATCH, None, None)
    (event,) = change.events
    assert (event.kind, event.from_state, event.to_state, event.query_id) == (EventKind.SETTLED, state, result, 7)
    assert (event.traffic_sts, event.ori_amount, event.source) == (status, "2.94", Source.QUERY)


def test_an_order_still_recharging_keeps_its_state_and_its_lease() -> None:
    order = leased(make_order())
    change = apply_report(order, make_report(traffic_sts="0", remark="充值中"))
    assert change.after == replace(
        order, traffic_sts=TrafficStatus.RECHARGING, remark="充值中", ori_amount=Decimal("2.94")
    )
    assert [event.kind for event in change.events] == [EventKind.REPORTED]


def test_the_same_report_again_is_no_event() -> None:
    order = apply_report(make_order(), make_report(traffic_sts="0")).after
    assert apply_report(order, make_report(traffic_sts="0")) == Change(before=order, after=order)


def test_the_request_id_of_an_accepted_item_is_kept() -> None:
    for status in ("0", "1", "-1"):
        report = make_report(custom_parm="C1", traffic_sts=status)
        assert apply_report(make_blind_order(), report).after.request_id == "R1"
    assert apply_report(make_blind_order(), make_report(traffic_sts="5")).after.request_id is None


def test_a_request_id_that_could_not_be_polled_is_not_kept() -> None:
    assert apply_report(make_blind_order(), make_report(request_id="1,2")).after.request_id is None


def test_what_is_not_believed_leaves_an_event_and_flags_the_order() -> None:
    order = make_order(attention=Attention.TOO_OLD)
    change = apply_report(order, make_report(traffic_sts="5"))
    assert change.after == replace(order, attention=Attention.UNKNOWN_STATUS)
    (event,) = change.events
    assert (event.kind, event.traffic_sts) == (EventKind.NOT_BELIEVED, "5")
    assert "trafficSts" in (event.detail or "")
    assert make_report().words in (event.detail or "")


@pytest.mark.parametrize("order", [SUCCEEDED, FAILED], ids=lambda order: order.state)
def test_a_later_contradiction_of_a_final_state_is_a_late_conflict(order: Order) -> None:
    another_result = "-1" if order.state is OrderState.SUCCEEDED else "1"
    for report in (
        make_report(traffic_sts=another_result),
        make_report(traffic_sts=str(order.traffic_sts), ori_amount="3"),
    ):
        change = apply_report(order, report)
        assert change.after == replace(order, attention=Attention.LATE_CONFLICT)
        assert [event.kind for event in change.events] == [EventKind.CONTRADICTED]


@pytest.mark.parametrize(
    ("order", "fields"),
    [
        (SUCCEEDED, {}),
        (SUCCEEDED, {"ori_amount": "2.9400"}),
        (SUCCEEDED, {"traffic_sts": "0"}),
        (FAILED, {"traffic_sts": "-1", "ori_amount": None}),
        (FAILED, {"traffic_sts": "-1", "ori_amount": "0"}),
        (replace(FAILED, ori_amount=Decimal("2.94")), {"traffic_sts": "-1"}),
        (replace(SUCCEEDED, state=OrderState.CANCELLED), {"traffic_sts": "0"}),
    ],
)
def test_what_contradicts_no_final_state_only_leaves_an_event(order: Order, fields: dict[str, str | None]) -> None:
    change = apply_report(order, make_report(**fields))
    assert change.after == order
    assert [event.kind for event in change.events] == [EventKind.IGNORED]


@pytest.mark.parametrize("status", ["1", "-1"])
def test_a_later_result_of_a_cancelled_order_is_a_late_conflict(status: str) -> None:
    order = make_order(state=OrderState.CANCELLED)
    after = apply_report(order, make_report(traffic_sts=status)).after
    assert after == replace(order, attention=Attention.LATE_CONFLICT)


SILENT = make_report(ori_amount=None, has_amount_field=False)
DENIAL = make_report(traffic_sts="-1", remark="订单不存在", mobile=None, ori_amount="0")


@pytest.mark.parametrize(
    ("said", "attention"),
    [(SILENT, None), (DENIAL, Attention.UNKNOWN_TO_PLATFORM)],
    ids=["a success without an amount", "a denial"],
)
def test_a_callback_that_settles_nothing_makes_a_pending_order_due_now_or_after_its_query(
    said: Report, attention: Attention | None
) -> None:
    order = make_order(due_at=NOW + timedelta(hours=1))
    change = apply_report(order, said, is_callback=True)
    assert change.after == replace(order, due_at=NOW, attention=attention)
    assert [event.kind for event in change.events] == [EventKind.NOT_BELIEVED]
    overdue = make_order()
    assert apply_report(overdue, said, is_callback=True).after == replace(overdue, attention=attention)
    held = leased(overdue)
    after = apply_report(held, said, is_callback=True).after
    assert after == replace(held, check_requested_at=NOW, attention=attention)


def test_an_answer_that_denies_an_order_leaves_its_next_poll_to_the_choice() -> None:
    order = make_order(due_at=NOW + timedelta(hours=1))
    assert apply_report(order, DENIAL).after == replace(order, attention=Attention.UNKNOWN_TO_PLATFORM)


def test_a_callback_that_denies_a_final_order_makes_nothing_due() -> None:
    assert apply_report(SUCCEEDED, DENIAL, is_callback=True).after.due_at == SUCCEEDED.due_at


@pytest.mark.parametrize(
    ("state", "attention"),
    [
        (OrderState.UNRESOLVED, None),
        (OrderState.SUCCEEDED, None),
        (OrderState.FAILED, Attention.LATE_CONFLICT),
        (OrderState.CANCELLED, Attention.LATE_CONFLICT),
    ],
)
def test_a_success_without_an_amount_changes_no_order_that_is_not_pending(
    state: OrderState, attention: Attention | None
) -> None:
    order = make_order(state=state)
    change = apply_report(order, SILENT, is_callback=True)
    assert change.after == replace(order, attention=attention)
    assert len(change.events) == 1


@pytest.mark.parametrize("attention", Attention)
def test_an_order_that_settles_loses_an_attention_that_the_result_explains(attention: Attention) -> None:
    no_result = {Attention.UNKNOWN_STATUS, Attention.UNKNOWN_TO_PLATFORM, Attention.REJECTED_BY_PLATFORM}
    explained = {*no_result, Attention.TOO_OLD, Attention.MOBILE_MISMATCH}
    left = apply_report(make_order(attention=attention), make_report()).after.attention
    assert left is (None if attention in explained else attention)


def test_an_answer_without_a_mobile_does_not_explain_a_mobile_mismatch() -> None:
    order = make_order(attention=Attention.MOBILE_MISMATCH)
    assert apply_report(order, make_report(mobile=None)).after.attention is Attention.MOBILE_MISMATCH


def test_the_graver_of_the_old_and_the_new_attention_is_shown() -> None:
    order = make_order(attention=Attention.MOBILE_MISMATCH, expected_amount=Decimal(3))
    assert apply_report(order, make_report(mobile=None)).after.attention is Attention.AMOUNT_MISMATCH


ECHOED = replace(FAILED, ori_amount=Decimal("2.94"), amount_is_price=True)


def apply_echo(order: Order, report: Report) -> Change:
    verdict = judge(order, [report], app_id=APP_ID, polled_by=None, echoes_price=True)
    return settle(order, verdict, source=Source.CALLBACK, now=NOW)


def test_a_failed_order_holds_its_echoed_price_without_attention() -> None:
    after = apply_echo(make_order(), make_report(traffic_sts="-1")).after
    assert (after.state, after.ori_amount, after.amount_is_price) == (OrderState.FAILED, Decimal("2.94"), True)
    assert (after.charged_amount, after.attention) == (Decimal(0), None)


@pytest.mark.parametrize(
    ("order", "amount"),
    [
        (ECHOED, "0"),
        (ECHOED, "2.94"),
        (ECHOED, None),
        (replace(FAILED, ori_amount=Decimal(0)), "2.94"),
        (FAILED, "2.94"),
        # Settled before the setting was changed.
        (replace(FAILED, ori_amount=Decimal("2.94")), "2.94"),
    ],
)
def test_a_failure_that_costs_nothing_either_way_is_no_contradiction(order: Order, amount: str | None) -> None:
    change = apply_echo(order, make_report(traffic_sts="-1", ori_amount=amount))
    assert change.after == order
    assert [event.kind for event in change.events] == [EventKind.IGNORED]


def test_a_charge_after_an_echoed_price_is_a_contradiction() -> None:
    late = apply_echo(replace(ECHOED, expected_amount=Decimal("2.94")), make_report(traffic_sts="-1", ori_amount="3"))
    assert late.after.attention is Attention.LATE_CONFLICT
    told = apply_report(ECHOED, make_report(traffic_sts="-1", ori_amount="3"), is_callback=True)
    assert told.after.attention is Attention.LATE_CONFLICT
