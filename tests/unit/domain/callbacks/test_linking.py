"""Which unmatched callbacks may be linked to an order, and what that changes of it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.domain.builders import APP_ID, NOW, RULES, make_blind_order, make_order, make_report
from worker.domain.callbacks.bodies import Callback
from worker.domain.callbacks.matching import link_callback
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Trust
from worker.domain.records.operators import Act
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Attention, Order, OrderState, Source

ACT = Act(actor="ann", reason="ticket 77", now=NOW)
BLIND = make_blind_order()
APP_IDS = {"default": APP_ID}


def linked(
    order: Order, *named: int, account: str = "default", trust: Trust = Trust.SETTLE, **said: Any
) -> Change | CodedText:
    """The order's change, or why it is refused; the callback names R9 unless `said` has something else."""
    callback = Callback(report=make_report(9, **said), payload={}, payload_text="{}", trust=trust)
    return link_callback(order, (account, callback), named, ACT, APP_IDS, RULES)


def change_of(order: Order, *named: int, **said: Any) -> Change:
    change = linked(order, *named, **said)
    assert isinstance(change, Change)
    return change


def refusal_of(order: Order, *named: int, **said: Any) -> TextCode:
    refused = linked(order, *named, **said)
    assert isinstance(refused, CodedText)
    return refused.code


def test_a_callback_that_shows_the_phone_settles_the_order_and_names_who_linked_it() -> None:
    change = change_of(BLIND)
    assert (change.after.state, change.after.settled_by) == (OrderState.SUCCEEDED, Source.CALLBACK)
    assert (change.after.ori_amount, change.after.request_id) == (Decimal("2.94"), "R9")
    act, result = change.events
    assert (act.kind, act.source, act.actor, act.to_state) == (
        *(EventKind.LINKED, Source.OPERATOR, "ann", OrderState.PENDING),
    )
    assert act.detail == 'unmatched callback {"requestId":"R9"}: ticket 77'
    assert (result.kind, result.source, result.actor) == (EventKind.SETTLED, Source.CALLBACK, None)


def test_a_callback_that_is_only_a_hint_makes_the_order_due_and_settles_nothing() -> None:
    change = change_of(replace(BLIND, due_at=NOW + RULES.windows(9)), trust=Trust.CHECK)
    assert (change.after.state, change.after.due_at) == (OrderState.PENDING, NOW)
    assert [event.kind for event in change.events] == [EventKind.LINKED, EventKind.CHECK_REQUESTED]


def test_what_changes_nothing_is_recorded_as_linked_all_the_same() -> None:
    pending = replace(BLIND, request_id="R1", traffic_sts=None)
    change = change_of(pending, request_id=None, custom_parm="C1", trust=Trust.CHECK, traffic_sts="0")
    assert change.before == change.after
    assert [event.kind for event in change.events] == [EventKind.LINKED]


def test_a_final_order_keeps_its_state_and_shows_a_contradiction() -> None:
    failed = replace(BLIND, state=OrderState.FAILED, settled_by=Source.QUERY, settled_at=NOW)
    change = change_of(failed)
    assert (change.after.state, change.after.attention) == (OrderState.FAILED, Attention.LATE_CONFLICT)


@pytest.mark.parametrize(
    ("order", "said", "code"),
    [
        (make_order(), {}, TextCode.OTHER_REQUEST_ID),
        (BLIND, {"custom_parm": "C9"}, TextCode.OTHER_CUSTOM_PARM),
        (BLIND, {"mobile": "188****0805"}, TextCode.OTHER_MOBILE),
        (BLIND, {"app_id": "app-2"}, TextCode.OTHER_APP_ID),
        (BLIND, {"ori_amount": "x"}, TextCode.AMOUNT_UNREADABLE),
        (BLIND, {"mobile": None}, TextCode.NO_WITNESS),
        (BLIND, {"mobile": "1**********"}, TextCode.NO_WITNESS),
        (make_order(mobile=None), {"request_id": None, "custom_parm": "C9"}, TextCode.NO_WITNESS),
        (replace(BLIND, account="north"), {}, TextCode.OTHER_ACCOUNT),
    ],
)
def test_a_callback_that_is_not_shown_to_be_about_the_order_is_refused(
    order: Order, said: dict[str, Any], code: TextCode
) -> None:
    for trust in Trust:
        assert refusal_of(order, trust=trust, **said) is code


def test_a_callback_that_names_another_known_order_is_refused() -> None:
    assert refusal_of(BLIND, 9) is TextCode.NAMES_OTHER
    assert refusal_of(BLIND, BLIND.id, 9, custom_parm="C1") is TextCode.NAMES_OTHER


def test_a_callback_that_names_the_order_by_now_needs_no_phone() -> None:
    order = make_order(9)
    assert change_of(order, order.id, mobile=None).settles


def test_an_order_whose_account_is_not_in_the_settings_is_refused() -> None:
    assert refusal_of(replace(BLIND, account="north"), account="north") is TextCode.NOT_CONFIGURED
