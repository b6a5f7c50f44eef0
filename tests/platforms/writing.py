"""Answers as bytes: shapes, charsets, and every kind of failed query."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.platforms import wording
from tests.platforms.traits import Traits

Item = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A reply as it arrives over the wire."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    retry_after: float | None = None
    """Seconds."""
    broken: str = ""
    """`timeout`, `unreachable` or `reset`: no whole answer."""


def failing(failure: str, random: Random, retry_after: float | None) -> Reply:
    """The reply to a query that fails."""
    match failure:
        case "timeout" | "unreachable" | "reset":
            return Reply(broken=failure)
        case "page":
            return Reply(body=b"<html><body>200 OK</body></html>", content_type="text/html")
        case "cut":
            return Reply(body=b'[{"requestId":"R0001","trafficSts":"1","oriAm')
        case "empty body":
            return Reply()
        case "empty object":
            return Reply(body=b"{}")
        case "error object":
            return _error(*random.choice(wording.ERROR_OBJECTS))
        case "configuration":
            return _error("-205", "应用校验失败")
        case "frequent":
            return _error("-9", random.choice(wording.TOO_FREQUENT))
    return Reply(status=int(failure), body=b"<html>error</html>", retry_after=retry_after)


def _error(code: str, message: str) -> Reply:
    body = {"statusCode": code, "statusMsg": message, "requestId": ""}
    return Reply(body=json.dumps(body, ensure_ascii=False).encode())


def written(items: Sequence[tuple[str, Item]], kind: str, traits: Traits, random: Random) -> Reply:
    """An answer that holds these items; each comes with the id that it is about."""
    dressed = [(name, _dressed(item, traits)) for name, item in items]
    encoding, content_type = traits.charset
    # A lone surrogate is spelled as an escape: no encoding has it.
    text = json.dumps(_shaped(dressed, kind, traits, random), ensure_ascii=traits.extras == "junk")
    return Reply(body=text.encode(encoding), content_type=content_type)


def _dressed(item: Item, traits: Traits) -> Item:
    dressed = dict(item)
    if traits.numbers and str(dressed.get("trafficSts")) in ("1", "-1", "0"):
        dressed["trafficSts"] = int(str(dressed["trafficSts"]))
    if traits.capital_keys:
        for key in ("remark", "mobile"):
            if key in dressed:
                dressed[key.capitalize()] = dressed.pop(key)
    return dressed


def _shaped(items: Sequence[tuple[str, Item]], kind: str, traits: Traits, random: Random) -> object:
    listed = [item for _, item in items]
    if not listed and traits.empty_object:
        return {}
    match traits.shape:
        case "wrapped":
            return {"statusCode": random.choice(("0", "000000", 0)), "statusMsg": "ok", "data": listed}
        case "result":
            return {"result": listed}
        case "object" if len(listed) == 1:
            return listed[0]
        case "keyed":
            return {"statusCode": "000000", **_keyed(items, kind, traits)}
        case "keyed in data":
            return {"statusCode": "0", "data": _keyed(items, kind, traits)}
    return listed


def _keyed(items: Sequence[tuple[str, Item]], kind: str, traits: Traits) -> dict[str, object]:
    keyed: dict[str, object] = {}
    for name, item in items:
        keyed[name] = {key: value for key, value in item.items() if not (traits.keyed_bare and key == kind)}
    if traits.extras == "junk":
        # Keys that are no ids: no database can store them.
        junk = {"trafficSts": "1", "oriAmount": "9.99"}
        keyed |= {"\ud800": junk, "a\x00b": junk}
    return keyed
