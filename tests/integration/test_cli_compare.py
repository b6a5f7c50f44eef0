"""`reconciler compare`: statements as back offices write them, against orders on every database."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench
from tests.support.settled_orders import callback
from worker.database.tables import ORDERS
from worker.domain.records.orders import OrderState

NOON = datetime(2016, 1, 31, 12, tzinfo=ZoneInfo("Asia/Shanghai"))
PERIOD = ("--from", "2016-01-31", "--to", "2016-01-31")
HEADER = "request_id,state,amount\n"


def fill(bench: Workbench) -> None:
    """Six settled orders of one day, one of the day after, and one that has no request id."""
    names = [f"r{number}" for number in range(6)]
    mobile = {"mobile": "18812340804", "expected_amount": "2.94"}
    bench.enqueue(*({"request_id": name, **mobile} for name in (*names, "late")), {"custom_parm": "c-alone", **mobile})
    bench.intake.record_callbacks([callback(name) for name in (*names[:5], "late")])
    bench.intake.record_callbacks([{**callback("r5", status="-1", amount="0"), "mobile": "188****0804"}])
    at = {"submitted_at": NOON, "updated_at": NOON}
    bench.run(update(ORDERS).values(at))
    bench.run(update(ORDERS).where(ORDERS.c.settled_at.is_not(None)).values(settled_at=NOON))
    after = {name: NOON + timedelta(days=1) for name in ("submitted_at", "settled_at")}
    bench.run(update(ORDERS).where(ORDERS.c.request_id == "late").values(after))


def rows_of(*lines: Sequence[str]) -> bytes:
    return (HEADER + "".join(f"{','.join(line)}\n" for line in lines)).encode()


SAME = [*((f"r{number}", "成功", "2.94") for number in range(5)), ("r5", "失败", "0.00")]
SEEDED = rows_of(
    *(("r0", "成功", "2.94"), ("r1", "成功", "3.00"), ("r2", "失败", "2.94"), ("r3", "成功", "2.94")),
    *(("r3", "成功", "2.94"), ("r5", "失败", ""), ("strange", "成功", "1.00"), ("late", "成功", "2.94")),
    ("合计", "", "17.76"),
)


def test_seeded_differences_are_found_both_ways_and_add_up(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    Path("s.csv").write_bytes(SEEDED)
    shown = cli.json("compare", "s.csv", *PERIOD)
    assert shown["counts"] == {
        "state": 1,
        "amount": 1,
        "unknown": 1,
        "missing": 2,
        "duplicate": 1,
        "unreadable": 1,
    }
    found = {(one["kind"], one["request_id"] or one["custom_parm"], one["line"]) for one in shown["differences"]}
    assert found == {
        ("amount", "r1", 3),
        ("state", "r2", 4),
        ("duplicate", "r3", 6),
        ("unknown", "strange", 8),
        ("unreadable", "合计", 10),
        ("missing", "r4", None),
        ("missing", "c-alone", None),
    }
    assert shown["statement"] == {"rows": 8, "succeeded": 6, "amount": "18.70"}
    assert shown["orders"] == {"orders": 7, "succeeded": 5, "amount": "14.70"}
    assert shown["other_days"] == {"orders": 1, "succeeded": 1, "amount": "2.94"}
    assert shown["amount_difference"] == "1.06"
    assert shown["agreeing"] == 4
    assert (shown["from"], shown["to"], shown["by"], shown["accounts"]) == (
        "2016-01-31",
        "2016-01-31",
        "submitted",
        ["default"],
    )


def test_orders_may_be_chosen_by_the_day_they_were_settled(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    bench.run(update(ORDERS).values(submitted_at=NOON - timedelta(days=2)))
    statement = rows_of(*SAME)
    assert cli.json("compare", "-", *PERIOD, "--by", "settled", stdin=statement)["orders"]["orders"] == 6
    by_submission = cli.json("compare", "-", *PERIOD, stdin=statement)
    assert (by_submission["orders"]["orders"], by_submission["other_days"]["orders"]) == (0, 6)
    assert not by_submission["differences"]


def test_a_charge_for_a_failed_order_is_compared_and_summed(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    charged = {"ori_amount": Decimal("2.94")}
    bench.run(update(ORDERS).where(ORDERS.c.request_id == "r5").values(charged))
    shown = cli.json("compare", "-", *PERIOD, stdin=rows_of(*SAME[:5], ("r5", "失败", "2.00")))
    (found,) = [one for one in shown["differences"] if one["kind"] != "missing"]
    assert (found["kind"], found["request_id"], found["line"]) == ("amount", "r5", 7)
    assert (found["statement_amount"], found["charged_amount"]) == ("2.00", "2.94")
    assert (shown["statement"]["amount"], shown["orders"]["amount"]) == ("16.70", "17.64")
    assert shown["amount_difference"] == "-0.94"
    agreeing = cli.json("compare", "-", *PERIOD, stdin=rows_of(*SAME[:5], ("r5", "失败", "2.94")))
    assert (agreeing["counts"]["amount"], agreeing["agreeing"], agreeing["amount_difference"]) == (0, 6, "0.00")


def test_report_and_comparison_of_a_day_agree_to_the_cent(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    amounts = {f"r{number}": Decimal(f"{number}.0{number}") for number in range(6)}
    for name, amount in amounts.items():
        bench.run(update(ORDERS).where(ORDERS.c.request_id == name).values(ori_amount=amount))
    statement = rows_of(*((name, "失败" if name == "r5" else "成功", str(amount)) for name, amount in amounts.items()))
    reported = cli.json("report", *PERIOD)
    shown = cli.json("compare", "-", *PERIOD, "--by", "settled", stdin=statement)
    assert not shown["differences"]
    assert reported["charged_amount"] == shown["orders"]["amount"] == shown["statement"]["amount"] == "15.15"


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("total", ["合计", ""])
def test_a_total_without_an_id_stands_for_no_order(bench: Workbench, cli: CommandLine, total: str) -> None:
    fill(bench)
    expensive = {"ori_amount": Decimal("98.00"), "state": OrderState.SUCCEEDED, "settled_at": NOON}
    bench.run(update(ORDERS).where(ORDERS.c.request_id.is_(None)).values(expensive))
    shown = cli.json("compare", "-", *PERIOD, stdin=rows_of(*SAME, ("", total, "2.94")))
    found = {one["kind"]: (one["custom_parm"], one["charged_amount"]) for one in shown["differences"]}
    assert found == {"unreadable": (None, None), "missing": ("c-alone", "98.00")}
    assert (shown["counts"]["unreadable"], shown["counts"]["missing"]) == (1, 1)


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(("separator", "amount"), [(",", '"2,94"'), (";", "2,94"), (",", "2,94"), (";", "1.234,50")])
def test_an_amount_with_a_decimal_comma_is_refused_with_its_line(
    bench: Workbench, cli: CommandLine, separator: str, amount: str
) -> None:
    fill(bench)
    lines = ("request_id,state,amount", "r0,成功,2.94", f"r1,成功,{amount}")
    statement = "\n".join(line.replace(",", separator, 2) for line in lines).encode()
    shown = cli.json("compare", "-", *PERIOD, stdin=statement)
    (refused,) = [one for one in shown["differences"] if one["kind"] == "unreadable"]
    assert (refused["line"], refused["request_id"]) == (3, "r1")
    assert shown["statement"]["amount"] == "2.94"
    # The statement has it: it is not missing.
    assert "r1" not in {one["request_id"] for one in shown["differences"] if one["kind"] == "missing"}
    assert (refused["state"], refused["charged_amount"]) == ("succeeded", "2.94")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.databases("sqlite")
def test_statements_come_in_the_encodings_and_words_of_a_back_office(
    bench: Workbench, cli: CommandLine, encoding: str
) -> None:
    fill(bench)
    lines = [
        "对账单;2016年1月\n",
        "\n",
        "序号\t流水号\t状态\t金额（元）\r\n",
        *(f"{number}\t'r{number}\t充值完成\t￥2.94\r\n" for number in range(5)),
        "6\tr5\t已退款\t0\r\n",
        "\t\t\t\r\n",
    ]
    Path("对账单.csv").write_bytes("".join(lines).encode(encoding))
    columns = ("--id-column", "流水号", "--state-column", "状态", "--amount-column", "金额（元）")
    words = ("--succeeded", "充值完成", "--failed", "已退款")
    shown = cli.json("compare", "对账单.csv", *PERIOD, *columns, *words)
    assert [one["kind"] for one in shown["differences"]] == ["missing"]
    assert shown["agreeing"] == 6


def test_people_see_the_sums_and_what_differs(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    shown = cli.run("compare", "-", *PERIOD, "--limit", "2", stdin=SEEDED).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "statement 8 6 18.70" in lines
    assert "our orders of other days 1 1 2.94" in lines
    assert "amount 1 +0.06 another amount than ours" in lines
    assert "amount 3 r1 succeeded 3.00 succeeded 2.94" in lines
    assert "5 more: --limit, --csv or --json shows them." in lines
    assert lines[-1] == "4 rows of the statement agree. Statement minus our orders: +1.06 yuan."
    bench.intake.cancel_orders([{"custom_parm": "c-alone", "mobile": "18812340804"}])
    bench.run(update(ORDERS).where(ORDERS.c.request_id.is_(None)).values(submitted_at=NOON - timedelta(1)))
    same = cli.run("compare", "-", *PERIOD, stdin=rows_of(*SAME)).stdout
    assert same.endswith("Nothing differs: 6 rows agree, and no order of the period is missing.\n")


@pytest.mark.databases("sqlite")
def test_a_spreadsheet_gets_what_differs(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    rows = cli.csv("compare", "-", *PERIOD, stdin=SEEDED)
    assert [(row["kind"], row["statement_amount"], row["charged_amount"]) for row in rows[:2]] == [
        ("amount", "3.00", "2.94"),
        ("state", "2.94", "2.94"),
    ]


@pytest.mark.databases("sqlite")
def test_with_several_accounts_somebody_says_whose_the_statement_is(bench: Workbench, cli: CommandLine) -> None:
    fill(bench)
    Path("accounts.toml").write_text('[shop]\naccount_sid="s"\nauth_token="t"\napp_id="a"\n')
    Path("accounts.toml").chmod(0o600)
    both = CommandLine({**cli.settings, "RECONCILER_ACCOUNTS_FILE": "accounts.toml"})
    message = both.error("compare", "-", *PERIOD, stdin=rows_of(*SAME), status=2)
    assert message == "there are default, shop: say with --account whose the statement is"
    shop = both.json("compare", "-", *PERIOD, "--account", "shop", stdin=rows_of(*SAME))
    assert shop["counts"]["unknown"] == 6
    every = both.json("compare", "-", *PERIOD, "--account", "shop", "--account", "default", stdin=rows_of(*SAME))
    assert every["agreeing"] == 6


@pytest.mark.parametrize(
    ("content", "arguments", "status", "said"),
    [
        (b"id,word\n1,2\n", (), 2, "its first row has 'id', 'word': give --id-column NAME, --state-column NAME"),
        (b"", (), 2, "its first row has nothing"),
        (b"request_id,state,amount,state\n", (), 2, "no header that names each column once"),
        (b"\xff\xff\xff", (), 1, "neither UTF-8 nor GB18030"),
        (HEADER.encode() + b'r1,"\xe6\x88\x90,1\n', (), 1, "no CSV"),
        (
            HEADER.encode() + b"r1,done,1\nr2,done,1\n",
            (),
            1,
            "no row of the statement can be read; line 2: state: 'done'",
        ),
        (HEADER.encode(), ("--succeeded", "ok", "--failed", "OK"), 2, "the word 'OK' stands for two states"),
        (HEADER.encode(), ("--json", "--csv"), 2, "give either --json or --csv"),
    ],
)
@pytest.mark.databases("sqlite")
def test_a_statement_that_cannot_be_used_is_refused(
    cli: CommandLine, content: bytes, arguments: tuple[str, ...], status: int, said: str
) -> None:
    assert said in cli.error("compare", "-", *PERIOD, *arguments, stdin=content, status=status)


@pytest.mark.databases("sqlite")
def test_a_statement_that_is_not_there_is_refused(cli: CommandLine) -> None:
    assert "there is no file nowhere.csv" in cli.error("compare", "nowhere.csv", status=2)


def test_many_rows_with_an_unknown_word_are_one_line_that_names_the_options(cli: CommandLine) -> None:
    rows = "".join(f"r{number},充值完成,1\n" for number in range(20))
    statement = f"request_id,state,amount\nr-known,success,1\n{rows}".encode()
    shown = cli.run("compare", "-", "--from", "2016-01-31", "--to", "2016-01-31", stdin=statement).stdout
    assert "20 rows cannot be read, state: '充值完成' is no word that an option explains: see --succeeded" in shown
    assert shown.count("充值完成") == 1
