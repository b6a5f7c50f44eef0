"""S5: the evidence of a settled order."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.faults.checker.evidence import FINAL, Evidence, Row, same_amount

_OPERATOR = "operator"
_Item = tuple[str, str | None, str | None]
"""Status, amount and remark, as they were answered."""


def check_evidence(evidence: Evidence) -> Iterator[str]:
    """Every settled order names the query or callback that settled it, and keeps the item's own words."""
    queries = {query["id"]: query for query in evidence.queries}
    settling: dict[int, list[Row]] = defaultdict(list)
    reopened = Counter(evidence.sent.reopened)
    for event in evidence.events:
        if event["to_state"] in FINAL and event["from_state"] != event["to_state"]:
            settling[event["order_id"]].append(event)
    for order in evidence.orders:
        if order["state"] not in FINAL:
            continue
        name, events = order["request_id"], settling[order["id"]]
        if not 1 <= len(events) <= 1 + reopened[name]:
            yield f"order {name} is {order['state']} by {len(events)} events"
            continue
        # In the order of their ids: what settled it before it was reopened comes first.
        event = events[-1]
        if event["source"] != order["settled_by"]:
            yield f"order {name} was settled by {order['settled_by']!r}, its event says {event['source']!r}"
        if event["source"] == _OPERATOR:
            # `resolved` holds what was said; S2 compares it with the order.
            continue
        if not event["detail"]:
            yield f"order {name} was settled by an item whose words were not kept"
        if event["source"] == "query":
            faults = _by_query(order, event, queries.get(event["query_id"]), evidence)
        else:
            faults = _by_callback(order, event, evidence)
        yield from (f"order {name} {fault}" for fault in faults)


def _by_query(order: Row, event: Row, query: Row | None, evidence: Evidence) -> Iterator[str]:
    if query is None or query["outcome"] != "answered":
        yield f"names query {event['query_id']}, which was not answered"
        return
    polled = set(query["polled_ids"].split(","))
    names = {order["request_id"], order["custom_parm"]} & polled
    if not names:
        yield f"names query {query['id']}, which did not poll it"
    answered = [
        (status, amount, remark)
        for arrival in evidence.arrivals
        if set(arrival["ids"]) == polled
        for one, status, amount, remark in arrival["items"]
        if one in names
    ]
    if not any(_agrees(order, event, item) for item in answered):
        yield f"was settled by {_written(order)}; the platform answered {answered}"


def _by_callback(order: Row, event: Row, evidence: Evidence) -> Iterator[str]:
    called_back = [
        (callback["trafficSts"], callback.get("oriAmount"), callback.get("remark"))
        for callback in evidence.sent.callbacks
        if callback["requestId"] == order["request_id"]
    ]
    if not any(_agrees(order, event, item) for item in called_back):
        yield f"was settled by {_written(order)}; callbacks said {called_back}"


def _agrees(order: Row, event: Row, item: _Item) -> bool:
    status, amount, remark = item
    return all(
        str(row["traffic_sts"]) == status and same_amount(row["ori_amount"], amount) and row["remark"] == remark
        for row in (order, event)
    )


def _written(order: Row) -> _Item:
    return str(order["traffic_sts"]), str(order["ori_amount"]), order["remark"]
