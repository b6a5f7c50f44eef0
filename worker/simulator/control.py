"""The control endpoint, under `/simulator/` on the platform's own port, for tests, the demo and people.

- `GET /simulator/record[?after=N]`: arrivals, violations, smallest spacings, counts
- `GET /simulator/truth`: `{"orders": [...]}`, the truth about each order now
- `POST /simulator/orders`: `{"orders": [...]}`, each with the fields of `worker.simulator.orders.NewOrder`; all are
  placed or none
- `POST /simulator/faults`: the fields of `worker.simulator.faults.Faults`; they replace those in force

What a field may hold follows from its type; one that is left out takes its default. Unknown fields and wrong types are
answered with 400 and `{"error": "..."}`, by name.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import TypeAdapter, ValidationError, with_config

from worker.simulator.faults import Faults
from worker.simulator.orders import FIELDS_ONLY, NewOrder
from worker.simulator.platform import Platform, Reply

PREFIX = "/simulator/"


@with_config(FIELDS_ONLY)
@dataclass(frozen=True, kw_only=True, slots=True)
class _NewOrders:
    orders: tuple[NewOrder, ...] = ()


_ORDERS, _FAULTS = TypeAdapter(_NewOrders), TypeAdapter(Faults)


def control(platform: Platform, *, client: str, method: str, target: str, body: bytes) -> Reply:
    """Answer one control request. `client` is the caller's IP address: only this machine may read and change."""
    if not is_loopback(client):
        return _reply(403, {"error": "the control endpoint serves this machine only"})
    parts = urlsplit(target)
    route = _ROUTES.get((method, parts.path))
    if route is None:
        known = ", ".join(f"{verb} {path}" for verb, path in _ROUTES)
        return _reply(404, {"error": f"no {method} {parts.path} here; known are {known}"})
    try:
        return _reply(200, route(platform, body if method == "POST" else parts.query))
    except ValidationError as error:
        return _reply(400, {"error": "; ".join(_words(fault) for fault in error.errors())})
    except ValueError as error:
        return _reply(400, {"error": str(error)})


def is_loopback(address: str) -> bool:
    """Whether an IP address belongs to this machine alone, also where it is written as IPv6."""
    parsed = ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def _words(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])


def _record(platform: Platform, query: Any) -> object:
    after = max(int(parse_qs(query).get("after", ["0"])[0]), 0)
    return platform.record.summary(after=after) | {"callbacks": platform.callbacks.counts()}


def _place_orders(platform: Platform, body: Any) -> object:
    placed = platform.register(_ORDERS.validate_json(body).orders)
    return {"registered": len(placed), "request_ids": [order.request_id for order in placed]}


def _set_faults(platform: Platform, body: Any) -> object:
    platform.faults.set(_FAULTS.validate_json(body))
    return {"status": "ok"}


def _reply(status: int, value: object) -> Reply:
    return Reply(status=status, body=json.dumps(value, ensure_ascii=False).encode())


_ROUTES: dict[tuple[str, str], Callable[[Platform, Any], object]] = {
    ("GET", "/simulator/record"): _record,
    ("GET", "/simulator/truth"): lambda platform, query: {"orders": platform.truth()},
    ("POST", "/simulator/orders"): _place_orders,
    ("POST", "/simulator/faults"): _set_faults,
}
