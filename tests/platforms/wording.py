"""What platforms write: words, masks and amounts. What each of them shows is fixed here, not read from the text."""

DENIALS = (
    "订单不存在",
    "查无此订单",
    "无此订单",
    "没有找到该订单",
    "订单号错误",
    "未找到订单记录",
    "记录不存在",
    "order does not exist",
    "no such order",
    "Order not found",
    "The record was NOT FOUND",
)
"""Each says that there is no such order; it stays a denial beside a mobile that agrees."""

EMPTY_WORDS = ("", "失败", "系统错误", "处理失败", "E0042", "fail", "未知错误", "请稍后再试")
"""Words beside a -1 that say nothing about the order: without evidence such an item is a denial."""

FAILURES = (
    ("充值失败", False),
    ("余额不足", False),
    ("号码已停机", False),
    ("recharge failed", False),
    ("手机号码不存在", True),
    ("无此套餐", True),
    ("subscriber not found", True),
    ("未找到号码归属地", True),
)
"""Remarks of real failures, and whether each counts as a denial unless the item has a mobile that agrees."""

MASKS = ("usual", "usual", "usual", "usual", "full", "tail", "head", "stars", "one", "none", "empty")
WITNESSES = frozenset({"usual", "full", "tail"})
"""The masks that show at least four digits."""
SHOWING = WITNESSES | {"head"}
"""The masks that show enough of a number to contradict another."""

SUCCESS_AMOUNTS: tuple[object, ...] = ("2.94", "2.94", "30", "0.5", "19.9000", 2.94, "0", "0.00")
UNREADABLE_AMOUNTS: tuple[object, ...] = ("", "N/A", "2,94", "-1", None)
FAILURE_AMOUNTS: tuple[object, ...] = ("", "0", "0.00", "N/A", None, 0, "2.94")
"""None: the field is left out."""
CHARGED = frozenset({"2.94"})
"""The amounts of failures that show by themselves that the platform knows the order."""
DENIAL_AMOUNTS: tuple[object, ...] = ("", "N/A", "0", "0.00", None, 0)
DENIAL_MOBILES = (None, None, "", "***********", "1*", "1**********")

TOO_FREQUENT = ("查询过于频繁", "操作频率过高", "Too many requests", "rate limit exceeded", "requests are too frequent")
ERROR_OBJECTS = (("-2", "缺少必要参数"), ("-1", "系统异常"), ("500", "internal error"), ("-99", "非法请求"))


def masked(style: str, mobile: str) -> str | None:
    """A number as a platform of this style shows it."""
    match style:
        case "usual":
            return f"{mobile[:3]}****{mobile[-4:]}"
        case "full":
            return mobile
        case "tail":
            return f"*******{mobile[-4:]}"
        case "head":
            return f"{mobile[:3]}********"
        case "stars":
            return "***********"
        case "one":
            return "1*"
        case "empty":
            return ""
    return None
