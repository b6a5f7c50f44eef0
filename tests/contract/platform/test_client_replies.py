import gzip
import json
import logging
import tracemalloc
import zlib
from pathlib import Path

import pytest

from tests.contract.platform.querying import (
    AUTHORIZATION,
    CREDENTIALS,
    SIGN,
    answered_with,
    assert_shows_no_credential,
    failed_with,
    failure,
    send_query,
)
from tests.contract.platform.raw_server import Peer, RawServer, http
from worker.domain.records.incoming import HttpError, Malformed, QueryError, Refused
from worker.domain.records.orders import IdKind
from worker.domain.wire.replies import BODY_LIMIT

BODY = '[{"requestId":"1","trafficSts":"1","remark":"成功","oriAmount":2.94}]'.encode()
MEGABYTE = 1024 * 1024
NO_DEADLINE = 3600.0
"""Longer than any test may take."""


def test_the_request_is_the_documented_one() -> None:
    with RawServer(http(BODY)) as server:
        send_query(server.url, kind=IdKind.CUSTOM_PARM)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *headers = head.decode("ascii").split("\r\n")
    assert first == f"POST /201512/sid/{CREDENTIALS.account_sid}/traffic/Traffic.wx?Sign={SIGN} HTTP/1.1"
    assert sorted(headers) == sorted(
        [
            f"Host: {server.url.removeprefix('http://')}",
            "User-Agent: recharge-reconciler",
            "Accept: application/json",
            "Accept-Encoding: identity",
            "Content-Type: application/json;charset=utf-8",
            f"Authorization: {AUTHORIZATION}",
            "Connection: close",
            f"Content-Length: {len(body)}",
        ]
    )
    assert json.loads(body) == {"action": "getTrafficResult", "customParm": "1,2", "appid": "app-1"}


def test_an_answer_holds_what_the_platform_reported_for_each_id() -> None:
    answer = answered_with(http(BODY))
    (report,) = answer.said["1"]
    assert (report.traffic_sts, report.remark, report.ori_amount) == ("1", "成功", "2.94")
    assert (answer.absent, answer.http_status) == (("2",), 200)


@pytest.mark.parametrize("interim", ["100 Continue", "102 Processing", "103 Early Hints", "199 X"])
def test_interim_answers_before_the_final_one_are_passed_over(interim: str) -> None:
    head = f"HTTP/1.1 {interim}\r\nContent-Length: 5\r\nLink: </style.css>; rel=preload\r\n\r\n".encode()
    answer = answered_with(head * 3 + http(BODY))
    assert (answer.said["1"][0].traffic_sts, answer.http_status) == ("1", 200)


def test_a_change_of_the_protocol_that_was_not_asked_for_is_an_error() -> None:
    assert failed_with(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + http(BODY), HttpError).http_status == 101


def test_the_documented_error_is_refused() -> None:
    error = failed_with(http('{"statusCode":"-2","statusMsg":"缺少必要参数","requestId":""}'.encode()), Refused)
    assert (error.status_code, error.status_msg, error.http_status) == ("-2", "缺少必要参数", 200)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_is_an_http_error_and_is_not_followed(status: str) -> None:
    with RawServer(http(BODY)) as other, RawServer(http(b"moved", f"Location: {other.url}/", status=status)) as server:
        error = failure(server.url, HttpError)
    assert (error.http_status, error.excerpt) == (int(status[:3]), "moved")
    assert (server.connections, other.connections) == (1, 0)


