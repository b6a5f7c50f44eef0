"""Callbacks that come over HTTP, by the address of an account: which are refused."""

from dataclasses import replace

from worker.domain.callback_bodies import BodyFault, read_body, shown_body
from worker.domain.callbacks import Callback, read_callback
from worker.domain.records.incoming import Rejection, Trust, storable

_LONGEST_SHOWN = 64


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


def _refused(account: str, payload: object, errors: tuple[str, ...]) -> Rejection:
    return Rejection(index=None, payload=payload, errors=(*errors, f"address: that of account {account}"))
