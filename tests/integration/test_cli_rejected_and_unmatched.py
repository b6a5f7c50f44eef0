"""`rejected` and `unmatched`: seen, and taken in after a correction."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import insert

from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench
from tests.support.settled_orders import callback
from worker.database.tables import REJECTED
from worker.domain.records.incoming import Unread
from worker.domain.records.sentences import Sentence


def refuse_account(bench: Workbench, *request_ids: str) -> None:
    """Orders of an account that is not configured yet."""
    orders = [{"request_id": name, "account": "shop"} for name in request_ids]
    assert len(bench.intake.enqueue_orders(orders)["rejected"]) == len(request_ids)  # type: ignore[arg-type]  # an answer holds objects


def put_refused(bench: Workbench, payload: object, source: str = "reconciler enqueue") -> None:
    """A row of what was refused then, and may be taken in now."""
    row = {"source": source, "payload": json.dumps(payload), "errors": "once"}
    bench.run(insert(REJECTED), {**row, "received_at": datetime(2016, 1, 31, 10, tzinfo=UTC)})


@pytest.fixture
def corrected(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The settings, with the account that was missing."""
    file = tmp_path_factory.mktemp("settings") / "accounts.toml"
    file.write_text('[shop]\naccount_sid = "shop-sid"\nauth_token = "0123456789abcdef"\napp_id = "app-2"\n')
    file.chmod(0o600)
    return CommandLine({**cli.settings, "RECONCILER_ACCOUNTS_FILE": str(file)})


def rejected_ids(cli: CommandLine) -> list[str]:
    return [str(row["id"]) for row in cli.json("rejected")]


def test_refused_input_is_listed_newest_first_and_shown_whole(cli: CommandLine, bench: Workbench) -> None:
    refuse_account(bench, "1", "2")
    bench.intake.record_callbacks(["junk"])
    newest, *_ = listed = cli.json("rejected")
    assert newest["source"] == "reconciler.record_callbacks"
    assert len(listed) == 3
    assert len(cli.json("rejected", "--source", "reconciler.enqueue_orders", "--since", "1h")) == 2
    assert len(cli.json("rejected", "--limit", "1", "--after", str(newest["id"]))) == 1
    oldest = cli.json("rejected", str(listed[-1]["id"]))
    assert json.loads(oldest["payload"]) == {"request_id": "1", "account": "shop"}
    shown = cli.run("rejected", str(oldest["id"])).stdout
    assert '"request_id": "1"' in shown
    assert "shop is not configured" in shown
    assert "shop is not configured" in cli.run("rejected").stdout
    assert cli.run("rejected", "--csv").stdout.count("\n") == 4


def test_an_order_is_taken_in_once_after_a_correction(
    cli: CommandLine, corrected: CommandLine, bench: Workbench
) -> None:
    refuse_account(bench, "1", "2")
    first, second = rejected_ids(cli)
    assert corrected.json("rejected", "--retry", first, second, first) == [
        {"id": int(first), "done": 1, "errors": []},
        {"id": int(second), "done": 1, "errors": []},
    ]
    assert rejected_ids(cli) == []
    assert [order.account for order in bench.orders()] == ["shop", "shop"]
    (again,) = corrected.json("rejected", "--retry", first, status=1)
    assert "retried already" in again["errors"][0]
    assert len(bench.orders()) == 2


def test_a_retry_reads_an_order_as_of_when_it_was_refused_and_names_who_retried(
    cli: CommandLine, corrected: CommandLine, bench: Workbench
) -> None:
    refuse_account(bench, "1")
    put_refused(bench, {"request_id": "2", "submitted_at": "2016-01-31T20:00:00Z"})
    bench.run("UPDATE rejected_orders SET received_at = '2016-01-31 12:00:00.000000'")
    late, first = rejected_ids(cli)
    (answer,) = corrected.json("rejected", "--retry", late, status=1)
    assert "submitted_at" in answer["errors"][0]
    corrected.json("rejected", "--retry", first, "--by", "ann")
    (order,) = bench.orders()
    assert order.submitted_at.isoformat() == "2016-01-31T12:00:00+00:00"
    newest = cli.json("acts")[0]
    assert (newest["actor"], newest["act"]) == ("ann", "retry")
    assert '"request_id": "1"' in newest["detail"]


