"""The promise, one function for each invariant: each yields what broke it, in words; nothing where it was kept."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults.checker.evidence import FINAL, Evidence, Row, same_amount
from tests.faults.checker.traces import check_evidence

_OPERATOR = "operator"
_BAD_TIMESTAMP = "-9004"
"""The platform refuses a request with a bad timestamp by its head alone."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the checker found."""

    violations: tuple[str, ...]
    """Each begins with the name of the invariant that it breaks."""
    smallest_spacing: float | None
    """Seconds between an arrival and the N-th before it, the least of all SIDs; None where no SID had so many."""
    recovery_seconds: float | None
    """Seconds from the end of the fault until the last due order was polled, or settled; None where none was due."""
    queries: int
    settled: int


def check(evidence: Evidence) -> Verdict:
    """Check S1 to S5 and L1."""
    found = [f"{name}: {what}" for name, check in _INVARIANTS.items() for what in check(evidence)]
    spacings = [spacing for spacing, _ in _spacings(evidence)]
    return Verdict(
        violations=tuple(found),
        smallest_spacing=min(spacings, default=None),
        recovery_seconds=max((seconds for _, seconds in _recoveries(evidence) if seconds is not None), default=None),
        queries=len(evidence.arrivals),
        settled=sum(order["state"] in FINAL for order in evidence.orders),
    )


def _s1(evidence: Evidence) -> Iterator[str]:
    """In any window, the platform sees the arrivals of at most N queries of one SID."""
    for spacing, arrival in _spacings(evidence):
        if spacing < evidence.window_seconds:
            yield (
                f"arrival {arrival['number']} came {spacing:.3f} s after the {evidence.queries_per_window}. before it;"
                f" the window is {evidence.window_seconds:g} s"
            )


def _spacings(evidence: Evidence) -> Iterator[tuple[float, Row]]:
    by_sid: dict[str, list[Row]] = defaultdict(list)
    for arrival in evidence.arrivals:
        by_sid[arrival["sid"]].append(arrival)
    for arrivals in by_sid.values():
        arrivals.sort(key=lambda arrival: float(arrival["monotonic"]))
        for earlier, later in zip(arrivals, arrivals[evidence.queries_per_window :], strict=False):
            yield later["monotonic"] - earlier["monotonic"], later


def _s2(evidence: Evidence) -> Iterator[str]:
    """A final state equals the platform's truth, or an operator's word, and never changes by itself."""
    misled = {name for arrival in evidence.arrivals for name, fault in arrival["spoiled"] if fault == "wrong-amount"}
    for order in evidence.orders:
        if order["state"] not in FINAL:
            continue
        if order["settled_by"] == _OPERATOR:
            yield from _not_as_resolved(order, evidence)
            continue
        truth = evidence.truth.get(order["request_id"])
        if truth is None or not truth["settled"]:
            yield f"order {order['request_id']} is {order['state']}, and the platform never answered so"
        elif truth["outcome"] != FINAL[order["state"]]:
            yield f"order {order['request_id']} is {order['state']}; the truth is {truth['outcome']}"
        elif str(order["traffic_sts"]) != truth["outcome"]:
            yield f"order {order['request_id']} is {order['state']} with traffic_sts {order['traffic_sts']}"
        elif not same_amount(order["ori_amount"], truth["amount"]):
            yield from _wrong_amount(order, truth, misled)
    yield from _changed_by_themselves(evidence)
    yield from _given_up_on(evidence)


def _not_as_resolved(order: Row, evidence: Evidence) -> Iterator[str]:
    said = evidence.sent.resolved.get(order["request_id"])
    if said is None or said[0] != order["state"] or not same_amount(order["ori_amount"] or "0", said[1]):
        there = order["state"], order["ori_amount"]
        yield f"order {order['request_id']} is {there} by an operator's word, and the operator said {said}"


def _changed_by_themselves(evidence: Evidence) -> Iterator[str]:
    """Final and cancelled orders that became something else, more often than an operator has done that."""
    names = {order["id"]: order["request_id"] for order in evidence.orders}
    reopened, resolved = Counter(evidence.sent.reopened), Counter(evidence.sent.resolved.keys())
    for change in evidence.changes:
        # Another reason for a person takes nothing back.
        if (
            change["old_state"] not in (*FINAL, "cancelled")
            or change["new_state"] is None
            or _is_attention_alone(change)
        ):
            continue
        name = str(names.get(change["order_id"]))
        if change["new_state"] == "pending" and reopened[name]:
            reopened[name] -= 1
        elif change["old_state"] == "cancelled" and change["new_state"] in FINAL and resolved[name]:
            resolved[name] -= 1
        else:
            yield (
                f"order {change['order_id']} was {change['old_state']} ({change['old_result']}) and became"
                f" {change['new_state']} ({change['new_result']})"
            )


def _is_attention_alone(change: Row) -> bool:
    before = change["old_state"], change["old_result"]
    return before == (change["new_state"], change["new_result"]) and change["old_attention"] != change["new_attention"]


