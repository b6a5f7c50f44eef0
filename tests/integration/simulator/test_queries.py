"""The simulated platform over real sockets, with queries that are built by hand."""

import base64
import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw_query import APP_ID, SID, TOKEN, RawQuery, exchange, platform_stamp, read_control
from worker.simulator.orders import Delay, NewOrder, Outcome
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account, Head, Refusal, check_head
from worker.simulator.server import Simulator

ACCOUNT = Account(sid=SID, auth_token=TOKEN, app_id=APP_ID)
WIDE_OPEN = 1_000_000
"""Queries per window where a test is not about the limit."""


def simulator(**options: Any) -> Simulator:
    defaults: dict[str, Any] = {"accounts": (ACCOUNT,), "queries_per_window": WIDE_OPEN, "delay": Delay.parse("0")}
    return Simulator(SimulatorConfig(**defaults | {"failed_share": 0.0} | options))


@pytest.fixture
def platform() -> Iterator[Simulator]:
    with simulator() as running:
        running.register(
            [
                NewOrder(request_id="1000", custom_parm="c-1000", mobile="18812340804", amount="2.94"),
                NewOrder(request_id="1001", mobile="18812340805", outcome=Outcome.FAILED),
                NewOrder(request_id="1002", mobile="18812340806", outcome=Outcome.STUCK),
                NewOrder(request_id="1003", unknown=True),
            ]
        )
        yield running


def test_a_correct_query_is_answered_as_the_page_documents(platform: Simulator) -> None:
    answered = RawQuery(ids="1000").send(platform.url)
    assert answered.status == 200
    assert answered.headers["Content-Type"] == "application/json;charset=utf-8"
    assert answered.json == {
        "requestId": "1000",
        "customParm": "c-1000",
        "appid": APP_ID,
        "trafficSts": "1",
        "remark": "成功",
        "mobile": "188****0804",
        "oriAmount": "2.94",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"ids": "[1000]"},
        {"id_kind": "customParm", "ids": "c-1000"},
        {"headers": (("Accept", "application/json;"), ("Content-Type", "application/json; Charset=UTF-8"))},
        {"stamp": platform_stamp(ago=timedelta(hours=23))},
    ],
)
def test_every_reading_of_the_page_is_accepted(platform: Simulator, change: dict[str, Any]) -> None:
    assert RawQuery().but(**change).send(platform.url).json["requestId"] == "1000"


@pytest.mark.parametrize("spelled", [str.upper, str.lower])
def test_the_signature_may_be_of_any_case(platform: Simulator, spelled: Callable[[str], str]) -> None:
    stamp = platform_stamp()
    sign = hashlib.md5(f"{SID}{TOKEN}{stamp}".encode()).hexdigest()
    assert RawQuery(stamp=stamp, sign=spelled(sign)).send(platform.url).json["requestId"] == "1000"


def test_a_query_signed_with_other_tools_is_accepted() -> None:
    # The values come from openssl (md5, base64), for the SID of the page's sample and a made-up token.
    signed = Head(
        method="POST",
        target=f"/201512/sid/{SID}/traffic/Traffic.wx?Sign=698CD6F76DB3CAE8E9875C1F8F298B2C",
        headers=(
            ("Authorization", "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDV8MjAxNDA0MTYxNDIwMzA="),
            ("Accept", "application/json"),
            ("Content-Type", "application/json;charset=utf-8"),
        ),
    )
    now = datetime(2014, 4, 17, 6, 20, 30, tzinfo=UTC)
    assert check_head(signed, {SID: [ACCOUNT]}, version="201512", now=now) == [ACCOUNT]
    with pytest.raises(Refusal, match="-9004"):
        check_head(signed, {SID: [ACCOUNT]}, version="201512", now=now + timedelta(seconds=1))


def body(**fields: Any) -> bytes:
    return json.dumps({"action": "getTrafficResult", "appid": APP_ID, "requestId": "1000"} | fields).encode()


