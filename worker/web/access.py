"""Decide who may read metrics, health and the console, and who may change something there.

A form of the console that changes something is accepted only if it proves that it came from a page of ours, and if the
role of its sender allows acts.
"""

from datetime import datetime

from flask import Response, g, request
from markupsafe import Markup

from worker.database.transactions import Database, is_transient
from worker.domain.records.operators import SignIn, User, Viewer
from worker.domain.tokens_and_sign_ins import (
    FORWARDING_HEADERS,
    Address,
    client_address,
    form_token,
    has_token,
    is_foreign,
    is_form_token,
    is_in_networks,
    is_local,
    is_one_of,
    lasts,
)
from worker.operations.sign_in import SignIns
from worker.settings import Settings
from worker.web.users import Users
from worker.words import N_

_HOW_TO_WATCH = (
    "not for everybody: send `Authorization: Bearer TOKEN`, as RECONCILER_METRICS_TOKEN has it, ask from an address"
    " in RECONCILER_METRICS_ALLOW, or ask on the machine itself, by no proxy\n"
)

# The cookie of a viewer who has opened the console by its key, and is not one of the users.
_KEY = "key"

FIELD = "csrf"
"""The hidden field of each form."""
_PURPOSE = "console"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"console.sign_in", "console.choose_language"})
"""Endpoints that need no sign-in. They do not change our data; the form of the sign-in has a token of its own."""
# Endpoints that every signed-in user may use, because they change nothing that others see.
_FOR_READERS = frozenset({"console.sign_out", "console.compare"})

FROM_ELSEWHERE = N_("This was sent by another site, or by a page that was opened before you signed in.")
MAY_NOT_ACT = N_("You may look at everything here, and change nothing.")


class Access:
    """Decides about the current request."""

    def __init__(self, settings: Settings, database: Database, console_key: str | None = None) -> None:
        """`console_key` is the key that `serve` has printed. It opens the console if there is no file of users."""
        self._settings = settings
        self._console_key = None if settings.users_file is not None else console_key
        self.users = Users(settings.users_file)
        self.sign_ins = SignIns(database)

    def may_watch(self) -> bool:
        """Whether the request may read `/metrics` and `/healthz`."""
        settings = self._settings
        return (
            self.is_local()
            or has_token(request.headers.get("Authorization"), settings.metrics_tokens)
            or is_in_networks(self.client(), settings.metrics_allow or ())
            or self._is_signed_in()
        )

    def viewer(self) -> Viewer | None:
        """The viewer who sends the request; None if the sender has to sign in first. Raises the database's errors."""
        if "viewer" not in g:
            user = self._user()
            if user is not None:
                g.viewer = Viewer(name=user.name, role=user.role)
            else:
                g.viewer = Viewer(name=None) if self._has_key(request.cookies.get(self.cookie_name(_KEY))) else None
        found: Viewer | None = g.viewer
        return found

    def refusal(self) -> str | None:
        """Why the request is refused; None if it may continue. `g.viewer` must be set."""
        if request.method in _SAFE:
            return None
        origin, fetch_site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if is_foreign(fetch_site=fetch_site, origin=origin, host=request.headers.get("Host", "")):
            return FROM_ELSEWHERE
        if request.endpoint in OPEN:
            return None
        if request.endpoint not in _FOR_READERS and not g.viewer.may_act:
            return MAY_NOT_ACT
        token = self.token()
        if g.viewer.name is None or token is None or not is_form_token(request.form.get(FIELD, ""), token, _PURPOSE):
            return FROM_ELSEWHERE
        return None

    def csrf_field(self) -> Markup:
        """The hidden field that proves that a form is ours; empty if the viewer has not signed in."""
        token, viewer = self.token(), g.get("viewer")
        if token is None or viewer is None or viewer.name is None:
            return Markup()
        return hidden_field(form_token(token, _PURPOSE))

    def client(self) -> Address | None:
        """The address that the request comes from, as the trusted proxies report it; None if the address cannot be
        read."""
        forwarded = request.headers.get("X-Forwarded-For")
        return client_address(request.remote_addr, forwarded, self._settings.trusted_proxies)

    def is_local(self) -> bool:
        """Whether the request was made on this machine, without a proxy."""
        return is_local(
            peer=request.remote_addr,
            host=request.headers.get("Host"),
            protocol=request.environ.get("SERVER_PROTOCOL", ""),
            forwarded_by=[name for name in FORWARDING_HEADERS if name in request.headers],
            trusted_proxies=self._settings.trusted_proxies,
        )

    def take_key(self, answer: Response, given: str) -> bool:
        """Return whether a key is right. If it is right, set a cookie with the key, which lasts until the browser is
        closed."""
        if not self._has_key(given):
            return False
        self.set_cookie(answer, _KEY, given, samesite="Strict")
        return True

    def token(self) -> str | None:
        """The sign-in token that the browser sends. It is not checked here; `viewer` checks it."""
        return request.cookies.get(self.cookie_name("session")) or None

    def cookie_name(self, name: str) -> str:
        """The full name of a cookie of ours. For requests from another machine, the name has a prefix that makes the
        browser accept the cookie only over https and from this host."""
        return name if self.is_local() else f"__Host-{name}"

    def set_cookie(
        self, answer: Response, name: str, value: str, *, seconds: int | None = None, samesite: str = "Lax"
    ) -> None:
        """Have the browser keep a value for `seconds`; until the browser is closed if `seconds` is None."""
        answer.set_cookie(
            self.cookie_name(name),
            value,
            max_age=seconds,
            path="/",
            httponly=True,
            samesite=samesite,
            secure=not self.is_local(),
        )

    def delete_cookie(self, answer: Response, name: str) -> None:
        """Have the browser delete the cookie with this name."""
        answer.delete_cookie(
            self.cookie_name(name), path="/", httponly=True, samesite="Lax", secure=not self.is_local()
        )

    def _has_key(self, given: str | None) -> bool:
        return bool(given and self._console_key and is_one_of(given, [self._console_key]))

    def _user(self) -> User | None:
        token = self.token()
        if token is None or not self.users.is_configured:
            return None
        sign_in, now = self.sign_ins.find(token)
        user = None if sign_in is None else self.users.find(sign_in.user_name)
        if sign_in is None or not lasts(sign_in, user, now):
            return None
        # Requests that a page sends by itself do not count as use: they must not keep the reader of the page signed in.
        if "HX-Request" not in request.headers:
            self._note_seen(token, sign_in, now)
        return user

    def _note_seen(self, token: str, sign_in: SignIn, now: datetime) -> None:
        try:
            self.sign_ins.note_seen(token, sign_in, now)
        except Exception as error:
            # The error is ignored, so that pages can still be read while the database accepts no writes.
            if not is_transient(error):
                raise

    def _is_signed_in(self) -> bool:
        try:
            found = self.viewer()
        except Exception as error:
            if not is_transient(error):
                raise
            return False
        return found is not None


def hidden_field(value: str) -> Markup:
    """A hidden field that proves that a form is ours."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, value)


def refuse_to_watch() -> Response:
    """The answer to a request that may not read metrics or health."""
    return Response(_HOW_TO_WATCH, 401, mimetype="text/plain", headers={"WWW-Authenticate": "Bearer"})