def test_what_is_refused_once_more_stays_with_the_new_faults(cli: CommandLine, bench: Workbench) -> None:
    refuse_account(bench, "1")
    (row_id,) = rejected_ids(cli)
    bench.run("UPDATE rejected_orders SET errors = 'an old fault'")
    result = cli.run("rejected", "--retry", row_id, status=1)
    assert result.stderr.startswith(f"Refused: row {row_id}: account: shop is not configured")
    assert result.stdout == "0 items of 1 row taken in.\n"
    assert rejected_ids(cli) == [row_id]
    assert "shop is not configured" in cli.json("rejected", row_id)["errors"]
    assert bench.orders() == []


def test_a_list_is_taken_in_item_by_item(cli: CommandLine, bench: Workbench) -> None:
    orders = [{"request_id": str(number)} for number in range(1001)]
    bench.intake.enqueue_orders([*orders, {"request_id": ""}])
    (row_id,) = rejected_ids(cli)
    (answer,) = cli.json("rejected", "--retry", row_id, status=1)
    assert answer["done"] == 1001
    (left,) = cli.json("rejected")
    assert json.loads(left["payload"]) == {"request_id": ""}
    assert len(bench.orders()) == 1001


def test_callbacks_are_retried_and_cancellations_are_not(cli: CommandLine, bench: Workbench) -> None:
    bench.intake.cancel_orders([{"request_id": "1"}])
    (cancellation,) = rejected_ids(cli)
    assert "have it sent again" in cli.run("rejected", "--retry", cancellation, status=1).stderr
    bench.add("2")
    put_refused(bench, callback("2"), source="reconciler.record_callbacks")
    callbacks = set(rejected_ids(cli)) - {cancellation}
    assert cli.json("rejected", "--retry", *callbacks)[0]["done"] == 1
    assert bench.order("2").state.value == "succeeded"


def test_a_retried_order_meets_the_callback_that_came_first(cli: CommandLine, bench: Workbench) -> None:
    bench.intake.record_callbacks([callback("1")])
    (kept,) = cli.json("unmatched")
    assert (kept["request_id"], kept["account"]) == ("1", "default")
    put_refused(bench, {"request_id": "1"})
    cli.run("rejected", "--retry", *rejected_ids(cli))
    assert bench.order("1").state.value == "succeeded"
    assert cli.run("unmatched").stdout == "There are none.\n"


def test_what_was_kept_in_part_is_not_retried(cli: CommandLine, bench: Workbench) -> None:
    bench.intake.enqueue_orders(Unread(text='[{"request_id": "1"', errors=(Sentence("too large"),)))
    (row_id,) = rejected_ids(cli)
    assert "have it sent again" in cli.run("rejected", "--retry", row_id, status=1).stderr
    assert rejected_ids(cli) == [row_id]


@pytest.mark.databases("postgresql", "mariadb")
def test_two_operators_that_retry_a_row_take_it_in_once(cli: CommandLine, bench: Workbench) -> None:
    """The row is locked by the first, and gone for the second."""
    put_refused(bench, {"request_id": "1"})
    (row_id,) = rejected_ids(cli)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(partial(bench.intake.retry_rejected, actor="ann"), [int(row_id)] * 8))
    assert sorted(len(answer["errors"]) for answer in answers) == [0, *[1] * 7]  # type: ignore[arg-type]  # an answer holds objects
    assert len(bench.orders()) == 1


def dismissed(bench: Workbench) -> list[int]:
    return [row["id"] for row in bench.rows(REJECTED) if not row["is_open"]]


def test_dismissed_rows_stay_and_leave_what_needs_a_person(cli: CommandLine, bench: Workbench) -> None:
    refuse_account(bench, "1", "2", "3")
    third, second, first = rejected_ids(cli)
    said = cli.run("rejected", "--dismiss", first, second, first, "--by", "ann", "--reason", "a test").stdout
    assert said == "2 of 2 rows dismissed.\n"
    assert rejected_ids(cli) == [third, second, first]
    (group,) = [one for one in cli.json("todo")["todo"] if one["reason"] == "rejected_input"]
    assert [item["id"] for item in group["items"]] == [int(third)]
    assert [row["is_open"] for row in cli.json("rejected")] == [True, False, False]
    (act,) = cli.json("acts")
    assert (act["actor"], act["act"], act["reason"]) == ("ann", "dismiss_rejected", "a test")
    assert f"{first}, {second}" in act["detail"]
    # What was dealt with already, or never was there.
    assert cli.json("rejected", "--dismiss", third, first, "999", status=1) == {"dismissed": 1}


