"""Check that a request is a query as the platform's documentation page describes it.

The check is as strict as our reading of this page allows. Any other request is refused: the answer has HTTP status 200,
a `statusCode`, a `statusMsg` and an empty `requestId`. Only the codes `-2` and `-205` are documented. The other codes
are invented in this module, because the platform does not publish a list.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

MAX_IDS = 100
ID_KINDS = ("requestId", "customParm")
PLATFORM_ZONE = timezone(timedelta(hours=8))
"""The platform's local time (China has no daylight saving time)."""
_TIMESTAMP_LIFE = timedelta(hours=24)
_TIMESTAMP_AHEAD = timedelta(minutes=5)
"""How far a timestamp may be ahead of the platform's clock. This is our own choice: the platform documents no limit."""
_TARGET = re.compile(r"/(?P<version>[^/?]+)/sid/(?P<sid>[^/?]+)/(?P<function>[^?]*)(?:\?(?P<query>.*))?")
_SIGN = re.compile(r"Sign=([0-9A-Fa-f]{32})")
_ID = re.compile(r"[^\s,\"'\[\]\x00-\x1f\x7f]{1,64}")
_HEADER_NAMES = ("Authorization", "Accept", "Content-Type")


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """An application of an account SID. Several accounts may share a SID; they then share its limit and its token."""

    sid: str
    auth_token: str = field(repr=False)
    app_id: str


class Code(Enum):
    """The `statusCode` of an error answer, and its `statusMsg`."""

    MISSING_PARAMETER = ("-2", "缺少必要参数")
    APPLICATION_CHECK = ("-205", "应用验证失败")
    NO_SUCH_INTERFACE = ("-9001", "接口不存在")
    NO_SUCH_ACCOUNT = ("-9002", "账户不存在")
    BAD_HEADER = ("-9003", "请求包头错误")
    BAD_TIMESTAMP = ("-9004", "时间戳无效或已过期")
    BAD_SIGNATURE = ("-9005", "签名验证失败")
    BAD_BODY = ("-9006", "请求包体格式错误")
    BAD_PARAMETER = ("-9007", "参数错误")
    TOO_MANY_IDS = ("-9008", "订单编号超过100个")
    DOUBLED_IDS = ("-9009", "订单编号重复")
    TOO_FREQUENT = ("-9010", "请求过于频繁，请稍后再试")


@dataclass(frozen=True, kw_only=True, slots=True)
class Polled:
    """The content of a request's body, as far as it could be read."""

    app_id: str = ""
    """The application; empty if the body names no application, or one that the platform does not serve."""
    id_kind: str = ""
    """The kind of the ids: `requestId` or `customParm`; empty if the body has neither field, or both."""
    ids: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()
    """The names of the rules about ids that the query breaks."""


class Refusal(Exception):
    """The platform refuses this query. `detail` is for the record and is not sent."""

    def __init__(self, code: Code, detail: str, *, polled: Polled | None = None) -> None:
        self.status_code, self.message = code.value
        super().__init__(f"{self.status_code} {self.message}: {detail}")
        self.detail = detail
        self.polled = polled or Polled()


def error_body(status_code: str, message: str) -> bytes:
    """The documented error object."""
    answer = {"statusCode": status_code, "statusMsg": message, "requestId": ""}
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A request as received, without its body."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]


def sid_of(target: str) -> str | None:
    """The account SID in a request target; None if the target does not belong to the platform's API."""
    found = _TARGET.fullmatch(target)
    return found["sid"] if found else None


def check_head(
    head: Head, accounts: Mapping[str, Sequence[Account]], *, version: str, now: datetime
) -> Sequence[Account]:
    """Check a request's head, and return the accounts of its SID. Raises Refusal if any part is not as documented.

    `accounts` has the accounts of each SID. `now` has a time zone. The request's timestamp may be up to 5 minutes ahead
    of `now`, or up to 24 hours behind it.
    """
    found = _TARGET.fullmatch(head.target)
    if not found or head.method != "POST":
        raise Refusal(Code.NO_SUCH_INTERFACE, f"{head.method} {head.target.partition('?')[0]}")
    if found["version"] != version or found["function"] != "traffic/Traffic.wx":
        raise Refusal(Code.NO_SUCH_INTERFACE, f"version {found['version']}, function {found['function']}")
    if found["sid"] not in accounts:
        raise Refusal(Code.NO_SUCH_ACCOUNT, found["sid"])
    own = accounts[found["sid"]]
    authorization, accept, content_type = (_only(head.headers, name) for name in _HEADER_NAMES)
    _check_media_types(accept, content_type)
    stamp = _stamp_of(authorization, found["sid"])
    _check_stamp(stamp, now)
    _check_sign(found["query"] or "", own[0], stamp)
    return own


