"""What all acts in the console have in common: whose act it is, what was typed, the page that asks, what is said after.

Each act has one page. It shows what will be done, to what, as it is now, and asks for what is needed; its button does
it. Where what was typed has to be looked at once more, the first button leads to the same page with all of it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote

from flask import (
    Blueprint,
    Response,
    abort,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)

from worker.database.transactions import Database
from worker.domain.orders.operator_acts import MAX_REASON_LENGTH, actor_fault, reason_fault
from worker.domain.records import csv_columns
from worker.domain.records.operators import ActKind, Viewer
from worker.domain.wire.fields import read_written_amount
from worker.operations.act_by_hand import Operator
from worker.settings import Settings
from worker.views.acts import ActSearch, recent_acts
from worker.web.access import Access
from worker.web.console.lists import Filters, List, add_list
from worker.web.console.translations import text, yuan

MOST_AT_ONCE = 10_000
"""Orders that one act of the console changes; the command line does more."""

_COOKIE = "done"
_COOKIE_SECONDS = 60
_MOST_SAID = 5
_LONGEST_SAID = 400


Done = str | tuple[str, Sequence[str]] | Response
"""What is said after an act; and what was refused, and why. Or the page itself that says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """Something to type or to choose."""

    name: str
    label: str
    kind: str = "text"
    """`text`, `amount`, `time`, `choice`, `choices` (their values between commas) or `tick`."""
    value: str = ""
    options: Sequence[tuple[str, str]] = ()
    """Of a choice: values and words."""
    hint: str = ""
    fault: str = ""
    is_required: bool = False

    @property
    def shown(self) -> str:
        """What was typed or chosen, in words, an amount as it is read."""
        if self.kind == "amount":
            return yuan(read_written_amount(self.value))
        return dict(self.options).get(self.value, self.value) if self.kind == "choice" else self.value


