"""The checker on evidence made by hand: each invariant, kept and broken."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker.evidence import Evidence, Recovery, Sent
from tests.faults.checker.promise import check
from tests.unit.faults.rows import change, order

ROOT = Path(__file__).parents[3]


def arrival(number: int, monotonic: float, *ids: str, said: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "number": number,
        "sid": "sid",
        "monotonic": monotonic,
        "ids": list(ids),
        "id_kind": "requestId",
        "outcome": "answered",
        "items": [[one, said, "2.94", "成功"] for one in ids] if said else [],
        "spoiled": [],
        **fields,
    }


def event(name: str, state: str = "succeeded", **fields: Any) -> dict[str, Any]:
    return {
        "order_id": int(name),
        "from_state": "pending",
        "to_state": state,
        "source": "query",
        "query_id": 1,
        "traffic_sts": {"succeeded": "1", "failed": "-1"}.get(state),
        "remark": "成功",
        "ori_amount": "2.94",
        "detail": "{}",
        **fields,
    }


def truth(name: str, **fields: Any) -> dict[str, dict[str, Any]]:
    default = {"request_id": name, "outcome": "1", "amount": "2.94", "settled": True, "callback": "none"}
    return {name: {**default, **fields}}


def query(number: int, polled: str, outcome: str = "answered") -> dict[str, Any]:
    return {"id": number, "outcome": outcome, "polled_ids": polled}


GOOD = Evidence(
    window_seconds=2.0,
    queries_per_window=1,
    arrivals=[arrival(1, 10.0, "1", said="1"), arrival(2, 12.0, "2", said="0")],
    truth=truth("1") | truth("2", settled=False),
    orders=[order("1"), order("2", "pending", settled_by=None)],
    events=[event("1")],
    queries=[query(1, "1"), query(2, "2")],
    rejected=[{"payload": '{"request_id": "9"}'}],
    kept_callbacks=[],
    changes=[change("1", None, "pending"), change("1", "pending", "succeeded"), change("2", None, "pending")],
    sent=Sent(orders=frozenset({"1", "2"}), refused=frozenset({"9"})),
    recovery=Recovery(healed_at=9.0, bound_seconds=5.0, due=frozenset({"1", "2"})),
)


def test_a_promise_that_was_kept_is_found_kept() -> None:
    verdict = check(GOOD)
    assert verdict.violations == ()
    assert (verdict.smallest_spacing, verdict.recovery_seconds, verdict.queries, verdict.settled) == (2.0, 3.0, 2, 1)


def orders(one: dict[str, Any], state: str = "pending", **two: Any) -> dict[str, Any]:
    return {"orders": [order("1", **one), order("2", state, **two)]}


BROKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "two arrivals within a window": ("S1", {"arrivals": [arrival(1, 10.0, "1", said="1"), arrival(2, 11.999, "2")]}),
    "a final state that the platform never gave": ("S2", {"truth": truth("1", settled=False) | truth("2")}),
    "an order that the platform does not know": ("S2", {"truth": truth("2")}),
    "the other result": ("S2", {"truth": truth("1", outcome="-1") | truth("2")}),
    "another amount": ("S2", {"truth": truth("1", amount="2.95") | truth("2")}),
    "a state that its own status contradicts": ("S2", orders({"traffic_sts": -1})),
    "a final state that changed": ("S2", {"changes": [change("1", "succeeded", "pending")]}),
    "a cancelled order that changed by itself": ("S2", {"changes": [change("1", "cancelled", "succeeded")]}),
    "an order given up on without being polled alone": ("S2", orders({}, "unresolved", settled_by=None)),
    "a charge for a failed order that was never answered": (
        "S2",
        orders({"state": "failed", "ori_amount": "1.00"})
        | {"truth": truth("1", outcome="-1", amount="0.00") | truth("2")},
    ),
    "a final result that was written over": ("S2", {"changes": [change("1", "succeeded", "succeeded")]}),
    "a row that is gone": ("S3", {"changes": [change("7", "pending", None)]}),
    "an order that was sent and is not there": ("S3", {"sent": Sent(orders=frozenset({"1", "3"}))}),
    "a refusal without a record": ("S3", {"sent": Sent(refused=frozenset({"8"}))}),
    "a cancellation without effect": ("S3", {"sent": Sent(cancelled=frozenset({"2"}))}),
    "a callback that came too late, and left no trace": (
        "S3",
        {"sent": Sent(callbacks=({"requestId": "1", "trafficSts": "1"},))},
    ),
    "a callback without a trace": ("S3", {"sent": Sent(callbacks=({"requestId": "2", "trafficSts": "1"},))}),
    "more than 100 ids": ("S4", {"arrivals": [arrival(1, 10.0, *map(str, range(101)))]}),
    "no id": ("S4", {"arrivals": [arrival(1, 10.0)]}),
    "an id twice": ("S4", {"arrivals": [arrival(1, 10.0, "2", "2")]}),
    "an id that no order has": ("S4", {"arrivals": [arrival(1, 10.0, "1", "7")]}),
    "two accounts in one query": (
        "S4",
        {
            "orders": [order("2", "pending", account="a"), order("3", "pending", account="b")],
            "arrivals": [arrival(1, 10.0, "2", "3")],
        },
    ),
    "a settled order without an event": ("S5", {"events": []}),
    "an order settled twice": ("S5", {"events": [event("1"), event("1")]}),
    "another remark than was answered": ("S5", {"events": [event("1", remark="失败")]}),
    "another amount than was answered": ("S5", {"events": [event("1", ori_amount="2.95")]}),
    "a query that was not answered": ("S5", {"queries": [query(1, "1", "timeout")]}),
    "a query that did not poll the order": ("S5", {"queries": [query(1, "2"), query(2, "2")]}),
    "an answer whose words were not kept": ("S5", {"events": [event("1", detail=None)]}),
    "words that neither order nor event holds as they were answered": (
        "S5",
        orders({"remark": "乱码"}) | {"events": [event("1", remark="乱码")]},
    ),
    "an amount that the answer did not hold": (
        "S5",
        orders({"ori_amount": "3.00"})
        | {"events": [event("1", ori_amount="3.00")], "truth": truth("1", amount="3.00") | truth("2")},
    ),
    "an answer that was never given": ("S5", {"arrivals": [arrival(1, 10.0, "1", said="0"), arrival(2, 12.0, "2")]}),
    "a callback that was not sent": (
        "S5",
        {"orders": [order("1", settled_by="callback")], "events": [event("1", source="callback", query_id=None)]},
    ),
    "an order that is not polled again": (
        "L1",
        {"recovery": Recovery(healed_at=12.5, bound_seconds=5.0, due=frozenset({"2"}))},
    ),
    "an order that is polled too late": (
        "L1",
        {"recovery": Recovery(healed_at=9.0, bound_seconds=2.5, due=frozenset({"2"}))},
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_checker_finds(what: str) -> None:
    invariant, fields = BROKEN[what]
    assert invariant in {violation.partition(":")[0] for violation in check(replace(GOOD, **fields)).violations}


def test_another_reason_for_a_person_takes_no_final_state_back() -> None:
    changes = [*GOOD.changes, change("1", "succeeded", "succeeded", None, "late_conflict")]
    assert check(replace(GOOD, changes=changes)).violations == ()


def test_two_queries_a_window_are_checked_against_the_second_before() -> None:
    arrivals = [arrival(number, 10.0 + number * 0.9, "2") for number in range(4)]
    assert check(replace(GOOD, arrivals=arrivals, queries_per_window=2)).smallest_spacing == pytest.approx(1.8)


FALSE: dict[str, Any] = {
    "arrivals": [
        arrival(1, 10.0, "1", items=[("1", "1", "9999.99", "成功")], spoiled=[("1", "wrong-amount")]),
        arrival(2, 12.0, "2", said="0"),
    ],
    "orders": [order("1", ori_amount="9999.99"), order("2", "pending", settled_by=None)],
    "events": [event("1", ori_amount="9999.99")],
}
"""The platform itself answered a false amount."""


def violations(**fields: Any) -> tuple[str, ...]:
    return check(replace(GOOD, **{**FALSE, **fields})).violations


def with_order(**fields: Any) -> dict[str, Any]:
    return {"orders": [FALSE["orders"][0] | fields, FALSE["orders"][1]]}


def test_a_wrong_amount_that_the_platform_answered_keeps_the_promise_and_another_one_breaks_it() -> None:
    assert violations() == ()
    honest = [FALSE["arrivals"][0] | {"spoiled": [("1", "duplicate")]}, FALSE["arrivals"][1]]
    assert violations(arrivals=honest) == ("S2: order 1 has amount 9999.99; the truth is 2.94",)
    (never,) = violations(events=[event("1", ori_amount="2.94")])
    assert never.startswith("S5: order 1 was settled by ('1', '9999.99', ")


@pytest.mark.parametrize("attention", ["amount_mismatch", "conflicting_answer"])
def test_an_order_that_expected_another_amount_needs_attention(attention: str) -> None:
    assert violations(**with_order(expected_amount="2.94", attention=attention)) == ()
    (violation,) = violations(**with_order(expected_amount="2.94"))
    assert violation.endswith("2.94 was expected, and it has no attention")


def test_the_checkers_and_the_recorder_share_no_code_with_the_product() -> None:
    program = (
        "import sys, tests.faults.checker.promise, tests.faults.checker.history, tests.faults.checker.notifications;"
        "import tests.faults.notification_recorder;"
        "sys.exit(any(name.partition('.')[0] in ('worker', 'standardwebhooks') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
