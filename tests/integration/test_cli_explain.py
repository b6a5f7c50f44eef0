"""`reconciler explain`: a recorded answer, without settings and without a database."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

ITEM = {
    **{"requestId": "1", "trafficSts": "1", "remark": "成功", "mobile": "18812340804", "oriAmount": "2.94"},
    **{"Sign": "0123456789abcdef0123456789abcdef", "note": "call 18812340804"},
}
SID = "fedcba9876543210fedcba9876543210"


@pytest.fixture
def cli() -> CommandLine:
    """Without a setting."""
    return CommandLine({})


def test_an_answer_is_explained(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    file.write_text(json.dumps({"data": [ITEM, {"requestId": "9"}]}), "utf-8")
    shown = cli.run("explain", str(file), "--ids", "1,2").stdout
    assert "shape    an object with one list of objects\n" in shown
    assert "Item 2, about an order that was not polled\n" in shown
    for line in (r"1      succeeded", "2      left out of the answer, which proves nothing"):
        assert line in shown
    assert "9       confirmed     orders may be left out of an answer that holds others" in shown
    assert "18812340804" not in shown
    assert ITEM["Sign"] not in shown


@pytest.mark.parametrize(("amount", "is_read"), [("2.94", True), ("2.94元", False), ("", True), ("-1", False)])
def test_an_amount_is_read_only_if_it_can_be_used(cli: CommandLine, amount: str, *, is_read: bool) -> None:
    body = json.dumps([{"requestId": "1", "trafficSts": "-1", "ORIAMOUNT": amount, "mobile": "188****0804"}])
    (shown,) = cli.json("explain", "-", "--ids", "1", stdin=body)["items"]
    assert [one["is_read"] for one in shown["fields"]] == [True, True, is_read, True]
    printed = cli.run("explain", "-", "--ids", "1", stdin=body).stdout
    assert ("ignored" in printed) != is_read
    assert "\n1      failed" in printed


def test_as_json_it_has_the_same(cli: CommandLine) -> None:
    body = json.dumps([{**ITEM, "trafficSts": "9"}], ensure_ascii=False).encode("gbk")
    shown = cli.json("explain", "-", "--ids", "1", "--content-type", "text/html;charset=GBK", stdin=body)
    assert (shown["shape"], shown["charset"], shown["item_count"]) == ("list", "gb18030", 1)
    fields = {one["key"]: (one["value"], one["is_read"]) for one in shown["items"][0]["fields"]}
    assert fields["mobile"] == ('"188****0804"', True)
    assert fields["Sign"] == ("***", False)
    assert fields["note"] == ('"call 188****0804"', False)
    (order,) = shown["orders"]
    assert (order["effect"], order["attention"]) == ("none", "unknown_status")
    assert order["in_words"] == "settles nothing: trafficSts '9' is neither 1, 0 nor -1"
    assert [one["number"] for one in shown["assumptions"]] == list(range(1, len(shown["assumptions"]) + 1))


def test_what_is_no_answer_says_why(cli: CommandLine) -> None:
    shown = cli.run("explain", "-", "--ids", "1", stdin=f"<a href='/sid/{SID}?Sign={SID}'>").stdout
    assert "no answer  unreadable answer: not JSON: Expecting value at character 0\n" in shown
    refused = cli.run("explain", "-", "--ids", "1", stdin='{"statusCode":"-2","statusMsg":"18812340804"}').stdout
    assert "no answer  the platform refused the query: -2 188****0804\n" in refused
    faulty = cli.run("explain", "-", "--ids", "1", stdin='{"1":{"mobile":[1],"trafficSts":"1"}}').stdout
    assert ". Nothing of it is believed: mobile: neither text nor a number\n" in faulty


def test_a_file_that_is_not_there_is_refused(cli: CommandLine) -> None:
    assert "'none.json'" in cli.error("explain", "none.json", "--ids", "1", status=2)