@dataclass(frozen=True, kw_only=True, slots=True)
class ActPage:
    """The page of one act."""

    title: str
    meaning: str
    """What it does, and what follows."""
    about: Sequence[tuple[str, str | None]] = ()
    """What it is done to, as it is now: names and values, which are shown where there are any."""
    fields: Sequence[Field] = ()
    needs_reason: bool | None = False
    """Whether a reason has to be given; None: none is asked for."""
    reason_label: str = ""
    """What it is called, where that is not a reason."""
    seen: object = ()
    """What the page shows; `about`, if nothing is given. A form that was shown something else is refused, and the page
    shown once more. None: it is done whatever has changed."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """What else goes along unseen."""
    warnings: Sequence[str] = ()
    refused: str = ""
    """Why it was not or cannot be done."""
    changes: Sequence[str] = ()
    """Who changed what it is done to, when and how: shown where it is refused."""
    is_stale: bool = False
    """Whether it was refused only because what it is done to has changed: the button stays."""
    back: str = ""
    """The path of the page that one goes on to, below the first one."""
    button: str = ""
    """What the button says, where that is not the title."""
    do: Callable[[Operator], Done]
    """Does it, in the name of who pressed the button."""
    is_asked_twice: bool = False
    """Whether what was typed is shown once more, before it is done."""
    is_preview: bool = False

    @property
    def digest(self) -> str:
        """Stands in the form for what the page shows; empty where that may change."""
        return "" if self.seen is None else sha256(repr(self.seen or self.about).encode()).hexdigest()

    @property
    def has_faults(self) -> bool:
        """Whether something that was typed cannot stand."""
        return any(one.fault for one in self.fields)


def add_acting(routes: Blueprint, access: Access, settings: Settings, database: Database) -> None:
    """Have each page say what was done, once, after an act; and `/acts`, with all of them."""
    add_list(
        routes,
        settings,
        database,
        List(
            name="acts",
            columns=csv_columns.ACTS,
            narrow=lambda filters: partial(recent_acts, wanted=_search_of(filters)),
            shown=lambda _: {"kinds": list(ActKind)},
        ),
    )

    def take_done() -> Mapping[str, object] | None:
        value = request.cookies.get(access.cookie_name(_COOKIE))
        if value is None:
            return None
        g.is_done_said = True
        return _read_done(value)

    @routes.app_context_processor
    def of_acts() -> dict[str, object]:
        return {"done": take_done}

    @routes.after_app_request
    def keep_or_forget_done(answer: Response) -> Response:
        if "done" in g:
            access.set_cookie(answer, _COOKIE, g.done, seconds=_COOKIE_SECONDS, samesite="Strict")
        elif g.get("is_done_said"):
            access.delete_cookie(answer, _COOKIE)
        return answer


def _search_of(filters: Filters) -> ActSearch:
    return ActSearch(
        accounts=filters.chosen_accounts(),
        actor=filters.fit("actor", actor_fault),
        kinds=filters.one_of("act", ActKind),
        since=filters.since(),
        until=filters.until(),
    )


def add_act(routes: Blueprint, rule: str, endpoint: str, page_of: Callable[..., ActPage]) -> None:
    """The route of an act; `page_of` makes its page of what the path names. Answers 403 to who may not act."""

    def act(**named: Any) -> Response:
        viewer: Viewer | None = g.get("viewer")
        if viewer is None or viewer.name is None or not viewer.may_act:
            abort(403)
        page = _with_reason(_if_as_seen(page_of(**named)))
        if not is_confirmed() or page.has_faults or page.refused:
            return _show(page)
        reason = None if page.needs_reason is None else typed("reason") or None
        done = page.do(Operator(name=viewer.name, reason=reason))
        if isinstance(done, Response):
            return done
        return _finish(page.back, *((done,) if isinstance(done, str) else done))

    routes.add_url_rule(rule, endpoint, act, methods=["GET", "POST"])


def _with_reason(page: ActPage) -> ActPage:
    if page.needs_reason is None:
        return page
    return replace(page, fields=[*page.fields, _reason_field(page, is_required=page.needs_reason)])


def _if_as_seen(page: ActPage) -> ActPage:
    """The page; refused where its form was shown something else. It takes another look, and another click."""
    if page.refused or page.digest in ("", typed("seen")) or not is_confirmed():
        return page
    changed = text("This has changed meanwhile. Nothing was done; look at what it is now.")
    return replace(page, refused=changed, is_stale=True)


def typed(name: str) -> str:
    """What was typed into the form, without blanks at its ends. Nothing of the address: a link fills in no field."""
    return request.form.get(name, "").strip()


def addressed(name: str) -> str:
    """What the address says that the act is done to. Answers 404 for a text that no database takes."""
    value = request.args.get(name, "").strip()
    if "\x00" in value:
        abort(404)
    return value


def is_confirmed() -> bool:
    """Whether the button was pressed that does it."""
    return request.method == "POST" and request.form.get("confirmed") == "yes"


def _reason_field(page: ActPage, *, is_required: bool) -> Field:
    """The reason, as it was typed."""
    value = typed("reason")
    fault = ""
    if request.method == "POST" and (value or is_required) and reason_fault(value):
        fault = text("Say why: 1 to %(most)s characters on one line.", MAX_REASON_LENGTH)
        if page.reason_label:
            fault = text("Write 1 to %(most)s characters on one line.", MAX_REASON_LENGTH)
    label = page.reason_label or text("Reason")
    return Field(name="reason", label=label, value=value, fault=fault, is_required=is_required)


def _show(page: ActPage) -> Response:
    """The page, or after a POST with faults the same with these: nothing was changed."""
    is_sent = request.method == "POST"
    status = 409 if is_confirmed() and page.refused else 400 if is_sent and page.has_faults else 200
    is_ready = is_sent and typed("edit") != "yes" and not page.has_faults and not page.refused
    is_preview = page.is_asked_twice and is_ready
    return Response(render_template("console/act.html", page=replace(page, is_preview=is_preview)), status)


def _finish(path: str, said: str, refused: Sequence[str] = ()) -> Response:
    """Go on to a page, which says what was done."""
    more = [text("and %(count)s more", len(refused) - _MOST_SAID)] if len(refused) > _MOST_SAID else []
    listed = [one[:_LONGEST_SAID] for one in refused[:_MOST_SAID]] + more
    g.done = quote(json.dumps({"said": said[:_LONGEST_SAID], "refused": listed}), safe="")
    return make_response(redirect(f"{url_for('console.overview')}{path}", 303))


def _read_done(value: str) -> Mapping[str, object] | None:
    try:
        done = json.loads(unquote(value))
        return {"said": str(done["said"]), "refused": [str(one) for one in done["refused"]]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
