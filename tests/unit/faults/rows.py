"""Rows of the database as the checkers read them: a test names only the fields that it is about."""

from typing import Any


def order(name: str, state: str = "succeeded", **fields: Any) -> dict[str, Any]:
    """A row of `recharge_orders`."""
    return {
        "id": int(name),
        "account": "default",
        "request_id": name,
        "custom_parm": None,
        "state": state,
        "traffic_sts": {"succeeded": 1, "failed": -1}.get(state),
        "ori_amount": "2.9400",
        "remark": "成功",
        "settled_by": "query",
        "expected_amount": None,
        "attention": None,
        "version": 100,
        **fields,
    }


def change(name: str, old: str | None, new: str | None, *attentions: str | None) -> dict[str, Any]:
    """What a trigger recorded of a change: both states, and both attentions."""
    old_attention, new_attention = attentions or (None, None)
    results = {"old_result": "", "new_result": ""}
    attention = {"old_attention": old_attention, "new_attention": new_attention}
    return {"order_id": int(name), "old_state": old, "new_state": new, **results, **attention}