def _given_up_on(evidence: Evidence) -> Iterator[str]:
    """Polling stops only for an order that was polled alone, three times at least."""
    alone = Counter(arrival["ids"][0] for arrival in evidence.arrivals if len(arrival["ids"]) == 1)
    for order in evidence.orders:
        polled = alone[order["request_id"]] + alone[order["custom_parm"]]
        if order["state"] == "unresolved" and polled < 3:
            yield f"order {order['request_id']} is unresolved, and was polled alone {polled} times"


def _wrong_amount(order: Row, truth: Row, misled: set[str]) -> Iterator[str]:
    """A wrong amount is allowed only where the platform answered it; where another was expected, it needs attention."""
    name, amount = order["request_id"], order["ori_amount"]
    if name not in misled:
        yield f"order {name} has amount {amount}; the truth is {truth['amount']}"
    elif order["expected_amount"] is not None and order["attention"] is None:
        yield f"order {name} was charged {amount}, {order['expected_amount']} was expected, and it has no attention"


def _s3(evidence: Evidence) -> Iterator[str]:
    """No accepted order is lost; every refused input is recorded; what the broker accepted is applied."""
    there = {order["request_id"] for order in evidence.orders}
    for change in evidence.changes:
        if change["new_state"] is None:
            yield f"the row of order {change['order_id']} is gone"
    for request_id in sorted(evidence.sent.orders - there):
        yield f"order {request_id} was sent and is not there"
    refusals = "\n".join(str(row["payload"]) for row in evidence.rejected)
    for request_id in sorted(evidence.sent.refused):
        if request_id not in refusals:
            yield f"the input {request_id} was refused without a record"
    states = {order["request_id"]: order["state"] for order in evidence.orders}
    for request_id in sorted(evidence.sent.cancelled):
        if states.get(request_id) == "pending" and request_id not in evidence.sent.reopened:
            yield f"order {request_id} was cancelled and is still polled"
    yield from _lost_callbacks(evidence)


def _lost_callbacks(evidence: Evidence) -> Iterator[str]:
    kept = {row["request_id"] for row in evidence.kept_callbacks}
    recorded = {event["order_id"] for event in evidence.events if event["source"] == "callback"}
    kept |= {order["request_id"] for order in evidence.orders if order["id"] in recorded}
    for callback in evidence.sent.callbacks:
        name = callback["requestId"]
        if callback.get("trafficSts") in ("1", "-1") and name not in kept:
            yield f"a callback for order {name} left no trace"


def _s4(evidence: Evidence) -> Iterator[str]:
    """A query holds 1 to 100 ids, each once, of one account, of one kind."""
    account_of: dict[tuple[Any, Any], str] = {}
    for order in evidence.orders:
        account_of |= {("requestId", order["request_id"]): order["account"]}
        account_of |= {("customParm", order["custom_parm"]): order["account"]}
    for arrival in evidence.arrivals:
        ids = list(arrival["ids"])
        by_wrong_clock = evidence.clock_was_stepped and arrival.get("status_code") == _BAD_TIMESTAMP
        if arrival["outcome"] in ("open", "broken") or by_wrong_clock:
            # Cut before its body came, or refused before it was read: its ids were never seen.
            continue
        if not 1 <= len(ids) <= 100:
            yield f"arrival {arrival['number']} polls {len(ids)} ids"
        for one, count in Counter(ids).items():
            if count > 1:
                yield f"arrival {arrival['number']} names {one} {count} times"
        accounts = {account_of.get((arrival["id_kind"], one)) for one in ids}
        if len(accounts) > 1 or None in accounts:
            yield f"arrival {arrival['number']} polls orders of {sorted(map(str, accounts))}, not of one account"


def _l1(evidence: Evidence) -> Iterator[str]:
    """Once the fault is gone, every due order is polled again within the bound."""
    for name, seconds in _recoveries(evidence):
        bound = evidence.recovery.bound_seconds if evidence.recovery else 0.0
        if seconds is None:
            yield f"order {name} was not polled again"
        elif seconds > bound:
            yield f"order {name} was polled {seconds:.1f} s after the fault was gone; the bound is {bound:g} s"


def _recoveries(evidence: Evidence) -> Iterator[tuple[str, float | None]]:
    recovery = evidence.recovery
    if recovery is None:
        return
    done = {order["request_id"] for order in evidence.orders if order["state"] in (*FINAL, "cancelled")}
    polled: dict[str, float] = {}
    for arrival in evidence.arrivals:
        if arrival["monotonic"] >= recovery.healed_at:
            for name in arrival["ids"]:
                polled.setdefault(name, arrival["monotonic"] - recovery.healed_at)
    for name in sorted(recovery.due):
        # An order that settled without another poll was settled by an earlier answer, or by a callback.
        yield name, polled.get(name, 0.0 if name in done else None)


_INVARIANTS: Mapping[str, Callable[[Evidence], Iterator[str]]] = {
    "S1": _s1,
    "S2": _s2,
    "S3": _s3,
    "S4": _s4,
    "S5": check_evidence,
    "L1": _l1,
}