def test_a_redirect_without_end_is_not_read_to_its_end() -> None:
    def reply(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\n\r\n")
        peer.flood(b"x" * 65536)

    assert failed_with(reply, HttpError).http_status == 301


@pytest.mark.parametrize(
    ("header", "seconds"), [("Retry-After: Wed, 16 Apr 2014 06:21:00 GMT", 30.0), ("X-Other: 1", None)]
)
def test_a_status_other_than_200_holds_the_requested_wait(header: str, seconds: float | None) -> None:
    with RawServer(http("慢".encode(), header, status="429 Too Many Requests")) as server:
        error = failure(server.url, HttpError)
    assert (error.http_status, error.retry_after, error.excerpt) == (429, seconds, "慢")
    assert server.connections == 1


@pytest.mark.parametrize("status", [201, 204, 304, 400, 401, 404, 500, 503, 599])
def test_any_other_status_is_an_http_error(status: int) -> None:
    with RawServer(http(b"" if status in (204, 304) else BODY, status=f"{status} X")) as server:
        error = failure(server.url, HttpError)
    assert error.http_status == status
    assert server.connections == 1


def test_an_http_error_whose_body_breaks_is_still_one() -> None:
    assert failed_with(http(b"half", status="500 X", length=100), HttpError).excerpt == "half"


@pytest.mark.parametrize("content_type", ["application/json;charset=GBK", "application/json; charset=gb18030"])
def test_gb18030_is_read_where_the_header_says_so(content_type: str) -> None:
    answer = answered_with(http(BODY.decode().encode("gb18030"), f"Content-Type: {content_type}"))
    assert answer.said["1"][0].remark == "成功"


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "identity", "raw deflate"])
def test_a_compressed_answer_is_read_though_none_was_requested(coding: str) -> None:
    raw = zlib.compressobj(wbits=-15)
    bodies = {
        "gzip": gzip.compress(BODY, mtime=0),
        "x-gzip": gzip.compress(BODY, mtime=0),
        "deflate": zlib.compress(BODY),
        "raw deflate": raw.compress(BODY) + raw.flush(),
        "identity": BODY,
    }
    answer = answered_with(http(bodies[coding], f"Content-Encoding: {coding.removeprefix('raw ')}"))
    assert answer.said["1"][0].traffic_sts == "1"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)[:-4]),
        ("gzip", gzip.compress(BODY, mtime=0) + b"more"),
        ("gzip", BODY),
        ("deflate", b"\xff\xff"),
        ("br", BODY),
        ("gzip, gzip", BODY),
        (",".join(["gzip"] * 9), BODY),
    ],
)
def test_a_damaged_or_unknown_encoding_is_malformed(coding: str, body: bytes) -> None:
    failed_with(http(body, f"Content-Encoding: {coding}"), Malformed)


def peak_of_failure(reply: bytes | None, flood: bytes = b"", head: bytes = b"") -> tuple[Malformed, int]:
    def endless(peer: Peer) -> None:
        peer.send(head)
        peer.flood(flood)

    tracemalloc.start()
    try:
        # Traced, the client is slow: it has to end by the limit of the size, not by that of the time.
        error = failed_with(reply or endless, Malformed, deadline=NO_DEADLINE)
        return error, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_costs_no_more_than_the_limit() -> None:
    bomb = zlib.compressobj(9, wbits=31)
    body = b"".join(bomb.compress(b" " * MEGABYTE) for _ in range(64)) + bomb.flush()
    error, peak = peak_of_failure(http(body, "Content-Encoding: gzip"))
    assert "longer than" in str(error)
    assert peak < 40 * MEGABYTE


@pytest.mark.parametrize(
    ("head", "flood"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536, id="a body without a length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b" " * 65536, id="a huge length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", b" " * 65536, id="a negative chunk"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            (b"10\r\n" + b" " * 16 + b"\r\n") * 3000,
            id="tiny chunks",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"fffffff\r\n" + b" " * 65536, id="huge chunk"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 9999, id="headers without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X" * 65536, id="a header without end"),
        pytest.param(b"HTTP/1.1 ", b"2" * 65536, id="a status line without end"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999, id="interim answers without end"),
        pytest.param(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 999, id="hints without end"),
    ],
)
@pytest.mark.slow
def test_an_answer_without_end_is_malformed_and_costs_no_more_than_the_limit(head: bytes, flood: bytes) -> None:
    _, peak = peak_of_failure(None, flood, head)
    assert peak < 40 * MEGABYTE


def test_a_body_at_the_limit_is_read_and_one_beyond_it_is_not() -> None:
    assert answered_with(http(BODY.ljust(BODY_LIMIT))).said["1"][0].traffic_sts == "1"
    failed_with(http(BODY.ljust(BODY_LIMIT + 1)), Malformed)


@pytest.mark.parametrize("length", [len(BODY) - 1, len(BODY) + 1])
def test_a_wrong_content_length_is_malformed(length: int) -> None:
    assert failed_with(http(BODY, length=length), Malformed).excerpt.startswith('[{"requestId":"1"')


