"""Callbacks that come by the task without an appid: the only order that has their ids tells the account."""

from time import process_time

import pytest

from tests.support.reconciling import APP_IDS, Workbench, errors_of
from tests.support.sql import statements_of

MOBILE = "18812340804"
MANY = {f"shop-{number}": f"app-{number}" for number in range(2_000)}


def body(request_id: str, **fields: object) -> dict[str, object]:
    return {"requestId": request_id, "trafficSts": "1", "remark": "成功", "oriAmount": "2.94", **fields}


@pytest.mark.slow
@pytest.mark.workbench(app_ids=MANY)
def test_a_thousand_callbacks_without_an_appid_find_their_orders_among_2000_accounts(bench: Workbench) -> None:
    bench.enqueue(*({"request_id": f"r{number}", "account": f"shop-{number}"} for number in range(1_000)))
    began = process_time()
    answer = bench.intake.record_callbacks([body(f"r{number}") for number in range(1_000)])
    assert process_time() - began < 3
    assert (answer["settled"], answer["rejected"]) == (1_000, [])
    assert {order.state.value for order in bench.orders()} == {"succeeded"}


@pytest.mark.workbench(app_ids=MANY)
def test_an_id_that_many_accounts_have_names_no_order_and_locks_two_of_them_at_most(bench: Workbench) -> None:
    bench.enqueue(*({"request_id": "same", "account": f"shop-{number}"} for number in range(50)))
    with statements_of(bench.database.engine) as executed:
        answer = bench.intake.record_callbacks([body("same")])
    assert errors_of(answer)[0][0].startswith("appid: is missing")
    locking = [
        given for statement, given in executed if "FROM recharge_orders" in statement and "FOR UPDATE" in statement
    ]
    if bench.database.kind == "postgresql":
        ((ids,),) = [list(given.values()) for given in locking]
        assert len(ids) == 2
    assert len(executed) < 20


@pytest.mark.slow
@pytest.mark.workbench(app_ids=MANY)
def test_a_thousand_callbacks_of_orders_that_share_a_custom_parm_take_three_seconds(bench: Workbench) -> None:
    orders = ({"request_id": f"r{number}", "custom_parm": "1", "account": f"shop-{number}"} for number in range(1_000))
    bench.enqueue(*({**order, "mobile": MOBILE} for order in orders))
    began = process_time()
    bench.intake.record_callbacks([body(f"r{number}", customParm="1") for number in range(1_000)])
    assert process_time() - began < 3


@pytest.mark.workbench(app_ids={"default": "app-1", "shop": "app-2", "market": "app-3"})
def test_the_only_order_that_has_both_ids_tells_the_account(bench: Workbench) -> None:
    accounts = ("default", "shop", "market")
    bench.enqueue(
        *({"request_id": f"r-{name}", "custom_parm": "1", "account": name, "mobile": MOBILE} for name in accounts)
    )
    answer = bench.intake.record_callbacks([body(f"r-{name}", customParm="1") for name in accounts])
    assert (answer["settled"], answer["rejected"]) == (3, [])


@pytest.mark.workbench(app_ids={**APP_IDS, "shop": "app-2", "market": "app-3"})
class TestWithoutAnAppid:
    def test_an_account_that_is_not_configured_any_more_makes_no_id_ambiguous(self, bench: Workbench) -> None:
        bench.enqueue(*({"request_id": "r1", "account": name} for name in ("default", "shop", "market")))
        bench.run("UPDATE recharge_orders SET account = 'gone' WHERE account = 'default'")
        bench.run("UPDATE recharge_orders SET account = 'also gone' WHERE account = 'market'")
        assert bench.intake.record_callbacks([body("r1")])["settled"] == 1
        assert {order.account: order.state.value for order in bench.orders()} == {
            **{"gone": "pending", "also gone": "pending", "shop": "succeeded"}
        }

    def test_either_id_tells_the_account_and_both_must_tell_the_same(self, bench: Workbench) -> None:
        mobile = "18812340804"
        bench.enqueue(
            {"request_id": "r1", "custom_parm": "c1", "account": "shop", "mobile": mobile},
            {"custom_parm": "c2", "account": "market", "mobile": mobile},
        )
        said = [body("r9", customParm="c2", mobile=mobile), body("r9"), body("r1", customParm="c2")]
        answer = bench.intake.record_callbacks(said)
        assert (answer["settled"], answer["unchanged"]) == (1, 1)
        assert list(errors_of(answer)) == [2]
        assert bench.order("c2").request_id == "r9"

    def test_an_id_of_one_kind_is_none_of_the_other(self, bench: Workbench) -> None:
        bench.enqueue({"request_id": "7", "account": "shop"})
        bench.enqueue({"custom_parm": "7", "account": "market", "mobile": "18812340804"})
        assert bench.intake.record_callbacks([body("7")])["settled"] == 1
        assert [order.state.value for order in bench.orders()] == ["succeeded", "pending"]
