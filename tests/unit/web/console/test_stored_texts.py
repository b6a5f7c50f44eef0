"""Sentences that are stored in English stand in Chinese on Chinese pages."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from flask import Flask

from tests.unit.domain.builders import NOW, RULES, make_order
from worker.domain.notifications.events import choose_resends
from worker.domain.orders.giving_up import flag_overdue
from worker.domain.orders.operator_acts import cancel, dismiss, reopen, reopen_unresolved, resolve, unless_changed
from worker.domain.queries.after_failure import MAKE_SUSPECTS
from worker.domain.records.acts import Act
from worker.domain.records.notifications import Endpoint, EventType, TransportKind
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Attention, OrderState, Source
from worker.web.console.stored_texts import stored_text

ACT = Act(actor="ann", reason="asked 王", now=NOW)
ENGLISH = re.compile("[a-z]{3}")


@pytest.fixture(autouse=True)
def chinese() -> Iterator[None]:
    with Flask(__name__).test_request_context(headers={"Accept-Language": "zh-CN"}):
        yield


def detail_of(change: Change | str) -> str:
    assert isinstance(change, Change)
    return change.events[-1].detail or ""


def test_what_an_act_has_replaced_is_said_in_chinese_and_the_reason_as_it_was_typed() -> None:
    unresolved = replace(make_order(), state=OrderState.UNRESOLVED, attention=Attention.UNKNOWN_TO_PLATFORM)
    settled = detail_of(resolve(unresolved, ACT, state=OrderState.FAILED, amount=None))
    assert stored_text(settled) == "原为：平台查无此单: asked 王"
    final = replace(make_order(), state=OrderState.SUCCEEDED, settled_by=Source.QUERY, ori_amount=Decimal("2.94"))
    reopened = detail_of(reopen(final, ACT, force=True))
    assert stored_text(reopened) == "原为：成功, 查询, 实际扣款 2.94: asked 王"
    assert stored_text(detail_of(dismiss(unresolved, ACT))) == "平台查无此单: asked 王"
    assert stored_text(detail_of(cancel(unresolved, ACT))) == "asked 王"


def test_what_the_worker_decided_is_said_in_chinese() -> None:
    overdue = stored_text(detail_of(flag_overdue(make_order(), NOW + timedelta(days=365), RULES)))
    suspected = [stored_text(kind.value) for kind in MAKE_SUSPECTS]
    given_up = stored_text("unknown_to_platform: left out of 3 answers in a row")
    assert given_up == "平台查无此单: 连续 3 次应答中缺少该订单"
    assert [one for one in (overdue, *suspected) if ENGLISH.search(one)] == []


def test_a_refusal_is_said_in_chinese() -> None:
    refusal = unless_changed(make_order(), ACT, seen=make_order(remark="x"), decide=cancel)
    assert isinstance(refusal, str)
    assert stored_text(refusal).startswith("订单 ")
    assert stored_text(refusal).endswith("：在此期间已变化")


def test_what_an_act_on_many_orders_refuses_is_said_in_chinese() -> None:
    by_now = reopen_unresolved(replace(make_order(), state=OrderState.CANCELLED), ACT)
    assert isinstance(by_now, str)
    assert stored_text(by_now).endswith("：现在的状态是已取消")


def test_why_nothing_is_sent_once_more_is_said_in_chinese() -> None:
    settled = make_order(1, state=OrderState.SUCCEEDED, settled_by=Source.QUERY, ori_amount=Decimal("2.94"))
    orders = (settled, make_order(2))
    endpoint = Endpoint(
        account="default", transport=TransportKind.WEBHOOK, target_digest="", shown="", events=EventType.FAILED
    )
    without = choose_resends([1, 3], orders, (), {}).refusals
    of_failures = choose_resends([1, 2], orders, (), {"default": endpoint}).refusals
    said = [stored_text(refusal) for refusal in (*without.values(), *of_failures.values())]
    assert len(said) == 4
    names = re.compile(r"RECONCILER_NOTIFY_EVENTS|notify_events|default|order\.succeeded")
    assert [one for one in said if ENGLISH.search(names.sub("", one))] == []


@pytest.mark.parametrize("stored", ["", None, "was late, he said", '{"requestId": "r1"}', "账目已核对"])
def test_what_no_sentence_knows_is_shown_as_it_is(stored: str | None) -> None:
    assert stored_text(stored) == (stored or "")
