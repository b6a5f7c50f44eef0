"""The checker where an operator acted: it accepts what the operator did, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checker.evidence import Evidence
from tests.faults.checker.promise import check
from tests.unit.faults.rows import change, order
from tests.unit.faults.test_judge import GOOD, arrival, event

REOPENED = [*GOOD.changes, change("1", "succeeded", "pending"), change("1", "pending", "succeeded")]
SETTLED_AGAIN = {"changes": REOPENED, "events": [event("1"), event("1")]}
BY_HAND = order("1", traffic_sts=None, ori_amount="3.5000", remark=None, settled_by="operator")
SAID = {"resolved": {"1": ("succeeded", "3.50")}}


def found(sent: dict[str, Any], **fields: Any) -> set[str]:
    evidence: Evidence = replace(GOOD, sent=replace(GOOD.sent, **sent), **fields)
    return {violation.partition(":")[0] for violation in check(evidence).violations}


def resolved(order_by_hand: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    settled = event("1", source="operator", query_id=None, detail=None)
    orders = [order_by_hand or BY_HAND, order("2", "pending", settled_by=None)]
    return {"orders": orders, "events": [settled], **fields}


def test_an_order_that_was_reopened_settles_once_more() -> None:
    assert found({"reopened": ("1",)}, **SETTLED_AGAIN) == set()


@pytest.mark.parametrize("names", [(), ("2",)])
def test_an_order_that_was_not_reopened_may_not(names: tuple[str, ...]) -> None:
    assert found({"reopened": names}, **SETTLED_AGAIN) == {"S2", "S5"}


def test_reopened_once_it_may_not_become_pending_twice() -> None:
    again = [*REOPENED, change("1", "succeeded", "pending"), change("1", "pending", "succeeded")]
    assert found({"reopened": ("1",)}, changes=again, events=[event("1"), event("1")]) == {"S2"}


def test_reopened_it_may_not_become_another_final_state_at_once() -> None:
    assert found({"reopened": ("1",)}, changes=[*GOOD.changes, change("1", "succeeded", "failed")]) == {"S2"}


def test_what_an_operator_said_needs_no_answer_of_the_platform() -> None:
    arrivals = [arrival(1, 10.0, "1", said="0"), arrival(2, 12.0, "2", said="0")]
    assert found(SAID, **resolved(arrivals=arrivals)) == set()


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        ({}, {}),
        (SAID, {"state": "failed"}),
        (SAID, {"ori_amount": "3.51"}),
        ({"resolved": {"2": ("succeeded", "3.50")}}, {}),
    ],
    ids=["never said", "another state", "another amount", "another order"],
)
def test_an_operators_word_that_was_not_given_is_found(sent: dict[str, Any], fields: dict[str, Any]) -> None:
    assert "S2" in found(sent, **resolved(BY_HAND | fields))


@pytest.mark.parametrize(("sent", "broken"), [(SAID, set()), ({}, {"S2"})], ids=["by an operator", "by itself"])
def test_a_cancelled_order_is_settled_by_an_operator_alone(sent: dict[str, Any], broken: set[str]) -> None:
    changes = [change("1", "pending", "cancelled"), change("1", "cancelled", "succeeded")]
    assert found(sent, **resolved(changes=changes)) == broken


def test_a_cancelled_order_may_be_pending_once_it_was_reopened() -> None:
    changes = [change("2", "pending", "cancelled"), change("2", "cancelled", "pending")]
    cancelled = {"cancelled": frozenset({"2"})}
    assert found({**cancelled, "reopened": ("2",)}, changes=changes) == set()
    assert found(cancelled, changes=changes) == {"S2", "S3"}