def authorization(text: str) -> tuple[tuple[str, str], ...]:
    return (("Authorization", base64.b64encode(text.encode()).decode()),)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"token": "another"}, "-9005"),
        ({"sign": "0" * 31}, "-9005"),
        ({"path": f"/201512/sid/{SID}/traffic/Traffic.wx"}, "-9005"),
        ({"stamp": platform_stamp(ago=timedelta(hours=24, minutes=5))}, "-9004"),
        ({"stamp": platform_stamp(ago=timedelta(hours=-8))}, "-9004"),
        ({"stamp": "20261301000000"}, "-9004"),
        ({"stamp": "2026-01-01"}, "-9004"),
        ({"sid": "nobody"}, "-9002"),
        ({"method": "GET"}, "-9001"),
        ({"path": f"/201612/sid/{SID}/traffic/Traffic.wx?Sign="}, "-9001"),
        ({"path": f"/201512/sid/{SID}/call/NoticeCall.wx?Sign="}, "-9001"),
        ({"headers": (("Accept", "*/*"),)}, "-9003"),
        ({"headers": (("Content-Type", "application/json"),)}, "-9003"),
        ({"headers": (("Authorization", "Basic abc"),)}, "-9003"),
        ({"headers": authorization(f"{SID}:{platform_stamp()}")}, "-9003"),
        ({"headers": authorization(f"another|{platform_stamp()}")}, "-9003"),
        ({"headers": authorization(f"{SID}|{platform_stamp(ago=timedelta(minutes=1))}")}, "-9005"),
        ({"app_id": "another"}, "-205"),
        ({"body": b"{"}, "-9006"),
        ({"body": b"[]"}, "-9006"),
        ({"body": b"\xff"}, "-9006"),
        ({"body": b'{"appid":"a","appid":"b"}'}, "-9006"),
        ({"body": body(requestId=["1000"])}, "-9007"),
        ({"body": body(action="gettrafficresult")}, "-9007"),
        ({"body": body(customParm="c-1000")}, "-9007"),
        ({"body": body(more="1")}, "-9007"),
        ({"body": body(action="")}, "-2"),
        ({"body": b"{}"}, "-2"),
        ({"id_kind": "requested"}, "-2"),
        ({"ids": ""}, "-2"),
        ({"ids": "1000,"}, "-9007"),
        ({"ids": "1000, 1001"}, "-9007"),
        ({"ids": ",".join(str(number) for number in range(101))}, "-9008"),
        ({"ids": "1000,1001,1000"}, "-9009"),
    ],
)
def test_a_query_that_is_wrong_in_one_respect_is_refused(
    platform: Simulator, change: dict[str, Any], code: str
) -> None:
    answered = RawQuery().but(**change).send(platform.url)
    assert (answered.status, answered.code, answered.json["requestId"]) == (200, code, "")
    assert [one.outcome for one in platform.record.arrivals()] == ["refused"]


def test_a_missing_parameter_is_answered_as_the_page_documents(platform: Simulator) -> None:
    answered = RawQuery(body=b"{}").send(platform.url)
    assert answered.body.decode() == '{"statusCode":"-2","statusMsg":"缺少必要参数","requestId":""}'


def test_too_many_ids_and_doubled_ids_are_violations_and_a_hundred_are_none(platform: Simulator) -> None:
    assert RawQuery(ids=",".join(str(number) for number in range(1000, 1100))).send(platform.url).status == 200
    assert platform.record.violations() == []
    RawQuery(ids=",".join(str(number) for number in range(101))).send(platform.url)
    RawQuery(ids="1,1").send(platform.url)
    RawQuery(ids="").send(platform.url)
    assert [one["kind"] for one in platform.record.violations()] == ["over_100_ids", "doubled_ids", "no_ids"]


def test_a_query_within_the_window_is_refused_counted_and_recorded(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    with simulator(queries_per_window=1, window_seconds=60, adopt=True, record_path=path) as running:
        assert RawQuery(ids="1,2").send(running.url).status == 200
        second = RawQuery(ids="3").send(running.url)
        assert "频繁" in second.json["statusMsg"]
        seen = read_control(running.url, "record")
    assert [arrival["outcome"] for arrival in seen["arrivals"]] == ["answered", "refused"]
    assert seen["violations"] == [{"number": 2, "sid": SID, "kind": "limit"}]
    assert 0 < seen["smallest_spacing"][SID] < 60
    assert [arrival["ids"] for arrival in seen["arrivals"]] == [["1", "2"], ["3"]]
    written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert written == seen["arrivals"]


def test_a_refused_signature_counts_for_the_limit_too() -> None:
    with simulator(queries_per_window=1, adopt=True) as running:
        RawQuery(token="another").send(running.url)
        assert RawQuery().send(running.url).code == "-9010"


def test_a_request_to_nowhere_is_no_arrival(platform: Simulator) -> None:
    assert exchange(platform.url, "GET", "/", None, {}).status == 404
    assert platform.record.arrivals() == []


def test_a_body_that_never_comes_whole_is_still_an_arrival(platform: Simulator) -> None:
    host, _, port = platform.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"POST /201512/sid/{SID}/traffic/Traffic.wx HTTP/1.1\r\nContent-Length: 9\r\n\r\n{{".encode()
        )
        connection.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
    assert [one.outcome for one in platform.record.arrivals()] == ["broken"]


def test_one_order_is_answered_as_an_object_and_several_as_an_array(platform: Simulator) -> None:
    assert RawQuery(ids="1000").send(platform.url).json["requestId"] == "1000"
    items = {item["requestId"]: item for item in RawQuery(ids="1000,1001,1002,1003,9999").send(platform.url).json}
    assert {one: item["trafficSts"] for one, item in items.items()} == {"1000": "1", "1001": "-1", "1002": "0"}
    assert items["1001"]["oriAmount"] == "0.00"
    assert [RawQuery(ids=ids).send(platform.url).json for ids in ("77", "77,78")] == [[], []]


def test_orders_of_another_application_are_not_known() -> None:
    other = Account(sid="other", auth_token="t2", app_id="a2")
    with simulator(accounts=(ACCOUNT, other)) as running:
        running.register([NewOrder(request_id="1", app_id="a2")])
        assert RawQuery(ids="1").send(running.url).json == []
        assert RawQuery(ids="1", sid="other", token="t2", app_id="a2").send(running.url).json["appid"] == "a2"
