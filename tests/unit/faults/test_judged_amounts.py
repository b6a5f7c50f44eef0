"""How the checker decides on amounts where the platform itself answered a false one."""

from typing import Any

import pytest

from tests.faults.checker.evidence import Evidence
from tests.faults.checker.promise import check

_ORDER = {
    "id": 1,
    "account": "default",
    "request_id": "7",
    "custom_parm": None,
    "state": "succeeded",
    "traffic_sts": 1,
    "remark": "成功",
    "ori_amount": "9999.99",
    "settled_by": "query",
    "expected_amount": None,
    "attention": None,
}
_EVENT = {
    "order_id": 1,
    "from_state": "pending",
    "to_state": "succeeded",
    "source": "query",
    "query_id": 1,
    "traffic_sts": "1",
    "remark": "成功",
    "ori_amount": "9999.99",
    "detail": "{}",
}


def violations(*, spoiled: list[tuple[str, str]], amount: str = "9999.99", **order: Any) -> tuple[str, ...]:
    arrival = {"number": 1, "sid": "a", "monotonic": 1.0, "outcome": "answered", "id_kind": "requestId", "ids": ["7"]}
    evidence = Evidence(
        window_seconds=1.0,
        queries_per_window=1,
        arrivals=[arrival | {"items": [("7", "1", "9999.99", "成功")], "answered": [("7", "1")], "spoiled": spoiled}],
        truth={"7": {"settled": True, "outcome": "1", "amount": "2.94"}},
        orders=[_ORDER | order],
        events=[_EVENT | {"ori_amount": amount}],
        queries=[{"id": 1, "outcome": "answered", "polled_ids": "7"}],
        rejected=(),
        kept_callbacks=(),
        changes=(),
    )
    return check(evidence).violations


def test_a_wrong_amount_that_the_platform_never_answered_breaks_the_promise() -> None:
    (violation,) = violations(spoiled=[("7", "duplicate")])
    assert violation == "S2: order 7 has amount 9999.99; the truth is 2.94"


def test_a_wrong_amount_that_the_platform_answered_keeps_the_promise() -> None:
    assert violations(spoiled=[("7", "wrong-amount")]) == ()


@pytest.mark.parametrize("attention", ["amount_mismatch", "conflicting_answer"])
def test_an_order_that_expected_another_amount_needs_attention(attention: str) -> None:
    lie = [("7", "wrong-amount")]
    assert violations(spoiled=lie, expected_amount="2.94", attention=attention) == ()
    (violation,) = violations(spoiled=lie, expected_amount="2.94")
    assert violation.endswith("2.94 was expected, and it has no attention")


def test_an_amount_that_was_never_answered_breaks_the_promise() -> None:
    (violation,) = violations(spoiled=[("7", "wrong-amount")], amount="2.94")
    assert violation.startswith("S5: order 7 was settled by ('1', '9999.99', ")
