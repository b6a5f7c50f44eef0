"""The platform's callbacks, as they are handed on by whoever receives them."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from worker.domain.identity import OrderKey, id_fault, json_type
from worker.domain.reports import Report
from worker.domain.wire.fields import read_report
from worker.domain.wire.text import storable

LONGEST_PAYLOAD = 16_000
"""Characters; the documented callback has about 200."""

_JSON = json.JSONEncoder(ensure_ascii=False, default=str)


@dataclass(frozen=True, kw_only=True, slots=True)
class Callback:
    """One callback body that names at least one order."""

    report: Report
    payload: object
    """The body as it came."""
    payload_text: str
    """The same as JSON."""

    def accounts(self, app_ids: Mapping[str, str]) -> tuple[str, ...]:
        """The accounts that it can be about: those of its appid, or all where it has none of ours."""
        named = tuple(account for account, app_id in app_ids.items() if app_id == self.report.app_id)
        return named or tuple(app_ids)


def read_callback(item: object) -> Callback | tuple[str, ...]:
    """Read one callback body; returns it, or why it cannot be kept for an order. Never raises."""
    if not isinstance(item, Mapping):
        return (f"callback: must be an object, not {json_type(item)}",)
    try:
        payload_text = storable(_JSON.encode(item), LONGEST_PAYLOAD + 1)
    except (TypeError, ValueError, RecursionError):
        # Very long integers and very deep nesting, for instance: Python can read more than it can write.
        return ("callback: cannot be written as JSON; accepted: the platform's own body, parsed",)
    if len(payload_text) > LONGEST_PAYLOAD:
        return (f"callback: is longer than {LONGEST_PAYLOAD} characters",)
    report = read_report(item)
    faults = [
        f"{field}: {fault}"
        for field, value in (("requestId", report.request_id), ("customParm", report.custom_parm))
        if value is not None and (fault := id_fault(value))
    ]
    if report.request_id is None and report.custom_parm is None:
        faults.append("requestId: is missing; accepted: requestId, customParm, or both")
    return tuple(faults) or Callback(report=report, payload=item, payload_text=payload_text)


def account_of(callback: Callback, app_ids: Mapping[str, str], accounts_with_orders: Collection[str]) -> str | None:
    """The account of a callback: by its appid; else the only one there is, or the only one that knows the order."""
    possible = callback.accounts(app_ids)
    if len(possible) == 1:
        return possible[0]
    return next(iter(accounts_with_orders)) if len(accounts_with_orders) == 1 else None


def key_in(account: str, callback: Callback) -> OrderKey:
    """The order that a callback names, in an account."""
    return OrderKey(account=account, request_id=callback.report.request_id, custom_parm=callback.report.custom_parm)
