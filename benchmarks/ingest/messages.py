"""What a billing system sends."""

from benchmarks.bench import APP_ID

LIST = 500
"""Orders or callbacks of one list."""


def orders(tag: str) -> list[dict[str, str]]:
    """A list of orders that are due at once."""
    return [order(tag, number) for number in range(LIST)]


def order(tag: str, number: int) -> dict[str, str]:
    """One order."""
    return {**new_order(tag, number), "submitted_at": "2026-01-31T18:05:00+08:00"}


def new_orders(tag: str) -> list[dict[str, str]]:
    """A list of orders that were submitted now: none is due before its grace ends."""
    return [new_order(tag, number) for number in range(LIST)]


def new_order(tag: str, number: int) -> dict[str, str]:
    """One order that was submitted now."""
    return {**names(tag, number), "mobile": f"188{number:08d}", "expected_amount": "2.94"}


def names(tag: str, number: int) -> dict[str, str]:
    """The ids of one order."""
    return {"request_id": f"2026{tag}{number:06d}", "custom_parm": f"bill-{tag}-{number}"}


def callbacks(tag: str) -> list[dict[str, str]]:
    """The callbacks of a list of orders: each was recharged."""
    return [callback(tag, number) for number in range(LIST)]


def callback(tag: str, number: int) -> dict[str, str]:
    """One callback, as the platform's page shows it."""
    ids = names(tag, number)
    return {
        "requestId": ids["request_id"],
        "customParm": ids["custom_parm"],
        "appid": APP_ID,
        "mobile": f"188****{number % 10_000:04d}",
        "trafficSts": "1",
        "remark": "成功",
        "oriAmount": "2.94",
    }
