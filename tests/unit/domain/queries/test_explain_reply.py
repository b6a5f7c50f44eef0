"""How a reply is explained: by the reading that each answer has, with what it says of each assumption."""

import json

import pytest

from tests.unit.domain.builders import APP_ID, MASKED, RULES, make_order, make_query
from worker.domain.orders.verdicts import Effect, Verdict
from worker.domain.queries.explain_reply import Assumption, Explanation, Standing, asked_of, standings
from worker.domain.records.incoming import Charset, QueryError, Shape
from worker.domain.records.orders import Attention, IdKind

CONFIRMED, CONTRADICTED, OPEN = Standing.CONFIRMED, Standing.CONTRADICTED, Standing.OPEN
ERROR = {"statusCode": "-2", "statusMsg": "缺少必要参数", "requestId": ""}


def item(name: str | None = "R1", **fields: object) -> dict[str, object]:
    """What the platform says of a recharged order; without the fields that are None."""
    said = {"requestId": name, "appid": "app", "trafficSts": "1", "mobile": MASKED, "oriAmount": "2.94", **fields}
    return {key: value for key, value in said.items() if value is not None}


def explained(
    body: object,
    *ids: str,
    kind: IdKind = IdKind.REQUEST_ID,
    content_type: str | None = None,
    http_status: int | None = None,
) -> Explanation:
    """A reply of this JSON, or these bytes, to a query of orders of which only the ids are known; by default R1."""
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    asked = asked_of(ids or ("R1",), kind)
    return Explanation(query=asked, body=content, content_type=content_type, http_status=http_status, rules=RULES)


def verdict_on(name: str, explanation: Explanation) -> Verdict:
    verdict = explanation.verdicts[name]
    assert verdict is not None
    return verdict


def about(explanation: Explanation) -> list[str | None]:
    return [explanation.order_of(report) for report in explanation.reports]


@pytest.mark.parametrize(
    ("body", "shape", "count"),
    [
        (item(), Shape.ONE_OBJECT, 1),
        (item(trafficSts=None), Shape.ONE_OBJECT, 1),
        ([item(), item("R2")], Shape.LIST, 2),
        ({"statusCode": "0", "list": [item()]}, Shape.OBJECT_WITH_LIST, 1),
        ({"rows": [{"x": 1}]}, Shape.OBJECT_WITH_LIST, 1),
        ({"R1": item(None), "R2": item(None)}, Shape.KEYED_BY_ID, 2),
        ({"data": item()}, Shape.WRAPPED_OBJECT, 1),
        ({"data": {"list": [item()]}}, Shape.OBJECT_WITH_LIST, 1),
        ({"list": []}, Shape.NO_ITEMS, 0),
        ({"statusCode": "000000"}, Shape.NO_ITEMS, 0),
        (ERROR, Shape.ERROR_OBJECT, 0),
        ({"hello": 1}, Shape.UNREADABLE, 0),
        ("text", Shape.UNREADABLE, 0),
        (b"<html>", Shape.UNREADABLE, 0),
    ],
)
def test_each_shape_is_recognised(body: object, shape: Shape, count: int) -> None:
    explanation = explained(body, "R1", "R2")
    assert (explanation.shape, len(explanation.reports)) == (shape, count)
    assert isinstance(explanation.read, QueryError) is (shape in (Shape.ERROR_OBJECT, Shape.UNREADABLE))


def test_why_there_is_no_answer() -> None:
    assert str(explained(ERROR).read) == "the platform refused the query: -2 缺少必要参数"
    assert str(explained(b"<html>").read) == "unreadable answer: not JSON: Expecting value at character 0"
    assert str(explained(item(), http_status=502).read) == "the platform answered with HTTP status 502"
    assert str(explained([1]).read) == "unreadable answer: a list that holds no object"


