import json
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.records.orders import IdKind
from worker.domain.wire.query_request import (
    Credentials,
    WireRequest,
    build_request,
    timestamp_at,
)

CREDENTIALS = Credentials(
    account_sid="abcdefghijklmnopqrstuvwxyz012345", auth_token="0123456789abcdef0123456789abcdef", app_id="app-1"
)
PATH = "/201512/sid/abcdefghijklmnopqrstuvwxyz012345/traffic/Traffic.wx?Sign=698CD6F76DB3CAE8E9875C1F8F298B2C"


def request_for(
    *ids: str, kind: IdKind = IdKind.REQUEST_ID, bracketed: bool = False, base: str = "http://platform.test"
) -> WireRequest:
    return build_request(
        base_url=base,
        version="201512",
        credentials=CREDENTIALS,
        timestamp="20140416142030",
        id_kind=kind,
        ids=ids,
        bracketed=bracketed,
    )


@pytest.mark.parametrize("base", ["http://platform.test", "http://platform.test/"])
def test_the_url_equals_the_known_good_one(base: str) -> None:
    assert request_for("1", base=base).url == "http://platform.test" + PATH


def test_the_headers_are_the_documented_ones() -> None:
    assert request_for("1").headers == {
        "Accept": "application/json",
        "Content-Type": "application/json;charset=utf-8",
        "Authorization": "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDV8MjAxNDA0MTYxNDIwMzA=",
    }


def test_the_ids_are_one_string_joined_with_commas() -> None:
    assert json.loads(request_for("2016010000000219", "2016010000000220").body) == {
        "action": "getTrafficResult",
        "requestId": "2016010000000219,2016010000000220",
        "appid": "app-1",
    }


def test_the_ids_are_bracketed_where_the_setting_says_so() -> None:
    assert json.loads(request_for("a", "b", bracketed=True).body)["requestId"] == "[a,b]"


def test_a_query_by_custom_parm_names_no_request_id() -> None:
    body = json.loads(request_for("订单-1", kind=IdKind.CUSTOM_PARM).body)
    assert body == {"action": "getTrafficResult", "customParm": "订单-1", "appid": "app-1"}


def test_the_representation_holds_no_credentials() -> None:
    shown = repr(request_for("1"))
    assert "698CD6F7" not in shown
    assert "YWJj" not in shown


@pytest.mark.parametrize("count", [0, 101])
def test_a_query_of_no_or_too_many_ids_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        request_for(*map(str, range(count)))


def test_a_doubled_id_is_refused() -> None:
    with pytest.raises(ValueError, match="once"):
        request_for("1", "2", "1")


@pytest.mark.parametrize("spoiler", ["", "1,2", 'a"b', "a'b", "[1", "1]", "1 2", "1\n", "1\x00", "1\x7f", "\ud800"])
def test_an_id_that_would_change_the_batch_is_refused(spoiler: str) -> None:
    with pytest.raises(ValueError, match="an id that"):
        request_for("1", spoiler)


def test_an_account_sid_cannot_leave_its_segment_of_the_path() -> None:
    odd = Credentials(account_sid="../a?b#c", auth_token="t", app_id="x")
    url = build_request(
        base_url="http://h", version="1/2", credentials=odd, timestamp="0", id_kind=IdKind.REQUEST_ID, ids=["1"]
    ).url
    assert [unquote(part) for part in urlsplit(url).path.split("/")[1:4]] == ["1/2", "sid", "../a?b#c"]


@given(st.lists(st.text("abc0123456789_-.中", min_size=1, max_size=64), min_size=1, max_size=100, unique=True))
def test_a_query_carries_each_id_once_and_no_other(ids: list[str]) -> None:
    assert json.loads(request_for(*ids).body)["requestId"].split(",") == ids


# Computed with openssl (md5, base64). The SID is the one of the platform's documentation, the token is made up.
TIMESTAMP = "20140416142030"
CHINA = timezone(timedelta(hours=8))


def test_the_timestamp_is_the_platforms_local_time() -> None:
    assert timestamp_at(datetime(2014, 4, 16, 6, 20, 30, 999_999, tzinfo=UTC), CHINA) == TIMESTAMP


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        timestamp_at(datetime(2014, 4, 16, 6, 20, 30), CHINA)  # noqa: DTZ001  # the naive time is what is tested


def test_no_representation_shows_the_token() -> None:
    assert CREDENTIALS.auth_token not in f"{CREDENTIALS!r} {CREDENTIALS}"
    assert CREDENTIALS.account_sid in repr(CREDENTIALS)
