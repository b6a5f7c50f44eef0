"""Receive the platform's callbacks: `POST /callbacks/ACCOUNT/TOKEN` is committed, then answered."""

from collections.abc import Callable
from typing import IO

import structlog
from flask import Blueprint, Response, g, request
from gunicorn.http.errors import ParseException

from worker.adapters.safe_text import first_words
from worker.database.error_kinds import is_of_another_revision
from worker.database.transactions import is_transient
from worker.domain.callbacks.bodies import LONGEST_BODY, LONGEST_DRAINED, Callback, receive
from worker.domain.records.incoming import Rejection
from worker.domain.tokens_and_sign_ins import client_address, is_allowed, is_token_of
from worker.settings import Settings
from worker.settings.rules import app_ids_of

log = structlog.stdlib.get_logger(__name__)

ROUTE = "/callbacks/<account>/<token>"
PATIENCE_SECONDS = 4.0
"""How long a callback waits for its commit, so that its sender gets an answer within 5 seconds. If the database becomes
silent, the first callbacks may occupy all threads for this time. Later callbacks are then refused at once."""

_PART = 16 * 1024
_PUT_OFF = "not committed: send it again"

Submit = Callable[[Callback | Rejection], None]
"""Submits a callback, and returns once it is committed. Raises TimeoutError, or the error of the database."""


class BodyTooLong(Exception):
    """A body of more than 64 KiB."""


class BodyBroken(Exception):
    """A body that did not arrive whole."""


def callback_routes(settings: Settings, submit: Submit) -> Blueprint:
    """The route of callbacks."""
    app_ids, tokens, networks = app_ids_of(settings), settings.callback_tokens, settings.callback_allow or ()

    def may_post(account: str, token: str) -> bool:
        forwarded = request.headers.get("X-Forwarded-For")
        address = client_address(request.remote_addr, forwarded, settings.trusted_proxies)
        g.client = str(address) if address is not None else None
        is_right = is_token_of(tokens, account, token)
        return is_right and address is not None and is_allowed(address, networks)

    routes = Blueprint("callbacks", __name__)

    @routes.post(ROUTE)
    def post(account: str, token: str) -> Response:
        """Take in one callback; 200 means that it is committed."""
        if not may_post(account, token):
            _drop_body()
            return _answer(404, "Not Found")
        g.account = account
        try:
            body = read_whole(request.stream, request.content_length)
        except BodyTooLong:
            return _answer(413, f"longer than {LONGEST_BODY} bytes")
        except BodyBroken:
            return _answer(400, "the body did not come whole")
        label = request.headers.get("Content-Type")
        callback = receive(account, app_ids[account], body, label, settings.callback_trust)
        return _committed(callback, submit, settings.callback_reply)

    return routes


def read_whole(stream: IO[bytes], declared: int | None) -> bytes:
    """Read a body of at most 64 KiB. Of a longer body, up to 1 MiB is read and dropped, so that its sender can read the
    answer.

    `declared` is the Content-Length; None if there is none. Raises BodyTooLong and BodyBroken.
    """
    body, length = bytearray(), 0
    try:
        # A read may return fewer bytes than were requested.
        while length < LONGEST_DRAINED and (part := stream.read(_PART)):
            length += len(part)
            if length <= LONGEST_BODY:
                body += part
    except (OSError, ParseException):
        raise BodyBroken from None
    if length > LONGEST_BODY:
        raise BodyTooLong
    # If a connection ends early, gunicorn returns the bytes that have arrived, without an error.
    if declared is not None and length < declared:
        raise BodyBroken
    return bytes(body)


def _committed(callback: Callback | Rejection, submit: Submit, reply: str) -> Response:
    try:
        submit(callback)
    except TimeoutError as error:
        words = str(error) or "no commit in time"
        log.warning("a callback was not committed in time", action="callback_put_off", error=words)
        return _answer(503, _PUT_OFF)
    except Exception as error:
        if not (is_transient(error) or is_of_another_revision(error)):
            # A defect of ours: it is logged with its traceback, and answered 500.
            raise
        log.warning("a callback was not committed", action="callback_put_off", error=first_words(error))
        return _answer(503, _PUT_OFF)
    return _answer(200, reply)


def _drop_body() -> None:
    """Read and drop a body that is not used. If the connection were closed before its body was read, the connection
    would be reset and the answer lost."""
    try:
        read_whole(request.stream, request.content_length)
    except (BodyTooLong, BodyBroken):
        return


def _answer(status: int, text: str) -> Response:
    return Response(text, status, mimetype="text/plain")
