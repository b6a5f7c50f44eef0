"""The platform's error answers: an HTTP 200 with `statusCode`, `statusMsg` and an empty `requestId`.

Only `-2` and `-205` are documented. The others are this simulator's own: the platform publishes no list.
"""

import json
from dataclasses import dataclass
from enum import Enum


class Code(Enum):
    """The codes, each with its message."""

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

    @property
    def status_code(self) -> str:
        """The `statusCode` of the answer."""
        return self.value[0]

    @property
    def message(self) -> str:
        """The `statusMsg` of the answer."""
        return self.value[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Polled:
    """What a body asked for, as far as it could be read."""

    id_kind: str | None = None
    """`requestId` or `customParm`."""
    ids: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()
    """Breaches of the rules on a query's ids, by name."""


class Refusal(Exception):
    """The platform does not answer this query. `detail` is for the record, and is not sent."""

    def __init__(self, code: Code, detail: str, *, polled: Polled | None = None) -> None:
        super().__init__(f"{code.status_code} {code.message}: {detail}")
        self.code = code
        self.detail = detail
        self.polled = polled or Polled()


def error_body(status_code: str, message: str) -> bytes:
    """The documented error object."""
    answer = {"statusCode": status_code, "statusMsg": message, "requestId": ""}
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
