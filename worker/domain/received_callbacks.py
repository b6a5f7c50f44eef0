"""Callbacks that come over HTTP, by the address of an account: which are refused."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from worker.domain.callback_bodies import BodyFault, read_body, shown_body
from worker.domain.field_rules import id_fault, json_type
from worker.domain.records.incoming import Rejection, Trust, storable
from worker.domain.records.reports import Report
from worker.domain.wire.fields import read_report

LONGEST_PAYLOAD = 16_000
"""Characters; the documented callback has about 200."""
_LONGEST_SHOWN = 64
_JSON = json.JSONEncoder(ensure_ascii=False, default=str)


@dataclass(frozen=True, kw_only=True, slots=True)
class Callback:
    """One callback body that names at least one order."""

    report: Report
    payload: object
    """The body as it came."""
    payload_text: str
    """The same as JSON."""
    account: str | None = None
    """The account by whose own address it came; it is about no other. None where its appid has to tell."""
    trust: Trust = Trust.SETTLE
    repeats: int = 0
    """How often the same came again while its order was not known."""

    def accounts(self, app_ids: Mapping[str, str]) -> tuple[str, ...]:
        """The accounts that it can be about: its own, those of its appid, or all where it has none of ours."""
        if self.account is not None:
            return (self.account,)
        named = tuple(account for account, app_id in app_ids.items() if app_id == self.report.app_id)
        return named or tuple(app_ids)


def receive(account: str, app_id: str, body: bytes, content_type: str | None, trust: Trust) -> Callback | Rejection:
    """Read a body that was posted to an account's address; or say why it is refused, for a person.

    The address alone decides whose callback it is: one with the `appid` of another account is refused, so that who
    holds the token of one account can do nothing to the orders of another.
    """
    payload: object = shown_body(body)
    try:
        payload = read_body(body, content_type)
    except BodyFault as fault:
        return _refused(account, payload, (f"callback: {fault}",))
    callback = read_callback(payload)
    if isinstance(callback, tuple):
        return _refused(account, payload, callback)
    named = callback.report.app_id
    if named not in (None, app_id):
        return _refused(
            account, payload, (f"appid: {storable(str(named), _LONGEST_SHOWN)} is not that of this account",)
        )
    return replace(callback, account=account, trust=trust)


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


def _refused(account: str, payload: object, errors: tuple[str, ...]) -> Rejection:
    return Rejection(index=None, payload=payload, errors=(*errors, f"address: that of account {account}"))
