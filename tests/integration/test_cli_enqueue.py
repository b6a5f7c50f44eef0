"""`reconciler enqueue`: a file's orders are in the database, and refused lines are in a file, with reasons."""

import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import PROGRAM, CommandLine, environment
from tests.support.reconciling import Workbench, errors_of
from worker.adapters.child_processes import Child
from worker.database.tables import ORDERS, REJECTED


def refused_in(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def test_a_csv_file_is_enqueued_and_its_refused_lines_are_written_beside_it(cli: CommandLine, bench: Workbench) -> None:
    Path("orders.csv").write_bytes(
        b"request_id,custom_parm,mobile,expected_amount,submitted_at\n"
        b"1001,A-1,188 1234 0804,2.94,2016-01-31T18:05:00+08:00\n"
        b"1002,,,,\n"
        b"1002,,,,\n"
        b"1003,,123,x,\n"
        b"1004,\xff,,,\n"
        b"1005,,\n"
        b"1002,,,,\n"
    )
    summary = cli.json("enqueue", "orders.csv", status=1)
    assert summary.pop("seconds") > 0
    assert summary == {
        "lines": 7,
        "accepted": 2,
        "duplicates": 2,
        "rejected": 3,
        "rejected_file": "orders.csv.rejected.jsonl",
    }
    assert [(order.request_id, order.custom_parm, order.mobile) for order in bench.orders()] == [
        ("1001", "A-1", "18812340804"),
        ("1002", None, None),
    ]
    assert cli.run("enqueue", "orders.csv", status=1).stderr == ""
    first, second, third = refused_in("orders.csv.rejected.jsonl")
    assert (first["line"], first["text"]) == (5, "1003,,123,x,")
    assert [error.partition(":")[0] for error in first["errors"]] == ["mobile", "expected_amount"]
    assert (second["line"], second["text"]) == (6, "1004,\\xff,,,")
    assert third == {"line": 7, "text": "1005,,", "errors": ["line: has 3 columns, while the header has 5"]}
    # Refused orders are in the table of refused orders as well.
    assert [(row["source"], json.loads(row["payload"])["request_id"]) for row in bench.rows(REJECTED)] == [
        ("reconciler enqueue", "1003"),
        ("reconciler enqueue", "1003"),
    ]


def test_json_lines_from_standard_input_are_refused_into_the_working_directory(
    cli: CommandLine, bench: Workbench
) -> None:
    orders = '{"request_id":"1"}\n{"request_id":2}\nnothing\n{"request_id":"3","account":"other"}\n'
    result = cli.run("enqueue", "--format", "jsonl", "-", stdin=orders, status=1)
    assert "4 lines read in" in result.stdout
    assert "1 accepted, 0 duplicates, 3 refused." in result.stdout
    assert result.stdout.splitlines()[-1] == "Refused lines, with reasons: enqueue.rejected.jsonl"
    assert [line["line"] for line in refused_in("enqueue.rejected.jsonl")] == [2, 3, 4]
    assert [order.request_id for order in bench.orders()] == ["1"]


@pytest.mark.databases("sqlite")
def test_refused_lines_are_written_to_the_named_file(cli: CommandLine) -> None:
    cli.json("enqueue", "--format", "jsonl", "--rejected", "elsewhere", "-", stdin="x\n", status=1)
    assert [line["text"] for line in refused_in("elsewhere")] == ["x"]


@pytest.mark.databases("sqlite")
def test_where_nothing_is_refused_no_file_is_made_and_the_same_again_is_harmless(cli: CommandLine) -> None:
    Path("orders.ndjson").write_text('{"request_id":"1"}\n{"request_id":"2"}\n', "utf-8")
    first, second = cli.json("enqueue", "orders.ndjson"), cli.json("enqueue", "orders.ndjson")
    assert (first["accepted"], first["duplicates"], first["rejected_file"]) == (2, 0, None)
    assert (second["accepted"], second["duplicates"], second["rejected_file"]) == (0, 2, None)
    assert not list(Path().glob("*rejected*"))


@pytest.mark.databases("sqlite")
def test_refused_lines_keep_their_order_and_numbers_over_several_lists(cli: CommandLine, bench: Workbench) -> None:
    lines = [json.dumps({"request_id": str(number)}) if number % 100 else "bad" for number in range(1, 1301)]
    Path("orders.jsonl").write_text("\n".join(lines), "utf-8")
    summary = cli.json("enqueue", "orders.jsonl", status=1)
    assert (summary["lines"], summary["accepted"], summary["rejected"]) == (1300, 1287, 13)
    assert [line["line"] for line in refused_in("orders.jsonl.rejected.jsonl")] == list(range(100, 1301, 100))
    assert len(bench.rows(ORDERS)) == 1287


@pytest.mark.databases("sqlite")
def test_an_empty_file_is_no_error(cli: CommandLine) -> None:
    Path("orders.csv").touch()
    assert cli.json("enqueue", "orders.csv")["lines"] == 0


@pytest.mark.databases("sqlite")
def test_a_header_that_cannot_be_used_is_reported_in_a_line(cli: CommandLine) -> None:
    Path("orders.csv").write_text("request_id,status\n1,2\n", "utf-8")
    assert cli.error("enqueue", "orders.csv").startswith("the header, line 1, names a column 'status'; accepted")


@pytest.mark.databases("sqlite")
def test_where_refused_lines_cannot_be_written_the_error_says_how_many_were_processed(cli: CommandLine) -> None:
    Path("orders.jsonl").write_text('{"request_id":"1"}\n' * 500 + "bad\n", "utf-8")
    message = cli.error("enqueue", "orders.jsonl", "--rejected", "nowhere/refused.jsonl")
    assert message.startswith("nowhere/refused.jsonl cannot be written (No such file or directory): choose another")
    assert "500 lines were processed before; run it again" in message


@pytest.mark.databases("sqlite")
def test_without_an_account_nothing_is_refused_one_by_one(migrated_database_url: str) -> None:
    cli = CommandLine({"RECONCILER_DATABASE_URL": migrated_database_url})
    Path("orders.csv").write_text("request_id\n1\n", "utf-8")
    assert cli.error("enqueue", "orders.csv").startswith("no account is configured: set RECONCILER_ACCOUNT_SID")


@pytest.mark.databases("sqlite")
def test_an_id_that_reads_as_a_row_is_refused_with_its_line(cli: CommandLine, bench: Workbench) -> None:
    orders = '{"request_id":"id:1"}\n{"request_id":"idle:1"}\n'
    cli.run("enqueue", "--format", "jsonl", "-", stdin=orders, status=1)
    (refused,) = refused_in("enqueue.rejected.jsonl")
    assert refused["errors"] == ["request_id: id:1 is how commands name a row; accepted: any other id"]
    assert [order.request_id for order in bench.orders()] == ["idle:1"]


def test_a_pipe_is_read_like_a_file(cli: CommandLine) -> None:
    os.mkfifo("orders.csv")
    write = [sys.executable, "-c", "open('orders.csv', 'w').write('request_id\\n1\\n')"]
    with Child(write, name="writer"):
        assert cli.json("enqueue", "orders.csv")["accepted"] == 1


@pytest.mark.slow
@pytest.mark.databases("sqlite")
def test_memory_stays_bounded_however_long_the_lines_and_the_file_are(cli: CommandLine) -> None:
    with Path("orders.jsonl").open("wb") as file:
        file.write(b'{"request_id":"1"}\n')
        # Nothing on disk, and no line end for 1 GiB.
        file.seek(1 << 30)
        file.write(b'\n{"request_id":"2"}\n')

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    command = [*PROGRAM, "enqueue", "orders.jsonl", "--json"]
    done = subprocess.run(
        command, env=environment(cli.settings), capture_output=True, text=True, timeout=100, preexec_fn=limit
    )
    assert done.stderr == ""
    summary = json.loads(done.stdout)
    assert (summary["lines"], summary["accepted"], summary["rejected"]) == (3, 2, 1)


@pytest.mark.databases("sqlite")
def test_a_back_offices_file_is_enqueued_as_it_stands(cli: CommandLine, bench: Workbench) -> None:
    lines = [
        "一月订单\r\n",
        "序号;平台订单号;流水号;手机号\r\n",
        "1;1001;订单一;18812340804\r\n",
        "2;1002;订单二;1\r\n",
    ]
    Path("订单.csv").write_bytes("".join(lines).encode("gbk"))
    options = ("--column", "custom_parm=流水号", "--pass-over")
    assert "names a column '序号'" in cli.error("enqueue", "订单.csv", *options[:2])
    summary = cli.json("enqueue", "订单.csv", *options, status=1)
    assert (summary["lines"], summary["accepted"], summary["rejected"]) == (2, 1, 1)
    (order,) = bench.orders()
    assert (order.request_id, order.custom_parm, order.mobile) == ("1001", "订单一", "18812340804")
    (refused,) = refused_in("订单.csv.rejected.jsonl")
    assert (refused["line"], refused["text"]) == (4, "2;1002;订单二;1")
    assert "is not FIELD=NAME" in cli.error("enqueue", "订单.csv", "--column", "流水号", status=2)


@pytest.mark.databases("sqlite")
def test_times_of_a_file_without_an_offset_are_in_the_zone_of_the_settings(cli: CommandLine, bench: Workbench) -> None:
    times = {
        "excel": "2016/1/9 9:05",
        "back office": "2016-01-09 09:05:00",
        "slashes": "2016/01/09 09:05:00",
        "iso": "2016-01-09T09:05",
        "fraction": "2016-01-09 09:05:00.000",
        "other offset": "2016/1/9 2:05+01:00",
    }
    rows = [f"{number},{time}" for number, time in enumerate(times.values(), 1)]
    Path("orders.csv").write_text("\n".join(["平台订单号,提交时间", *rows]), "utf-8")
    assert cli.json("enqueue", "orders.csv")["accepted"] == len(times)
    assert {order.submitted_at for order in bench.orders()} == {datetime(2016, 1, 9, 1, 5, tzinfo=UTC)}
    nepal = CommandLine({**cli.settings, "RECONCILER_TIMEZONE": "Asia/Kathmandu"})
    lines = '{"request_id":"n","submitted_at":"2016-01-09 06:50:00"}\n'
    nepal.run("enqueue", "--format", "jsonl", "-", stdin=lines)
    assert bench.order("n").submitted_at == datetime(2016, 1, 9, 1, 5, tzinfo=UTC)


@pytest.mark.databases("sqlite")
def test_what_is_no_time_is_refused_as_it_stands_in_the_file(cli: CommandLine) -> None:
    times = ("2016/13/1 9:05", "2016/1/9 9", "2016-01-09", "29/11/2016 10:00", "2016-1-9 25:00", "yesterday")
    rows = [f"{number},{time}" for number, time in enumerate(times)]
    Path("orders.csv").write_text("\n".join(["request_id,submitted_at", *rows]), "utf-8")
    assert cli.json("enqueue", "orders.csv", status=1)["rejected"] == len(times)
    for time, refused in zip(times, refused_in("orders.csv.rejected.jsonl"), strict=True):
        (error,) = refused["errors"]
        assert error.startswith(f"submitted_at: '{time}' is no time with an offset"), error


@pytest.mark.databases("sqlite")
def test_a_task_still_needs_an_offset(bench: Workbench) -> None:
    answer = bench.intake.enqueue_orders([{"request_id": "1", "submitted_at": "2016-01-09 09:05:00"}])
    assert "is no time with an offset" in errors_of(answer)[0][0]
