"""The platform's side of callbacks over HTTP, with the standard library alone: posted, and repeated until accepted."""

import http.client
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tests.faults.testbed import CALLBACK_TOKEN, Testbed

PATH = f"/callbacks/default/{CALLBACK_TOKEN}"
_TIMEOUT_SECONDS = 15.0
_PAUSE_SECONDS = 0.2


def body_of(testbed: Testbed, name: str) -> dict[str, Any]:
    """The true callback for an order, as the platform writes it."""
    truth = testbed.truth()[name]
    return {
        "requestId": name,
        "trafficSts": truth["outcome"],
        "oriAmount": truth["amount"],
        "remark": "回调",
        "mobile": f"{truth['mobile'][:3]}****{truth['mobile'][-4:]}",
        "appid": truth["app_id"],
    }


def post(
    port: int, body: bytes, *, path: str = PATH, method: str = "POST", headers: Mapping[str, str] | None = None
) -> int | None:
    """Post something once; returns the status of the answer, None where there was none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        # The server may answer, and close, before it has read all.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def post_until_accepted(testbed: Testbed, body: Mapping[str, Any], *, seconds: float = 40.0) -> int:
    """Post a callback as the platform does, again and again until it is answered 200; returns how often."""
    testbed.sent.callbacks.append(dict(body))
    text = json.dumps(body, ensure_ascii=False).encode()
    give_up, tries = time.monotonic() + seconds, 1
    while post(testbed.serve_port, text) != 200:
        assert time.monotonic() < give_up, f"a callback was not accepted in {tries} tries"
        time.sleep(_PAUSE_SECONDS)
        tries += 1
    return tries