@pytest.mark.parametrize(
    ("body", "content_type", "charset", "standing"),
    [
        (json.dumps([item(remark="成功")], ensure_ascii=False).encode(), "x;charset=gbk", Charset.UTF_8, CONFIRMED),
        (
            json.dumps([item(remark="成功")], ensure_ascii=False).encode("gbk"),
            "x;charset=GBK",
            Charset.GB18030,
            CONFIRMED,
        ),
        (json.dumps([item(remark="成功")], ensure_ascii=False).encode("gbk"), None, Charset.GB18030, CONFIRMED),
        (
            json.dumps([item(remark="成功")], ensure_ascii=False).encode("gbk"),
            "x;charset=a",
            Charset.UNKNOWN,
            CONTRADICTED,
        ),
        (json.dumps([item()]).encode(), None, Charset.UTF_8, OPEN),
    ],
)
def test_the_charset_and_what_it_says(
    body: bytes, content_type: str | None, charset: Charset, standing: Standing
) -> None:
    explanation = explained(body, content_type=content_type)
    assert (explanation.charset, standings(explanation)[Assumption.CHARSET]) == (charset, standing)


def test_what_is_left_out_and_what_was_not_polled() -> None:
    explanation = explained([item("R2"), item("R9")], "R1", "R2")
    assert about(explanation) == ["R2", None]
    assert explanation.verdicts["R1"] is None
    proved = verdict_on("R2", explanation)
    assert (proved.effect, str(proved.amount)) == (Effect.SUCCEEDED, "2.94")


def test_without_an_app_id_of_the_query_the_items_must_agree_on_one() -> None:
    explanation = explained([item(), item("R2", appid="other")], "R1", "R2")
    assert verdict_on("R1", explanation).effect is Effect.SUCCEEDED
    assert verdict_on("R2", explanation).attention is Attention.CONFLICTING_ANSWER


def test_orders_that_are_known_are_judged_by_their_rows() -> None:
    query = make_query([make_order(1, mobile="13900000000")])
    explanation = Explanation(query=query, body=json.dumps(item(appid=APP_ID)).encode(), rules=RULES)
    assert verdict_on("R1", explanation).attention is Attention.MOBILE_MISMATCH


def test_an_item_without_its_name_is_about_the_lone_order_and_proves_nothing_by_itself() -> None:
    explanation = explained(item("P1"), "C1", kind=IdKind.CUSTOM_PARM)
    assert about(explanation) == ["C1"]
    assert verdict_on("C1", explanation).effect is Effect.NONE
    assert standings(explanation)[Assumption.ECHO] is CONTRADICTED
    assert about(explained([item("P1"), item("P2")], "C1", "C2", kind=IdKind.CUSTOM_PARM)) == [None, None]


def test_an_error_object_that_holds_items_shows_them_and_proves_nothing() -> None:
    explanation = explained({"statusCode": "200", "data": [item()]})
    assert (explanation.shape, dict(explanation.verdicts)) == (Shape.ERROR_OBJECT, {})
    assert about(explanation) == ["R1"]
    assert standings(explanation)[Assumption.ERROR_OBJECT] is CONTRADICTED
    assert about(explained({"statusCode": "200", "data": [item()]}, "C1", kind=IdKind.CUSTOM_PARM)) == [None]


FIVE = ("R1", "R2", "R3", "R4", "R5")
TOO_FREQUENT = {"statusCode": "-9", "statusMsg": "请求过于频繁"}
OF_TWO = (Assumption.PLAIN_IDS, Assumption.SEVERAL_ORDERS, Assumption.ALL_AT_ONCE)
NO_ID = {Assumption.ID_FIELD: OPEN}
BY_PARM = IdKind.CUSTOM_PARM
WHOLE = (Assumption.ADDRESS, Assumption.SIGNATURE)
"""What any answer confirms."""
OF_AN_ITEM = (Assumption.FIELDS, Assumption.STATUS, Assumption.AMOUNT, Assumption.MASK)
PLAIN = dict.fromkeys((*WHOLE, *OF_AN_ITEM, Assumption.ID_FIELD, Assumption.NAMED_BY_ID), CONFIRMED)
"""What a plain item says in reply to a query for it."""
A = Assumption