def check_body(body: bytes, own: Sequence[Account]) -> Polled:
    """Check a request's body, and return its content. `own` are the accounts of the request's SID.

    Raises Refusal if the body is incorrect. The error has the body's ids if they could be read.
    """
    fields = _object_of(body)
    kinds = [kind for kind in ID_KINDS if kind in fields]
    polled = _polled(kinds[0], fields[kinds[0]]) if len(kinds) == 1 else Polled()
    for name in ("action", "appid"):
        if not fields.get(name):
            raise Refusal(Code.MISSING_PARAMETER, name, polled=polled)
    if not kinds:
        raise Refusal(Code.MISSING_PARAMETER, "requestId or customParm", polled=polled)
    if unknown := sorted(set(fields) - {"action", "appid", *ID_KINDS}):
        raise Refusal(Code.BAD_PARAMETER, f"unknown field {', '.join(unknown)}", polled=polled)
    if len(kinds) > 1:
        raise Refusal(Code.BAD_PARAMETER, "both requestId and customParm", polled=polled)
    if fields["action"] != "getTrafficResult":
        raise Refusal(Code.BAD_PARAMETER, f"action {fields['action']}", polled=polled)
    if all(fields["appid"] != one.app_id for one in own):
        raise Refusal(Code.APPLICATION_CHECK, f"appid {fields['appid']}", polled=polled)
    _check_ids(polled)
    return replace(polled, app_id=fields["appid"])


def _only(headers: Sequence[tuple[str, str]], name: str) -> str:
    values = [value.strip() for key, value in headers if key.lower() == name.lower()]
    if len(values) != 1:
        raise Refusal(Code.BAD_HEADER, f"{name} is there {len(values)} times")
    return values[0]


def _check_media_types(accept: str, content_type: str) -> None:
    # Allow a semicolon at the end, and blanks, because the platform's documentation page has `application/json;`.
    if _parts(accept) != ["application/json"]:
        raise Refusal(Code.BAD_HEADER, f"Accept: {accept}")
    if _parts(content_type) != ["application/json", "charset=utf-8"]:
        raise Refusal(Code.BAD_HEADER, f"Content-Type: {content_type}")


def _parts(value: str) -> list[str]:
    return [part.strip().lower() for part in value.split(";") if part.strip()]


def _stamp_of(authorization: str, sid: str) -> str:
    try:
        decoded = base64.b64decode(authorization, validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise Refusal(Code.BAD_HEADER, "Authorization is not base64") from error
    named, separator, stamp = decoded.partition("|")
    if not separator or named != sid:
        raise Refusal(Code.BAD_HEADER, "Authorization is not the account SID, | and the timestamp")
    return stamp


def _check_stamp(stamp: str, now: datetime) -> None:
    if not re.fullmatch(r"[0-9]{14}", stamp):
        raise Refusal(Code.BAD_TIMESTAMP, f"{stamp!r} is not yyyyMMddHHmmss")
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=PLATFORM_ZONE)
    except ValueError as error:
        raise Refusal(Code.BAD_TIMESTAMP, f"{stamp} is no time") from error
    age = now - signed_at
    if age > _TIMESTAMP_LIFE or age < -_TIMESTAMP_AHEAD:
        raise Refusal(Code.BAD_TIMESTAMP, f"{stamp} is {age.total_seconds():.0f} s old")


def _check_sign(query: str, account: Account, stamp: str) -> None:
    found = _SIGN.fullmatch(query)
    expected = hashlib.md5(f"{account.sid}{account.auth_token}{stamp}".encode(), usedforsecurity=False).hexdigest()
    if not found or found[1].lower() != expected:
        raise Refusal(Code.BAD_SIGNATURE, "Sign is not the MD5 of account SID, token and timestamp")


def _object_of(body: bytes) -> dict[str, str]:
    try:
        fields = json.loads(body.decode("utf-8"), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise Refusal(Code.BAD_BODY, f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise Refusal(Code.BAD_BODY, "not an object")
    for name, value in fields.items():
        if not isinstance(value, str):
            raise Refusal(Code.BAD_PARAMETER, f"{name} is not a string")
    return fields


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _polled(id_kind: str, value: str) -> Polled:
    if value.startswith("[") and value.endswith("]"):
        value = value[1:-1]
    ids = tuple(value.split(",")) if value else ()
    breaches = {"no_ids": not ids, "over_100_ids": len(ids) > MAX_IDS, "doubled_ids": len(set(ids)) != len(ids)}
    return Polled(id_kind=id_kind, ids=ids, violations=tuple(name for name, is_so in breaches.items() if is_so))


def _check_ids(polled: Polled) -> None:
    if not polled.ids:
        raise Refusal(Code.MISSING_PARAMETER, f"{polled.id_kind} is empty", polled=polled)
    if "over_100_ids" in polled.violations:
        raise Refusal(Code.TOO_MANY_IDS, f"{len(polled.ids)} ids", polled=polled)
    if "doubled_ids" in polled.violations:
        raise Refusal(Code.DOUBLED_IDS, "an id is there twice", polled=polled)
    for one in polled.ids:
        if not _ID.fullmatch(one):
            raise Refusal(Code.BAD_PARAMETER, f"{one!r} is no id", polled=polled)
