from pathlib import Path

import pytest

from worker.demo.plan import FEWEST_ORDERS, MOST_ORDERS, Fate, Plan, Request, make_plan
from worker.demo.stage import Stage


def plan_of(orders: int, *, run: str = "demo-1", seed: int = 1) -> Plan:
    return make_plan(name=run, orders=orders, window=2.0, seed=seed)


@pytest.mark.parametrize("orders", [FEWEST_ORDERS, 120, 1000, MOST_ORDERS])
def test_every_order_is_in_one_list_and_every_fate_occurs(orders: int) -> None:
    plan = plan_of(orders)
    assert len(plan.orders) == orders
    assert len({order.request_id for order in plan.orders}) == orders
    assert all(1 <= len(listed) <= 1000 for listed in plan.lists)
    assert plan.count(Fate.UNKNOWN) == plan.count(Fate.WRONG_AMOUNT) == 1
    assert plan.count(Fate.CALLBACK) > plan.count(Fate.CALLBACK_LOST) > 0
    assert plan.count(Fate.CALLBACK_LOST) == 0.4 * orders
    assert plan.settling == orders - plan.count(Fate.STUCK) - 1


@pytest.mark.parametrize("orders", [FEWEST_ORDERS - 1, MOST_ORDERS + 1])
def test_a_number_of_orders_that_cannot_be_run_is_refused(orders: int) -> None:
    with pytest.raises(ValueError, match=f"not {orders}"):
        plan_of(orders)


def test_the_fates_depend_on_the_seed_and_the_ids_on_the_run() -> None:
    def fates(plan: Plan) -> list[tuple[Fate, bool, float]]:
        return [(order.fate, order.fails, order.settle_after) for order in plan.orders]

    assert fates(plan_of(100, run="demo-1")) == fates(plan_of(100, run="demo-2"))
    assert fates(plan_of(100, seed=1)) != fates(plan_of(100, seed=2))
    first, second = (plan_of(100, run=run).orders for run in ("demo-1", "demo-2"))
    assert not {order.request_id for order in first} & {order.request_id for order in second}


def test_what_the_platform_is_told_follows_from_the_fate() -> None:
    orders = [(order, order.placing()) for order in plan_of(200).orders]
    other = [
        order.fate for order, placing in orders if placing.get("amount", order.expected_amount) != order.expected_amount
    ]
    assert other == [Fate.WRONG_AMOUNT]
    for order, placing in orders:
        assert placing["callback_lost"] is (order.fate is not Fate.CALLBACK)
        assert placing["unknown"] is (order.fate is Fate.UNKNOWN)
        assert (placing["outcome"] == "stuck") is (order.fate is Fate.STUCK)


def test_a_submission_names_the_account_of_the_run_and_shows_no_fate() -> None:
    plan = plan_of(100, run="demo-7")
    for order in plan.orders:
        submission = order.submission(plan.account)
        assert submission.keys() == {"account", "request_id", "mobile", "expected_amount"}
        assert submission["account"] == "demo-7"
        assert len(submission["mobile"]) == 11


@pytest.mark.parametrize(("window", "margin", "deadline", "tick"), [(2.0, 0.1, 1.0, 0.2), (0.5, 0.05, 1.0, 0.1)])
def test_durations_scale_with_the_window_as_far_as_settings_and_machines_allow(
    tmp_path: Path, window: float, margin: float, deadline: float, tick: float
) -> None:
    with Stage(Request(window=window), folder=tmp_path, name="demo", check=lambda: None) as stage:
        settings = stage.settings
    assert (settings.query_margin_seconds, settings.request_deadline_seconds) == (margin, deadline)
    assert settings.tick_seconds == tick
