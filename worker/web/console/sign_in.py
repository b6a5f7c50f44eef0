"""The pages `/sign-in` and `/sign-out`."""

import secrets
from datetime import datetime

import structlog
from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from worker.domain.orders.operator_acts import actor_fault
from worker.domain.records.operators import User
from worker.domain.tokens_and_sign_ins import form_token, is_form_token
from worker.operations.sign_in import Counted, Try
from worker.web.access import FIELD, Access, hidden_field
from worker.web.console.translations import local_path, text
from worker.web.users import Busy, is_right
from worker.words import N_

log = structlog.stdlib.get_logger(__name__)

# Forms are bound to the sign-in token. Before a sign-in there is none, so the form of the sign-in is bound to a secret
# in this cookie.
_COOKIE = "before-sign-in"
_PURPOSE = "sign-in"
_TOKEN_BYTES = 32
_LONGEST = 1_000

WRONG = N_("The name or the password is wrong.")
STALE = N_("This page was open for too long. Please try again.")
NO_COOKIE = N_(
    "The browser has kept no cookie of this page. It has to accept cookies, and from another machine signing in works"
    " over https only. Please try again."
)
WAIT = N_("Signing in failed too often. Please try again in %(minutes)s min.")
BUSY = N_("Many people are signing in at this moment. Please try again.")


def add_routes(routes: Blueprint, access: Access) -> None:
    """Add the two routes."""

    @routes.route("/sign-in", methods=["GET", "POST"])
    def sign_in() -> Response:
        if request.method != "POST":
            return _form(access, None, 200) if "key" not in request.args else _opened(access, request.args["key"])
        secret = request.cookies.get(access.cookie_name(_COOKIE))
        if not secret:
            return _form(access, text(NO_COOKIE), 403)
        if not is_form_token(request.form.get(FIELD, ""), secret, _PURPOSE):
            return _form(access, text(STALE), 403)
        return _try(access, request.form.get("name", "").strip(), request.form.get("password", ""))

    @routes.post("/sign-out")
    def sign_out() -> Response:
        token = access.token()
        viewer = access.viewer()
        if token is not None and viewer is not None:
            access.sign_ins.sign_out(token)
            log.info("signed out", action="console_signed_out", actor=viewer.name)
        answer = make_response(redirect(url_for("console.sign_in"), 303))
        access.delete_cookie(answer, "session")
        return answer


def _opened(access: Access, key: str) -> Response:
    """Check the key in the address, and always redirect to an address without it, because no page must stay open at an
    address with a key."""
    answer = make_response(redirect(local_path(request.args.get("next", "/")), 303))
    if not access.take_key(answer, key):
        return make_response(redirect(url_for("console.sign_in"), 303))
    log.info("the console was opened with its key", action="console_key_used", client=str(access.client()))
    return answer


def _try(access: Access, name: str, password: str) -> Response:
    """Sign in, or show why not. A wrong name and a wrong password get the same answer."""
    if actor_fault(name) or len(password) > _LONGEST:
        name, password = "", ""
    tried = Try(name=name, address=access.client())
    counted = access.sign_ins.count(tried)
    if counted.wait_until is not None:
        return _locked(access, counted.wait_until, counted.now)
    user = access.users.find(name)
    try:
        right = is_right(None if user is None else user.password_hash, password)
    except Busy:
        # The try stays counted, although no password was checked. Otherwise a client that keeps us busy could try
        # passwords without end.
        return _form(access, text(BUSY), 503)
    if user is None or not right:
        _log_failure(access, user, counted)
        return _form(access, text(WRONG), 403)
    return _signed_in(access, tried, user)


def _signed_in(access: Access, tried: Try, user: User) -> Response:
    token = access.sign_ins.sign_in(tried, user, access.token())
    log.info("signed in", action="console_signed_in", actor=user.name, client=str(tried.address))
    answer = make_response(redirect(local_path(request.form.get("next", "/")), 303))
    access.set_cookie(answer, "session", token)
    access.delete_cookie(answer, _COOKIE)
    return answer


def _locked(access: Access, until: datetime, now: datetime) -> Response:
    minutes = max(1, -(-(until - now).total_seconds() // 60))
    answer = _form(access, text(WAIT, round(minutes)), 429)
    answer.headers["Retry-After"] = f"{(until - now).total_seconds():.0f}"
    return answer


def _log_failure(access: Access, user: User | None, counted: Counted) -> None:
    # An unknown name is not logged, because it may be a password that was typed into the field of the name.
    known = None if user is None else user.name
    client = str(access.client())
    log.warning("a sign-in failed", action="console_sign_in_failed", actor=known, client=client)
    if counted.next_wait_until is not None:
        log.warning(
            "signing in failed too often, and has to wait",
            action="console_locked_out",
            actor=known,
            client=client,
            until=counted.next_wait_until.isoformat(),
        )


def _form(access: Access, fault: str | None, status: int) -> Response:
    secret = request.cookies.get(access.cookie_name(_COOKIE)) or secrets.token_urlsafe(_TOKEN_BYTES)
    page = render_template(
        "console/sign_in.html",
        fault=fault,
        field=hidden_field(form_token(secret, _PURPOSE)),
        next=local_path(request.values.get("next", "/")),
        name=request.form.get("name", "")[:_LONGEST],
        has_users=access.users.is_configured,
    )
    answer = make_response(page, status)
    access.set_cookie(answer, _COOKIE, secret)
    return answer