@pytest.mark.parametrize(
    ("explanation", "said"),
    [
        (explained(b"<html>"), {}),
        (explained([]), dict.fromkeys(WHOLE, CONFIRMED)),
        (explained([], "C1", kind=BY_PARM), dict.fromkeys(WHOLE, CONFIRMED)),
        (explained(ERROR), {A.ADDRESS: CONFIRMED, A.ERROR_OBJECT: CONFIRMED, A.ID_FIELD: CONTRADICTED}),
        (explained(b"", http_status=404), {A.ADDRESS: CONTRADICTED, A.HTTP_200: CONTRADICTED}),
        (explained(b"", http_status=401), {A.SIGNATURE: CONTRADICTED, A.HTTP_200: CONTRADICTED}),
        (explained(b"", http_status=429), {A.TOO_FREQUENT: CONTRADICTED, A.HTTP_200: CONTRADICTED}),
        (explained(ERROR, http_status=500), {A.HTTP_200: CONTRADICTED}),
        (explained({"a": 1}, "R1"), {}),
        (explained({"a": 1}, "R1", "R2"), {A.SEVERAL_ORDERS: CONTRADICTED}),
        (explained({"a": 1}, "R1", "R2", http_status=500), {A.HTTP_200: CONTRADICTED}),
        (explained(TOO_FREQUENT), dict.fromkeys((A.ADDRESS, A.ERROR_OBJECT, A.TOO_FREQUENT), CONFIRMED)),
        (explained(item()), PLAIN),
        (explained(item(), http_status=200), PLAIN | {A.HTTP_200: CONFIRMED}),
        (explained(item(), "R1", "R2"), PLAIN | {A.LEFT_OUT: CONFIRMED}),
        (explained(item(), *FIVE), PLAIN | {A.LEFT_OUT: CONFIRMED, A.ALL_AT_ONCE: CONTRADICTED}),
        (explained([item(), item("R2")], "R1", "R2"), PLAIN | dict.fromkeys(OF_TWO, CONFIRMED)),
        (explained(item("R1,R2"), "R1", "R2"), PLAIN | {A.ID_FIELD: OPEN, A.PLAIN_IDS: CONTRADICTED}),
        (explained(item(None)), PLAIN | {A.ID_FIELD: OPEN, A.NAMED_BY_ID: CONTRADICTED}),
        (explained(item(), "C1", kind=BY_PARM), PLAIN | NO_ID | {A.NAMED_BY_ID: OPEN, A.ECHO: CONTRADICTED}),
        (explained(item(customParm="C1"), "C1", kind=BY_PARM), PLAIN | NO_ID | {A.ECHO: CONFIRMED}),
        (explained(item(Mobile="177****0000")), PLAIN | {A.FIELDS: CONTRADICTED}),
        (explained(item(trafficSts=0)), PLAIN),
        (explained(item(trafficSts="2")), PLAIN | {A.STATUS: CONTRADICTED}),
        (explained(item(oriAmount="2,94")), PLAIN | {A.AMOUNT: CONTRADICTED}),
        (explained(item(oriAmount="")), PLAIN | {A.AMOUNT: OPEN}),
        (explained(item(trafficSts="-1", oriAmount="0")), PLAIN | {A.FAILED_AMOUNT: CONFIRMED}),
        (explained(item(trafficSts="-1")), PLAIN | {A.FAILED_AMOUNT: CONTRADICTED}),
        (explained(item(mobile="***4")), PLAIN | {A.MASK: CONTRADICTED}),
        (explained(item(mobile=None)), PLAIN | {A.MASK: OPEN}),
    ],
)
def test_what_a_reply_says_of_each_assumption(explanation: Explanation, said: dict[Assumption, Standing]) -> None:
    assert dict(standings(explanation)) == dict.fromkeys(Assumption, OPEN) | said