def test_all_that_a_source_brought_on_a_day_is_dismissed_and_nothing_else(cli: CommandLine, bench: Workbench) -> None:
    for _ in range(5):
        put_refused(bench, {"request_id": "1"})
    put_refused(bench, {"request_id": "1"}, source="reconciler.enqueue_orders")
    # Midnight of Shanghai.
    for row, time in ((2, "2016-01-30 15:59:59"), (3, "2016-01-31 15:59:59"), (4, "2016-01-31 16:00:00")):
        bench.run("UPDATE rejected_orders SET received_at = :time WHERE id = :row", time=f"{time}.000000", row=row)
    chosen = ("--source", "reconciler enqueue", "--day", "2016-01-31")
    assert [row["id"] for row in cli.json("rejected", *chosen)] == [3, 5, 1]
    assert "add --yes" in cli.run("rejected", "--dismiss", *chosen, status=2).stderr
    assert dismissed(bench) == []
    assert cli.json("rejected", "--dismiss", *chosen, "--yes") == {"dismissed": 3}
    assert dismissed(bench) == [1, 3, 5]
    assert "reconciler enqueue, 2016-01-31" in cli.json("acts")[0]["detail"]
    assert cli.json("rejected", "--dismiss", *chosen, "--yes") == {"dismissed": 0}
    assert len(cli.json("acts")) == 1


def test_a_dismissed_row_can_still_be_retried(cli: CommandLine, corrected: CommandLine, bench: Workbench) -> None:
    refuse_account(bench, "1")
    (row_id,) = rejected_ids(cli)
    cli.run("rejected", "--dismiss", row_id)
    assert corrected.json("rejected", "--retry", row_id)[0]["done"] == 1
    assert rejected_ids(cli) == []


def test_it_says_how_it_is_used(cli: CommandLine, bench: Workbench) -> None:
    assert "--retry needs the ids" in cli.error("rejected", "--retry", status=2)
    for wrong in (
        ("--dismiss",),
        ("--dismiss", "--day", "today"),
        ("--dismiss", "1", "--source", "x", "--day", "today"),
    ):
        assert "--dismiss needs the ids" in cli.error("rejected", *wrong, status=2)
    for both in (("--dismiss", "--retry", "1"), ("--since", "1d", "--day", "today")):
        assert "give either" in cli.error("rejected", *both, status=2)
    assert "one ID is shown at a time" in cli.error("rejected", "1", "2", status=2)
    assert "there is no refused row 9" in cli.error("rejected", "9")
    assert cli.run("rejected").stdout == "There are none.\n"


def test_unmatched_callbacks_are_filtered_by_account_and_age(cli: CommandLine, bench: Workbench) -> None:
    bench.intake.record_callbacks([callback("1"), callback("2")])
    bench.run("UPDATE unmatched_callbacks SET received_at = '2016-01-31 10:00:00.000000' WHERE request_id = '1'")
    assert [row["request_id"] for row in cli.json("unmatched")] == ["2", "1"]
    assert [row["request_id"] for row in cli.json("unmatched", "--before", "1d")] == ["1"]
    assert cli.json("unmatched", "--account", "other") == []
    header = cli.run("unmatched", "--csv").stdout_bytes.decode("utf-8-sig").splitlines()[0]
    # Spreadsheets refer to columns by position: a new one is the last.
    assert header == "id,received_at,account,request_id,custom_parm,trust,payload,repeats"


def test_how_often_a_callback_came_is_shown_where_its_row_is(cli: CommandLine, bench: Workbench) -> None:
    bench.intake.record_callbacks([*([callback("1")] * 3), *(["junk"] * 5)])
    (refused,), (kept,) = cli.json("rejected"), cli.json("unmatched")
    assert (refused["repeats"], kept["repeats"]) == (4, 2)
    assert cli.json("rejected", str(refused["id"]))["repeats"] == 4
    assert "repeats" in cli.run("rejected", str(refused["id"])).stdout
    for command in ("rejected", "unmatched"):
        assert "repeats" in cli.run(command).stdout
        (row,) = cli.csv(command)
        assert int(row["repeats"]) in (4, 2)
