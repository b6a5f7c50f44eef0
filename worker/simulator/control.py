"""The control endpoint, under `/simulator/` on the platform's own port: what tests, the demo and people look at.

- `GET /simulator/health`: `{"status": "ok"}`
- `GET /simulator/record[?after=N]`: arrivals, violations, smallest spacings, counts
- `GET /simulator/truth`: `{"orders": [...]}`, each order as it truly stands now
- `POST /simulator/orders`: `{"orders": [...]}`, each with the fields of `worker.simulator.orders.NewOrder`; all are
  placed or none
- `POST /simulator/faults`: the fields of `worker.simulator.faults.Faults`; they replace those in force
- `POST /simulator/answers`: the fields of `worker.simulator.answers.AnswerStyle`, likewise

Wrong input is answered with 400 and `{"error": "..."}`.
"""

import json
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from worker.simulator import fields
from worker.simulator.answers import AnswerStyle
from worker.simulator.faults import Faults
from worker.simulator.orders import NewOrder
from worker.simulator.platform import Platform, Reply

PREFIX = "/simulator/"


def control(platform: Platform, *, client: str, method: str, target: str, body: bytes) -> Reply:
    """Answer one control request. `client` is the caller's IP address: only this machine may look and change."""
    if not is_loopback(client):
        return _reply(403, {"error": "the control endpoint serves this machine only"})
    parts = urlsplit(target)
    route = _ROUTES.get((method, parts.path))
    if route is None:
        known = ", ".join(f"{verb} {path}" for verb, path in _ROUTES)
        return _reply(404, {"error": f"no {method} {parts.path} here; known are {known}"})
    try:
        after = int(parse_qs(parts.query).get("after", ["0"])[0])
        sent = json.loads(body) if method == "POST" else {"after": max(after, 0)}
        return _reply(200, route(platform, sent))
    except (ValueError, RecursionError) as error:
        return _reply(400, {"error": str(error)})


def is_loopback(address: str) -> bool:
    """Whether an IP address belongs to this machine alone, also where it is written as IPv6."""
    parsed = ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def _health(platform: Platform, sent: object) -> object:
    return {"status": "ok"}


def _record(platform: Platform, sent: object) -> object:
    after = sent["after"] if isinstance(sent, Mapping) else 0
    return platform.record.summary(after=after) | {"callbacks": platform.callbacks.counts()}


def _truth(platform: Platform, sent: object) -> object:
    return {"orders": platform.truth()}


def _place_orders(platform: Platform, sent: object) -> object:
    read = fields.read_object(sent, {"orders": _orders}, what="body")
    placed = platform.register(read.get("orders", ()))
    return {"registered": len(placed), "request_ids": [order.request_id for order in placed]}


def _set_faults(platform: Platform, sent: object) -> object:
    platform.faults.set(Faults.from_json(sent))
    return {"status": "ok"}


def _set_answers(platform: Platform, sent: object) -> object:
    platform.answers = AnswerStyle.from_json(sent)
    return {"status": "ok"}


def _orders(raw: object) -> list[NewOrder]:
    if not isinstance(raw, list):
        raise fields.FieldError("expected a list of orders")
    return [NewOrder.from_json(one) for one in raw]


def _reply(status: int, value: object) -> Reply:
    return Reply(status=status, body=json.dumps(value, ensure_ascii=False).encode())


_ROUTES: dict[tuple[str, str], Callable[[Platform, object], object]] = {
    ("GET", "/simulator/health"): _health,
    ("GET", "/simulator/record"): _record,
    ("GET", "/simulator/truth"): _truth,
    ("POST", "/simulator/orders"): _place_orders,
    ("POST", "/simulator/faults"): _set_faults,
    ("POST", "/simulator/answers"): _set_answers,
}
