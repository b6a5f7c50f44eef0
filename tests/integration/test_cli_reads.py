"""`orders`, `order`, `check` and `status` on every database."""

from datetime import datetime
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench, item
from worker.domain.records.incoming import Unreachable
from worker.domain.records.orders import OrderState

MOBILE = "18812340804"
HEX = "0123456789abcdef0123456789abcdef"


def names(rows: Any) -> list[str]:
    return [row["request_id"] or row["custom_parm"] for row in rows]


def test_orders_are_shown_newest_first_with_exact_amounts_and_times(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", expected_amount="2.5", mobile=MOBILE)
    bench.add("2", expected_amount="100")
    bench.reconcile([item("1", amount="2.94"), item("2", status="-1", amount=None, mobile="188****0804")])
    newest, oldest = cli.json("orders")
    assert (newest["request_id"], newest["state"], newest["expected_amount"]) == ("2", "failed", "100.00")
    assert (oldest["ori_amount"], oldest["expected_amount"], oldest["attention"]) == ("2.94", "2.50", "amount_mismatch")
    events = cli.json("order", "1")["events"]
    assert "charged 2.94, expected 2.50" in next(one["detail"] for one in events if one["kind"] == "settled")
    for name in ("submitted_at", "queried_at", "settled_at", "created_at"):
        assert datetime.fromisoformat(oldest[name]).utcoffset() is not None
    assert "lease_token" not in oldest


def test_orders_are_filtered_by_state_attention_and_account(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", "2", expected_amount="2.94")
    bench.add("3", expected_amount="1")
    bench.reconcile([item("1"), item("3")])
    assert names(cli.json("orders")) == ["3", "2", "1"]
    assert names(cli.json("orders", "--limit", "2")) == ["3", "2"]
    assert names(cli.json("orders", "--state", "pending")) == ["2"]
    assert names(cli.json("orders", "--state", "pending", "--state", "succeeded")) == ["3", "2", "1"]
    assert names(cli.json("orders", "--attention", "any")) == ["3"]
    assert names(cli.json("orders", "--attention", "amount_mismatch")) == ["3"]
    assert names(cli.json("orders", "--attention", "too_old")) == []
    assert names(cli.json("orders", "--account", "default")) == ["3", "2", "1"]


def test_a_summary_counts_by_account_state_and_attention(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", "2", "3", expected_amount="2.94")
    bench.reconcile([item("1"), item("2", amount="9")])
    assert cli.json("orders", "--summary") == {
        "total": 3,
        "counts": [
            {"account": "default", "state": "pending", "attention": None, "orders": 1},
            {"account": "default", "state": "succeeded", "attention": None, "orders": 1},
            {"account": "default", "state": "succeeded", "attention": "amount_mismatch", "orders": 1},
        ],
    }
    assert "3 orders." in cli.run("orders", "--summary").stdout
    bench.add("old", age_seconds=90_000)
    assert cli.json("orders", "--summary")["total"] == 4
    for chosen in (("--since", "1d"), ("--attention", "amount_mismatch", "--state", "succeeded"), ("--prefix", "ol")):
        assert cli.json("orders", "--summary", *chosen)["total"] == len(cli.json("orders", *chosen)) > 0


def test_the_table_fits_the_terminal_and_keeps_whole_ids(cli: CommandLine, bench: Workbench) -> None:
    bench.add("2016010000000219", "x" * 64, expected_amount="2.94")
    shown = cli.run("orders", width=80).stdout
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "2016010000000219" in shown
    assert "(2.94)" in shown
    wide = cli.run("orders", width=200).stdout
    assert "submitted at" in wide
    assert "x" * 64 in wide


@pytest.mark.parametrize("command", [("orders",), ("order", HEX), ("status",)])
def test_an_id_of_32_characters_is_in_one_piece_at_80_columns(
    cli: CommandLine, bench: Workbench, command: tuple[str, ...]
) -> None:
    bench.add(HEX, mobile=MOBILE, expected_amount="12345.50")
    bench.run("UPDATE recharge_orders SET id = 12345678, attention = 'rejected_by_platform'")
    bench.reconcile([item(HEX, status="9")])
    bench.make_due()
    # The status shows an account SID that is no longer configured.
    bench.run("UPDATE query_budgets SET account_sid = :sid", sid=HEX)
    cli = CommandLine({**cli.settings, "RECONCILER_ACCOUNT_SID": "another"})
    lines = cli.run(*command, width=80).stdout.splitlines()
    assert any(HEX in line for line in lines)
    assert not any(HEX[:5] in line and HEX not in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_longer_id_has_a_line_of_its_own_at_80_columns(cli: CommandLine, bench: Workbench) -> None:
    bench.add(HEX * 2)
    assert HEX * 2 in [line.strip() for line in cli.run("orders", width=80).stdout.splitlines()]


def test_people_see_times_in_the_zone_of_the_settings_and_json_has_utc(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    bench.run("UPDATE recharge_orders SET submitted_at = '2016-01-31 10:00:00'")
    assert "2016-01-31 18:00:00+08" in cli.run("orders").stdout
    in_utc = CommandLine({**cli.settings, "RECONCILER_TIMEZONE": "UTC"})
    assert "2016-01-31 10:00:00Z" in in_utc.run("orders").stdout
    elsewhere = CommandLine({**cli.settings, "RECONCILER_TIMEZONE": "Asia/Kolkata"})
    assert "2016-01-31 15:30:00+0530" in elsewhere.run("order", "1").stdout
    assert elsewhere.json("orders")[0]["submitted_at"] == "2016-01-31T10:00:00+00:00"


def test_without_orders_the_list_says_so(cli: CommandLine) -> None:
    assert cli.run("orders").stdout == "No such orders.\n"
    assert cli.run("orders", "--summary").stdout == "No orders.\n"
    assert cli.json("orders") == []


def test_an_order_is_shown_with_its_events_and_the_queries_that_polled_it(cli: CommandLine, bench: Workbench) -> None:
    bench.add("earlier")
    bench.reconcile([item("earlier")])
    bench.add("1", "10", custom_parm=None)
    bench.reconcile([item("10")])
    bench.make_due()
    bench.reconcile([item("1", remark="成功")])
    bench.add("later")
    bench.reconcile([item("later")])
    shown = cli.json("order", "1")
    assert shown["order"]["state"] == "succeeded"
    (settled,) = [event for event in shown["events"] if event["kind"] == "settled"]
    assert (settled["from_state"], settled["to_state"], settled["remark"]) == ("pending", "succeeded", "成功")
    assert [(query["outcome"], query["absent"]) for query in shown["queries"]] == [
        ("answered", True),
        ("answered", False),
    ]
    assert settled["query_id"] == shown["queries"][-1]["id"]
    table = cli.run("order", "1").stdout
    assert "pending > succeeded" in table
    assert "left out" in table
    assert "成功" in table


def test_of_ids_that_differ_in_case_only_the_right_one_is_meant(cli: CommandLine, bench: Workbench) -> None:
    bench.add("ab")
    bench.reconcile([item("ab")])
    bench.add("AB", "a%", "a_")
    bench.reconcile([item("AB")])
    assert cli.json("order", "AB")["order"]["request_id"] == "AB"
    assert len(cli.json("order", "AB")["queries"]) == 1
    assert len(cli.json("order", "ab")["queries"]) == 1
    assert len(cli.json("order", "a%")["queries"]) == 1


def test_a_query_that_failed_is_among_an_orders_queries(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    bench.write_back.failed(bench.take(), Unreachable("no route"))
    (query,) = cli.json("order", "1")["queries"]
    assert (query["outcome"], query["absent"]) == ("unreachable", False)
    assert "unreachable" in cli.run("order", "1").stdout


def test_an_order_is_named_by_either_id_or_by_its_row(cli: CommandLine, bench: Workbench) -> None:
    (order,) = bench.add("1", custom_parm="A-1", mobile=MOBILE)
    for reference in ("1", "A-1", f"id:{order.id}"):
        assert cli.json("order", reference)["order"]["id"] == order.id


def test_a_name_of_two_orders_or_none_is_reported_in_a_line(cli: CommandLine, bench: Workbench) -> None:
    first, second = bench.enqueue({"request_id": "1"}, {"request_id": "2", "custom_parm": "1"})
    assert cli.error("order", "1") == f"1 names two orders, id:{first.id} and id:{second.id}: use one of these"
    assert cli.error("order", "3").startswith("there is no order 3 in the account default; enqueue it first")
    assert cli.error("order", "id:999").startswith("there is no order id:999; `reconciler orders` lists")


def test_a_reference_that_could_mean_two_orders_is_refused_with_both_named(cli: CommandLine, bench: Workbench) -> None:
    first, second = bench.add("1", "2")
    # As an earlier release took it in.
    bench.run("UPDATE recharge_orders SET request_id = :name WHERE id = :id", name=f"id:{first.id}", id=second.id)
    refusal = f"id:{first.id} is the row of order default:1 and the id of order id:{second.id}: name the order by"
    assert cli.error("order", f"id:{first.id}").startswith(refusal)
    (refused,) = cli.json("cancel", f"id:{first.id}", "--reason", "x", status=1)["rejected"]
    assert refused["errors"][0].startswith(refusal)
    assert {order.state for order in bench.orders()} == {OrderState.PENDING}
    # Each has a name of its own; a row that is gone is not taken for the other order.
    for reference, order in (("1", first), (f"id:{second.id}", second)):
        assert cli.json("order", reference)["order"]["id"] == order.id
    bench.run("UPDATE recharge_orders SET request_id = 'id:999' WHERE id = :id", id=second.id)
    assert cli.error("order", "id:999").startswith(f"id:999 is the id of order id:{second.id}: name the order by")
    bench.run("UPDATE recharge_orders SET request_id = :name WHERE id = :id", name=f"id:{second.id}", id=second.id)
    assert cli.json("order", f"id:{second.id}")["order"]["id"] == second.id


@pytest.mark.parametrize("command", [("orders",), ("orders", "--summary"), ("order", "1"), ("check", "1")])
def test_an_unknown_account_is_refused_by_every_command(
    cli: CommandLine, bench: Workbench, command: tuple[str, ...]
) -> None:
    bench.add("1")
    refusal = "there is no account nosuch; the settings name: default"
    assert cli.error(*command, "--account", "nosuch") == refusal


def test_an_account_that_was_removed_from_the_settings_can_still_be_read(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    bench.run("UPDATE recharge_orders SET account = 'removed'")
    assert names(cli.json("orders", "--account", "removed")) == ["1"]
    assert cli.json("order", "1", "--account", "removed")["order"]["account"] == "removed"


def test_a_row_needs_no_account(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    row = cli.json("orders")[0]["id"]
    assert cli.json("order", f"id:{row}", "--account", "nosuch")["order"]["request_id"] == "1"


def test_an_id_that_a_spreadsheet_has_rewritten_is_refused_by_name(cli: CommandLine, bench: Workbench) -> None:
    rewritten = "2.016010000000022E+15"
    for command in ("order", "check"):
        printed = cli.run(command, rewritten, status=1).stderr
        assert f"{rewritten} is a number that a spreadsheet has rewritten" in printed


@pytest.mark.parametrize("number", [MOBILE, f"+86 {MOBILE}"])
def test_a_phone_number_is_led_to_the_command_that_finds_it(cli: CommandLine, bench: Workbench, number: str) -> None:
    bench.add("1", mobile=MOBILE)
    assert "`reconciler orders --mobile` finds the orders of one" in cli.error("order", number)
    assert "--mobile" not in cli.error("order", "1880")


def test_a_check_marks_orders_to_be_polled_next(cli: CommandLine, bench: Workbench) -> None:
    first, second, _ = bench.enqueue(
        {"request_id": "1"}, {"custom_parm": "A", "mobile": MOBILE}, {"request_id": "3"}, age_seconds=0
    )
    # Each order once, by whichever name.
    assert cli.json("check", "1", "A", f"id:{first.id}", f"id:{second.id}") == {"queued": 2, "rejected": []}
    assert [order.check_requested_at is not None for order in bench.orders()] == [True, True, False]
    assert cli.run("check", "3").stdout == "1 order will be polled next.\n"


def test_the_status_shows_when_the_next_query_may_be_sent(cli: CommandLine, bench: Workbench) -> None:
    cli = CommandLine({**cli.settings, "RECONCILER_ACCOUNT_SID": bench.slot.account_sid})
    bench.add("1")
    bench.reconcile([item("1")])
    state = cli.json("status")
    (slot,) = state["slots"]
    assert (slot["accounts"], slot["slot"], slot["in_flight_query_id"]) == (["default"], 0, None)
    assert 0 < slot["due_in_seconds"] <= bench.rules.spacing_seconds
    assert datetime.fromisoformat(slot["due_at"]) > datetime.fromisoformat(state["now"])
    (account,) = state["accounts"]
    assert (account["account"], account["backoff_until"], account["last_query"]["outcome"]) == (
        "default",
        None,
        "answered",
    )
    shown = cli.run("status").stdout
    assert "batches" in shown
    assert "answered" in shown


def test_before_the_first_start_the_status_says_what_to_do(cli: CommandLine) -> None:
    assert "start one with `reconciler run`" in cli.run("status").stdout
    assert cli.json("status")["slots"] == []
