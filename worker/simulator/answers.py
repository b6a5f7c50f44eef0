"""The items of an answer, and its form: one object for one id, an array for several."""

import json
from collections.abc import Sequence

from worker.simulator.orders import PlacedOrder

Item = dict[str, object]
_REMARKS = {"1": "成功", "-1": "充值失败", "0": "充值中"}


def item_of(order: PlacedOrder, now: float) -> Item:
    """The item of an order at this moment, `customParm` included."""
    status = order.status_at(now)
    item: Item = {"requestId": order.request_id, "customParm": order.custom_parm, "appid": order.app_id}
    item |= {"trafficSts": status, "remark": _REMARKS[status], "mobile": masked(order.mobile)}
    item["oriAmount"] = order.amount if status != "0" else "0.00"
    return {key: value for key, value in item.items() if value is not None}


def masked(mobile: str | None) -> str | None:
    """The number as the platform shows it: `188****0804`."""
    return f"{mobile[:3]}****{mobile[-4:]}" if mobile else None


def compose(items: Sequence[Item], *, polled: int) -> bytes:
    """The body of an answer to `polled` ids, with these items."""
    answer = items[0] if polled == 1 and len(items) == 1 else items
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
