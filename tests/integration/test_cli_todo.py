"""`todo`: everything that needs a person, with what to do."""

import re
from typing import Any

from tests.support.command_line import CommandLine
from tests.support.notifying import put_endpoint
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import callback
from worker.domain.records.accounts import Pause


def reasons(cli: CommandLine, *options: str) -> dict[str, Any]:
    return {group["reason"]: group for group in cli.json("todo", *options)["todo"]}


def test_nothing_to_do_is_said(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    assert cli.run("todo").stdout == "Nothing needs a person.\n"
    assert cli.json("todo")["todo"] == []


def test_orders_accounts_input_and_callbacks_are_in_one_list(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", "2", "3", expected_amount="1")
    bench.add("4")
    bench.reconcile([item("1"), item("2"), item("3", status="9")])
    bench.run("UPDATE recharge_orders SET state = 'unresolved' WHERE request_id = '4'")
    bench.add("elsewhere")
    bench.run("UPDATE recharge_orders SET account = 'removed' WHERE request_id = 'elsewhere'")
    bench.put_pauses(Pause(paused_at=bench.now(), paused_by="li", pause_reason="audit"))
    bench.intake.enqueue_orders([{"request_id": ""}])
    bench.intake.record_callbacks([callback("young"), callback("old")])
    bench.run("UPDATE unmatched_callbacks SET received_at = '2016-01-31 10:00:00' WHERE request_id = 'old'")
    found = reasons(cli)
    assert {reason: (group["kind"], group["count"]) for reason, group in found.items()} == {
        "account_not_configured": ("account", 1),
        "account_paused": ("account", 1),
        "amount_mismatch": ("order", 2),
        "unknown_status": ("order", 1),
        "unresolved": ("order", 1),
        "rejected_input": ("rejected", 1),
        "unmatched_callback": ("unmatched", 1),
    }
    assert found["account_paused"]["items"][0]["note"] == "li: audit"
    assert [one["ref"] for one in found["amount_mismatch"]["items"]] == ["2", "1"]
    assert [one["ref"] for one in found["unmatched_callback"]["items"]] == ["old"]
    assert "reconciler dismiss REF" in found["amount_mismatch"]["what_to_do"]
    limited = reasons(cli, "--limit", "1")["amount_mismatch"]
    assert (limited["count"], len(limited["items"])) == (2, 1)
    shown = cli.run("todo").stdout
    assert "amount_mismatch: 2" in shown
    assert f"id:{bench.order('2').id}" in shown
    assert "li: audit" in shown


def test_a_number_of_a_row_is_written_as_commands_take_it(cli: CommandLine, bench: Workbench) -> None:
    put_endpoint(bench)
    bench.add("r1", expected_amount="1")
    bench.reconcile([item("r1")])
    bench.run("UPDATE notifications SET state = 'gave_up', outcome = 'timeout'")
    bench.intake.enqueue_orders([{"request_id": ""}])
    row = bench.order("r1").id
    shown = cli.run("todo").stdout
    for reason in ("amount_mismatch", "notification_gave_up"):
        table = shown.partition(f"{reason}: 1")[2].partition("\n\n")[0]
        assert f"id:{row} " in table
    # `reconciler rejected 1` takes the number alone.
    assert not re.search("id:[0-9]", shown.partition("rejected_input: 1")[2])


def test_each_item_is_a_row_of_the_csv(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", "2", expected_amount="1")
    bench.reconcile([item("1"), item("2")])
    lines = cli.run("todo", "--csv").stdout.splitlines()
    assert lines[0].endswith("kind,reason,account,ref,id,since,until,note,what_to_do")
    assert [line.split(",")[:4] for line in lines[1:]] == [
        ["order", "amount_mismatch", "default", name] for name in ("2", "1")
    ]


def test_an_unresolved_order_is_listed_once(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    bench.run("UPDATE recharge_orders SET state = 'unresolved', attention = 'too_old'")
    assert list(reasons(cli)) == ["too_old"]
