from collections import Counter

import pytest

from worker.demo.plan import MOST_ORDERS, Fate, PlannedOrder, Request, make_plan


def plan_of(orders: int = 100, *, run: str = "demo-1", seed: int = 1) -> list[PlannedOrder]:
    return list(make_plan(Request(orders=orders, seed=seed), run))


@pytest.mark.parametrize("orders", [50, 120, 1000, MOST_ORDERS])
def test_every_fate_occurs_and_each_order_has_an_id_of_its_own(orders: int) -> None:
    plan = plan_of(orders)
    fates = Counter(order.fate for order in plan)
    assert len({order.placing.request_id for order in plan}) == orders
    assert fates[Fate.UNKNOWN] == fates[Fate.WRONG_AMOUNT] == 1
    assert fates[Fate.CALLBACK] > fates[Fate.CALLBACK_LOST] == 0.4 * orders
    assert fates[Fate.STUCK] >= 3


def test_the_fates_depend_on_the_seed_and_the_ids_on_the_run() -> None:
    def fates(plan: list[PlannedOrder]) -> list[object]:
        return [(order.fate, order.placing.outcome, order.placing.settle_after) for order in plan]

    first, second = plan_of(run="demo-1"), plan_of(run="demo-2")
    assert fates(first) == fates(second) != fates(plan_of(seed=2))
    assert not {order.placing.request_id for order in first} & {order.placing.request_id for order in second}


def test_platform_and_billing_system_have_the_same_order_and_one_amount_differs() -> None:
    for order in plan_of(200, run="demo-7"):
        assert order.submission == {
            "account": "demo-7",
            "request_id": order.placing.request_id,
            "mobile": order.placing.mobile,
            "expected_amount": order.submission["expected_amount"],
        }
        assert (order.placing.amount != order.submission["expected_amount"]) is (order.fate is Fate.WRONG_AMOUNT)
        assert order.placing.callback_lost is (order.fate is not Fate.CALLBACK)
        assert order.placing.unknown is (order.fate is Fate.UNKNOWN)
        assert (order.placing.outcome == "stuck") is (order.fate is Fate.STUCK)
