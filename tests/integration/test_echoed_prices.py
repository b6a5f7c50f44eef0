"""A platform that repeats the price of a failed order (`RECONCILER_FAILED_AMOUNT=echoed`), on every database."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.support.command_line import CommandLine
from tests.support.notifying import put_endpoint, told_of
from tests.support.pages import pages_of
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import callback
from worker.database.tables import ORDERS
from worker.domain.records.accounts import Rules
from worker.domain.records.orders import Attention, OrderState

MOBILE = "18812340804"
DAY = ("--from", "yesterday", "--to", "today")
STATEMENT = "request_id,state,amount\n" + "".join(f"{name},失败,2.94\n" for name in ("polled", "called", "priceless"))


@pytest.fixture
def echoing(migrated_database_url: str) -> Iterator[Workbench]:
    """A process whose settings say that the platform repeats prices."""
    rules = Rules(grace_seconds=1.0, echoing_accounts=frozenset({"default"}))
    workbench = Workbench(migrated_database_url, rules=rules).open()
    yield workbench
    workbench.close()


def settle(bench: Workbench) -> None:
    """Failed orders with their price: by a query, by a callback, and one of which no amount is expected."""
    priced = {"mobile": MOBILE, "expected_amount": "2.94"}
    bench.enqueue({"request_id": "polled", **priced}, {"request_id": "called", **priced})
    bench.add("priceless", mobile=MOBILE)
    bench.intake.record_callbacks([callback("called", status="-1")])
    bench.reconcile([item(name, status="-1", amount="2.94") for name in ("polled", "priceless")])


def test_an_echoed_price_is_held_and_counts_as_no_charge_wherever_the_order_stands(
    echoing: Workbench, cli: CommandLine
) -> None:
    settle(echoing)
    # The settings of the command line do not say so: what was stored when the orders settled decides.
    assert "RECONCILER_FAILED_AMOUNT" not in cli.settings

    def check() -> None:
        reported = cli.json("report", *DAY)
        assert (reported["failed"], reported["charged_amount"], reported["mismatches"]) == (3, "0.00", 0)
        compared = cli.json("compare", "-", *DAY, "--by", "settled", stdin=STATEMENT.encode())
        assert (compared["differences"], compared["agreeing"], compared["amount_difference"]) == ([], 3, "0.00")
        listed = cli.json("orders", "--state", "failed")
        assert {(order["ori_amount"], order["amount_is_price"]) for order in listed} == {("2.94", True)}
        assert {order["attention"] for order in listed} == {None}
        assert cli.run("orders", "--state", "failed").stdout.count("(2.94)") == 3

    check()


def test_a_notification_of_a_failed_order_says_whether_its_amount_is_only_a_price(
    bench: Workbench, echoing: Workbench
) -> None:
    put_endpoint(bench)
    settle(echoing)
    echoing.add("charged", "free", mobile=MOBILE, expected_amount="5")
    bench.intake.record_callbacks([callback("charged", status="-1", amount="5.0")])
    bench.intake.record_callbacks([callback("free", status="-1", amount="0")])
    told = {one.data["request_id"]: (one.data["ori_amount"], one.data["amount_is_price"]) for one in told_of(bench)}
    priced = dict.fromkeys(("polled", "called", "priceless"), ("2.94", True))
    assert told == {**priced, "charged": ("5.00", False), "free": ("0.00", False)}


def test_without_the_setting_and_with_another_amount_it_is_a_charge(
    bench: Workbench, echoing: Workbench, cli: CommandLine
) -> None:
    echoing.add("more", "same", mobile=MOBILE, expected_amount="2.94")
    bench.intake.record_callbacks([callback("same", status="-1")])
    echoing.intake.record_callbacks([callback("more", status="-1", amount="3.00")])
    assert {order.attention for order in bench.orders()} == {Attention.AMOUNT_MISMATCH}
    assert cli.json("report", *DAY)["charged_amount"] == "5.94"
    assert [row["amount_is_price"] for row in bench.rows(ORDERS)] == [False, False]


def test_a_price_becomes_a_charge_when_the_order_is_sent_again_with_another_expected_amount(
    bench: Workbench, echoing: Workbench, cli: CommandLine
) -> None:
    settle(echoing)
    put_endpoint(bench)
    echoing.enqueue({"request_id": "priceless", "expected_amount": "5.00"})
    order = echoing.order("priceless")
    assert (order.amount_is_price, order.attention) == (False, Attention.AMOUNT_MISMATCH)
    (told,) = told_of(bench)
    assert (told.data["amount_is_price"], told.data["attention"]) == (False, "amount_mismatch")
    assert cli.json("report", *DAY)["charged_amount"] == "2.94"


def test_an_order_that_is_reopened_loses_its_price(echoing: Workbench, cli: CommandLine) -> None:
    settle(echoing)
    cli.run("reopen", "polled", "--force", "--by", "ann", "--reason", "x")
    order = echoing.order("polled")
    assert (order.state, order.ori_amount, order.amount_is_price) == (OrderState.PENDING, None, False)
    assert "price 2.94" in cli.run("order", "polled").stdout
    cli.run("resolve", "polled", "--state", "failed", "--amount", "2.94", "--by", "ann", "--reason", "x")
    assert echoing.order("polled").charged_amount == Decimal("2.94")


@pytest.mark.databases("sqlite")
def test_the_console_shows_a_price_and_no_charge(echoing: Workbench) -> None:
    settle(echoing)
    order_id = echoing.order("polled").id
    with pages_of(echoing.url) as pages:
        story = pages.text(f"/orders/{order_id}", "en")
        assert "Price, not charged" in story
        assert "<dt>Charged</dt>" not in story
        # The list shows what was charged, as the report does.
        assert "￥2.94" not in pages.text("/orders", "en")
        assert "面额（未扣款）" in pages.text(f"/orders/{order_id}", "zh")