def test_an_http_1_0_answer_without_a_length_is_read_to_its_end() -> None:
    assert answered_with(b"HTTP/1.0 200 OK\r\n\r\n" + BODY).said["1"][0].traffic_sts == "1"


def test_a_chunked_answer_is_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:9], BODY[9:]))
    assert answered_with(head + chunks + b"0\r\n\r\n").said["1"][0].traffic_sts == "1"
    for damaged in (chunks, b"zz\r\n" + BODY):
        failed_with(head + damaged, Malformed)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"junk\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"\x16\x03\x01",
        http(b"<html>502</html>", "Content-Type: text/html"),
        http(b""),
    ],
)
def test_what_is_no_readable_answer_is_malformed(answer: bytes) -> None:
    failed_with(answer, Malformed)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-", http(BODY)[:-9]])
def test_a_connection_that_is_reset_after_the_first_byte_is_malformed(sent: bytes) -> None:
    def reply(peer: Peer) -> None:
        peer.send(sent)
        peer.reset()

    with RawServer(reply) as server:
        failure(server.url, Malformed)
    assert server.connections == 1


def test_the_environments_proxies_and_netrc_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login somebody password else\n")
    with RawServer(http(b"proxied")) as proxy, RawServer(http(BODY)) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NETRC", str(netrc))
        assert send_query(server.url).said["1"][0].traffic_sts == "1"
    assert proxy.connections == 0
    assert f"Authorization: {AUTHORIZATION}\r\n".encode() in server.requests[0]


def test_each_query_has_a_connection_of_its_own_and_sends_no_cookie_of_another() -> None:
    with RawServer(http(BODY, "Set-Cookie: a=b")) as server:
        send_query(server.url)
        send_query(server.url)
    assert server.connections == 2
    assert b"cookie" not in server.requests[1].lower()


ECHO = json.dumps({"token": CREDENTIALS.auth_token, "sign": SIGN.lower(), "seen": f"{AUTHORIZATION} {SIGN}"})


@pytest.mark.parametrize(
    "answer",
    [
        http(ECHO.encode()),
        http(ECHO.encode(), status="400 Bad Request"),
        http(json.dumps({"statusCode": "-9", "statusMsg": ECHO}).encode()),
        http(f'{{"statusCode": "{CREDENTIALS.auth_token}"}}'.encode()),
        http(ECHO.encode(), length=9999),
        http(("x" * (2000 - 20) + SIGN).encode(), status="400 Bad Request"),
    ],
)
def test_an_error_shows_no_credential_though_the_platform_echoes_them(answer: bytes) -> None:
    error = failed_with(answer, QueryError)
    assert SIGN[:12] not in error.excerpt
    assert "***" in f"{error} {error.excerpt}"


def test_an_answer_shows_no_credential_though_the_platform_echoes_them() -> None:
    items = [{"requestId": "1", "trafficSts": "1", "remark": ECHO, "sign": SIGN}, {"requestId": "9", "remark": ECHO}]
    answer = answered_with(http(json.dumps(items).encode()))
    assert_shows_no_credential(repr(answer))
    assert answer.said["1"][0].traffic_sts == "1"


@pytest.mark.parametrize("field", ["customParm", "appid", "mobile", "trafficSts", "oriAmount", "statusCode"])
@pytest.mark.parametrize("secret", [CREDENTIALS.auth_token.upper(), SIGN.title(), AUTHORIZATION])
def test_an_item_that_names_a_credential_is_not_believed(field: str, secret: str) -> None:
    items = [{"requestId": "1", "trafficSts": "1", "oriAmount": "1"} | {field: secret}, {"requestId": secret}]
    answer = answered_with(http(json.dumps(items).encode()))
    assert_shows_no_credential(repr(answer))
    assert answer.said["1"][0].fault
    assert answer.added[0].request_id == "***"


def test_the_log_shows_no_credential(caplog: pytest.LogCaptureFixture) -> None:
    damaged = b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n" + BODY
    for reply in (http(BODY), damaged, http(b"x", "Transfer-Encoding: chunked"), b""):
        try:
            answered_with(reply)
        except Malformed:
            logging.getLogger(__name__).debug("that one failed")
    assert_shows_no_credential(caplog.text)
    assert "Sign=" not in caplog.text
