"""S5: what a settled order leads back to."""

from collections import defaultdict
from collections.abc import Iterator

from tests.faults.checker.evidence import FINAL, Evidence, Row, same_amount

_Told = tuple[str, str | None, str | None]
"""Status, amount and remark, as they were said."""


def led_back(evidence: Evidence) -> Iterator[str]:
    """Every settled order leads to the query or callback that settled it, and to the item's own words."""
    queries = {query["id"]: query for query in evidence.queries}
    settling: dict[int, list[Row]] = defaultdict(list)
    for event in evidence.events:
        if event["to_state"] in FINAL and event["from_state"] != event["to_state"]:
            settling[event["order_id"]].append(event)
    for order in evidence.orders:
        if order["state"] not in FINAL:
            continue
        name, events = order["request_id"], settling[order["id"]]
        if len(events) != 1:
            yield f"order {name} is {order['state']} by {len(events)} events"
            continue
        (event,) = events
        if event["source"] != order["settled_by"]:
            yield f"order {name} was settled by {order['settled_by']!r}, its event says {event['source']!r}"
        if not event["detail"]:
            yield f"order {name} was settled by words that nobody kept"
        if event["source"] == "query":
            faults = _by_query(order, event, queries.get(event["query_id"]), evidence)
        else:
            faults = _by_callback(order, event, evidence)
        yield from (f"order {name} {fault}" for fault in faults)


def _by_query(order: Row, event: Row, query: Row | None, evidence: Evidence) -> Iterator[str]:
    if query is None or query["outcome"] != "answered":
        yield f"names query {event['query_id']}, which was not answered"
        return
    asked = set(query["polled_ids"].split(","))
    names = {order["request_id"], order["custom_parm"]} & asked
    if not names:
        yield f"names query {query['id']}, which did not poll it"
    told = [
        (status, amount, remark)
        for arrival in evidence.arrivals
        if set(arrival["ids"]) == asked
        for one, status, amount, remark in arrival["items"]
        if one in names
    ]
    if not any(_is_the_word(order, event, word) for word in told):
        yield f"was settled by {_written(order)}; the platform said {told}"


def _by_callback(order: Row, event: Row, evidence: Evidence) -> Iterator[str]:
    told = [
        (callback["trafficSts"], callback.get("oriAmount"), callback.get("remark"))
        for callback in evidence.sent.callbacks
        if callback["requestId"] == order["request_id"]
    ]
    if not any(_is_the_word(order, event, word) for word in told):
        yield f"was settled by {_written(order)}; callbacks said {told}"


def _is_the_word(order: Row, event: Row, word: _Told) -> bool:
    status, amount, remark = word
    return all(
        str(row["traffic_sts"]) == status and same_amount(row["ori_amount"], amount) and row["remark"] == remark
        for row in (order, event)
    )


def _written(order: Row) -> _Told:
    return str(order["traffic_sts"]), str(order["ori_amount"]), order["remark"]
